"""Received messages that nobody has taken; if there are too many, the reader stops reading."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

MAX_MESSAGES: Final = 16
MAX_BYTES: Final = 1 << 20
"""Bytes, and characters of text, of which most are one byte each."""


class ReceiveQueue:
    """A queue of messages from the reader thread to the program.

    It is full at `max_messages` or `max_bytes`, and has room again when it is half empty, or has at most
    `low_messages`. The reader puts the messages of one read, and then waits for room. So a full queue
    exceeds its limit by at most one read (64 KiB) or one message. `_lock` guards everything here and is a
    leaf.
    """

    def __init__(
        self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES, low_messages: int | None = None
    ) -> None:
        self.max_messages = max_messages
        self.low_messages = max_messages // 2 if low_messages is None else low_messages
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        self._full = False
        self._lossy = False
        self._ended = False

    def put(self, messages: Sequence[str | bytes]) -> None:
        """Adds all of `messages`. Runs on: the reader thread."""
        with self._lock:
            if self._lossy and self._full:
                return
            self._messages.extend(messages)
            self._bytes += sum(map(len, messages))
            self._full = len(self._messages) >= self.max_messages or self._bytes >= self.max_bytes
            self._arrived.notify(len(messages))

    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Waits `timeout` seconds at most while full; whether there is room. Runs on: the reader thread."""
        with self._lock:
            return self._room.wait_for(lambda: not self._full or self._lossy or self._ended, timeout)

    def get(self, timeout: float | None = None) -> str | bytes:
        """Returns the next message; waits for it at most `timeout` seconds, and not at all for 0 or less.

        Raises TimeoutError, and EOFError after the last message. Runs on: any thread.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with self._lock:
            while not self._messages:
                if self._ended:
                    raise EOFError("no further message will come")
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and remaining <= 0:
                    raise TimeoutError(f"no message came within {timeout:g} s")
                self._arrived.wait(remaining)
            message = self._messages.popleft()
            self._bytes -= len(message)
            if self._full and self._has_room_locked():
                self._full = False
                self._room.notify_all()
            return message

    def stop_waiting(self) -> None:
        """Drops further messages that arrive while it is full: the reader only waits for a Close."""
        with self._lock:
            self._lossy = True
            self._room.notify_all()

    def end(self) -> None:
        """Says that no message will follow; waiting ones can still be taken. Runs on: any thread."""
        with self._lock:
            self._ended = True
            self._arrived.notify_all()
            self._room.notify_all()

    def qsize(self) -> int:
        """The number of waiting messages. Runs on: any thread."""
        return len(self._messages)

    def _has_room_locked(self) -> bool:
        return len(self._messages) <= self.low_messages and self._bytes * 2 <= self.max_bytes
