"""What waits on one outbox and in which order it leaves: control frames and pings first, text after them."""

from __future__ import annotations

import queue
from collections import deque
from typing import Final

from threadchat.wire.protocol.requests import Close, Control, FlushingClose, Latest, Ping, Pong, Request, Text

MAX_TAKE: Final = 256 << 10
"""Bytes of one take: enough for a burst to be one system call, too few to hold up a ping for long."""
MAX_TAKE_REFUSED: Final = 64 << 10
"""Bytes of one take once the socket refused some: at 60 KB/s a ping waits no longer than a second for it."""
MAX_PONGS: Final = 16
"""Unwritten pongs; then the oldest goes, as RFC 6455 5.5.3 allows."""


class ControlQueue(list[Control]):
    """What overtakes text: one Close, before which all else goes, one ping, `MAX_PONGS` pongs."""

    def add(self, item: Control) -> None:
        """Puts `item` behind the others, or in their stead."""
        if isinstance(item, Close):
            self.clear()
        elif isinstance(item, Ping):
            if any(isinstance(waiting, Ping) for waiting in self):
                return
        elif isinstance(item, Pong):
            pongs = [waiting for waiting in self if isinstance(waiting, Pong)]
            if len(pongs) >= MAX_PONGS:
                self.remove(pongs[0])
        self.append(item)

    @property
    def closes(self) -> bool:
        """Whether a Close is in it, which then is all that is."""
        return bool(self) and isinstance(self[-1], Close)


class PriorityQueue(queue.Queue[Request]):
    """A queue of two lanes, limited in messages (`maxsize`, what `qsize` counts) and in bytes.

    Keeps the books and the order; who may put when, and who is woken for it, is the outbox's to say.
    The inherited `mutex` guards everything here.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.joined = False  # whether the last take is a buffer of its own, and no frame that others hold too
        self.unsent = b""  # what the writer took, and a full socket has not had whole; its own to set
        super().__init__(max_messages)
        # Only puts ever wait here; a condition that nobody waits on is a kilobyte a connection.
        self.not_empty = self.all_tasks_done = self.not_full

    @property
    def bytes_waiting(self) -> int:
        """Bytes of the text that waits, as of just now. Runs on: any thread; takes no lock."""
        return self._bytes

    def buffers(self) -> list[bytes]:
        """The frames that wait, and what was taken of which the socket is full. Runs on: any thread."""
        with self.mutex:
            frames = [text.frame for text in self._texts]
        return [*frames, self.unsent] if self.unsent else frames

    def get(self, block: bool = True, timeout: float | None = None) -> Request:
        """The next request in the order of writing, or queue.Empty; the writer `take`s instead.

        Never blocks, whatever `block` says: a writer waits in the turnstile's line, not here.
        """
        with self.mutex:
            return self._get()

    # queue.Queue's own hooks, under its mutex

    def _init(self, maxsize: int) -> None:
        self._texts: deque[Text] = deque()
        self._control = ControlQueue()
        self._flushing_close: Close | None = None  # a Close that waits for the text before it
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
        """Whether `text` fits; one above the byte limit fits where nothing waits."""
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
        """As `_half_empty_locked`; but one that is newer than another, which is dropped, has its room."""
        if isinstance(text, Latest):
            for waiting in self._texts:
                if isinstance(waiting, Latest) and waiting.key == text.key:
                    self._texts.remove(waiting)
                    self._messages -= waiting.messages
                    self._bytes -= waiting.size
                    return self._room_locked(text)
        return self._half_empty_locked(text)

    def _take_texts_locked(self, parts: list[bytes], most: int) -> int:
        """Moves the frames of up to `most` bytes of text to `parts`, but of one text at the least.

        Returns how many messages they are.
        """
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
