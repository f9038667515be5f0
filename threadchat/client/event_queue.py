"""The bounded queue between the connection and whoever takes the events."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from threadchat.client.protocol import GAP, ChatEvent, notice

EVENTS: Final = 1024
BYTES: Final = 4 << 20
SPARE: Final = 256
"""Places above the limit for what no log keeps: private messages and the client's own notices."""


class EventQueue:
    """Events that wait to be taken: at most `events`, and at most `size` bytes of JSON unless one alone is
    larger.

    Full, it says no, and never holds the connection up: replies come on the same connection, perhaps for the
    very thread that should be taking events. `_changed` is a condition on the lock that guards everything
    here; a leaf.
    """

    def __init__(self, events: int = EVENTS, size: int = BYTES) -> None:
        self._limit = events
        self._most_bytes = size
        self._changed = threading.Condition()
        self._waiting: deque[tuple[ChatEvent, int]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._end: Exception | None = None

    def put(self, event: ChatEvent, size: int) -> bool:
        """Takes an event that the server's log keeps; False where it is full. Runs on: the reader thread."""
        with self._changed:
            full = len(self._waiting) >= self._limit or self._bytes + size > self._most_bytes
            if full and self._waiting:
                return False
            self._append_locked(event, size)
            return True

    def put_unlogged(self, event: ChatEvent, size: int = 0) -> None:
        """Takes what is kept nowhere, as long as there is any place; what had none is counted and told."""
        with self._changed:
            if len(self._waiting) >= self._limit + SPARE or self._bytes > 2 * self._most_bytes:
                self._dropped += 1
                return
            self._append_locked(event, size)

    def put_droppable(self, event: ChatEvent, size: int) -> None:
        """Takes what nobody misses, while there is plenty of room."""
        with self._changed:
            if len(self._waiting) < self._limit // 2 and self._bytes < self._most_bytes // 2:
                self._append_locked(event, size)

    def take(self, timeout: float | None) -> ChatEvent:
        """The oldest event; waits for one. Raises TimeoutError, and what ended it. Runs on: any thread."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._end is not None, timeout):
                raise TimeoutError(f"no event came within {timeout:g} s")
            if not self._waiting:
                assert self._end is not None
                raise self._end.with_traceback(None)  # it may be raised often, on several threads
            event, size = self._waiting.popleft()
            self._bytes -= size
            if self._dropped and not self._waiting:
                lost, self._dropped = self._dropped, 0
                text = f"{lost} private messages or notices had no room and are lost"
                self._append_locked(notice(GAP, text), 0)
            return event

    def end(self, reason: Exception, *, drop: bool) -> None:
        """Wakes everybody: once what waits is taken, `take` raises `reason`. The first reason stays.

        With `drop`, nothing that waits is taken any more. Runs on: any thread.
        """
        with self._changed:
            if self._end is None:
                self._end = reason
            if drop:
                self._waiting.clear()
                self._bytes = 0
            self._changed.notify_all()

    @property
    def free(self) -> int:
        """How many more events fit; 0 until at least half is free."""
        with self._changed:
            free = self._limit - len(self._waiting)
            return free if free * 2 >= self._limit and self._bytes * 2 <= self._most_bytes else 0

    def _append_locked(self, event: ChatEvent, size: int) -> None:
        self._waiting.append((event, size))
        self._bytes += size
        self._changed.notify()

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    def __repr__(self) -> str:
        return f"<EventQueue {len(self)}/{self._limit}>"
