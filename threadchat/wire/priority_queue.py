"""The order of the requests in one outbox: control frames first, then text, both within limits."""

from __future__ import annotations

import queue
from collections import deque
from typing import Final

from threadchat.wire.protocol.requests import Close, Control, FlushingClose, Latest, Ping, Pong, Request, Text

MAX_TAKE: Final = 256 << 10
"""Bytes of one take: enough to send a burst in one system call, too few to delay a ping for long."""
MAX_TAKE_REFUSED: Final = 64 << 10
"""Bytes of one take after the socket was full once; at 60 KB/s they delay a ping by about a second."""
MAX_PONGS: Final = 16
"""Unwritten pongs that may wait; a further one replaces the oldest, as RFC 6455 5.5.3 allows."""


class ControlQueue(list[Control]):
    """The control frames, which overtake text: one Close, which replaces all else, one ping, some pongs."""

    def add(self, item: Control) -> None:
        """Appends `item`, or replaces what it makes superfluous."""
        if isinstance(item, Close):
            self.clear()
        elif isinstance(item, Ping):
            if self.pings:
                return
        elif isinstance(item, Pong):
            pongs = [waiting for waiting in self if isinstance(waiting, Pong)]
            if len(pongs) >= MAX_PONGS:
                self.remove(pongs[0])
        self.append(item)

    @property
    def pings(self) -> bool:
        """Whether a ping is in it."""
        return any(isinstance(waiting, Ping) for waiting in self)

    def take(self) -> tuple[list[bytes], bool]:
        """The frames of all, which leave, and whether a Close was among them."""
        frames, closes = [control.frame for control in self], self.closes
        self.clear()
        return frames, closes

    @property
    def closes(self) -> bool:
        """Whether it holds a Close, which is then the last and only frame."""
        return bool(self) and isinstance(self[-1], Close)


class PriorityQueue(queue.Queue[Request]):
    """A queue with two lanes, limited in messages (`maxsize`, counted by `qsize`) and in bytes.

    It counts and orders the requests; `Outbox` decides when a thread may put, and which thread to wake. The
    inherited `mutex` guards everything here.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.joined = False  # whether the last take is a new buffer, not a frame that outboxes share
        self.unsent = b""  # what the writer took but a full socket has not yet taken; set by the writer
        self.ping_left_at: float | None = None  # when a ping was taken, since this was last set to None
        super().__init__(max_messages)
        # Only puts wait here; each further condition would cost a kilobyte per connection.
        self.not_empty = self.all_tasks_done = self.not_full

    @property
    def bytes_waiting(self) -> int:
        """Bytes of text that wait at the moment. Runs on: any thread; takes no lock."""
        return self._bytes

    def buffers(self) -> list[bytes]:
        """The frames that wait, and those that were taken but not yet sent. Runs on: any thread."""
        with self.mutex:
            frames = [text.frame for text in self._texts]
        return [*frames, self.unsent] if self.unsent else frames

    def get(self, block: bool = True, timeout: float | None = None) -> Request:
        """Removes and returns the next request, or raises queue.Empty. The writer calls `take` instead.

        Never blocks, whatever `block` says, because a writer waits in the turnstile's line, not here.
        """
        with self.mutex:
            return self._get()

    # The methods that queue.Queue lets subclasses override; called under its mutex

    def _init(self, maxsize: int) -> None:
        self._texts: deque[Text] = deque()
        self._control = ControlQueue()
        self._flushing_close: Close | None = None  # a Close that follows the waiting text
        self._messages = 0
        self._bytes = 0

    def _qsize(self) -> int:
        return self._messages

    def _put(self, item: Request) -> None:
        if isinstance(item, Text):
            self._texts.append(item)
            self._messages += item.messages
            self._bytes += item.size
        elif isinstance(item, FlushingClose):
            self._flushing_close = item
        else:
            if isinstance(item, Close):
                self._discard_locked()
            self._control.add(item)

    def _get(self) -> Request:
        if self._control:
            return self._control.pop(0)
        if self._texts:
            text = self._texts.popleft()
            self._messages -= text.messages
            self._bytes -= text.size
            return text
        if self._flushing_close:
            flushing_close, self._flushing_close = self._flushing_close, None
            return flushing_close
        raise queue.Empty

    # Helpers, under the mutex

    def _room_locked(self, text: Text) -> bool:
        """Whether `text` fits; a text above the byte limit fits into an empty queue."""
        if not self._messages:
            return True
        return self._messages + text.messages <= self.maxsize and self._bytes + text.size <= self.max_bytes

    def _half_empty_locked(self, text: Text) -> bool:
        """Whether `text` fits into the lower half."""
        if not self._messages:
            return True
        messages, size = self._messages + text.messages, self._bytes + text.size
        return messages * 2 <= self.maxsize and size * 2 <= self.max_bytes

    def _light_room_locked(self, text: Text) -> bool:
        """Like `_half_empty_locked`, but an older `Latest` with the same key is dropped to make room."""
        if isinstance(text, Latest):
            for waiting in self._texts:
                if isinstance(waiting, Latest) and waiting.key == text.key:
                    self._texts.remove(waiting)
                    self._messages -= waiting.messages
                    self._bytes -= waiting.size
                    return self._room_locked(text)
        return self._half_empty_locked(text)

    def _take_texts_locked(self, parts: list[bytes], most: int) -> int:
        """Moves texts of up to `most` bytes, but at least one, to `parts`; returns the number of messages."""
        texts = self._texts
        size = messages = 0
        while texts and (not size or size + texts[0].size <= most):
            text = texts.popleft()
            parts.append(text.frame)
            size += text.size
            messages += text.messages
        self._bytes -= size
        self._messages -= messages
        return messages

    def _discard_locked(self) -> None:
        self._texts.clear()
        self._control.clear()
        self._flushing_close = None
        self._messages = self._bytes = 0
