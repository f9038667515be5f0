"""The bounded queue between the connection and the threads that take events."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from threadchat.client.event import GAP, ChatEvent, notice

EVENTS: Final = 1024
BYTES: Final = 4 << 20
SPARE: Final = 256
"""Further events that fit in for `put_unlogged`: private messages and the client's own notices."""


class EventQueue:
    """Events that wait to be taken: at most `events` of them, and at most `size` bytes of JSON. A single
    event may be larger.

    If the queue is full, it refuses events; it never blocks the connection, because replies arrive on the
    same connection, perhaps for the very thread that should take the events. `_changed` is a condition whose
    lock guards all attributes; no other lock is acquired under it.
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
        """Adds an event that the server's log keeps. False if the queue is full. Runs on: the reader."""
        with self._changed:
            full = len(self._waiting) >= self._limit or self._bytes + size > self._most_bytes
            if full and self._waiting:
                return False
            self._append_locked(event, size)
            return True

    def put_unlogged(self, event: ChatEvent, size: int = 0) -> None:
        """Adds an event that is in no log. If even the spare space is full, it is dropped and counted."""
        with self._changed:
            if len(self._waiting) >= self._limit + SPARE or self._bytes > 2 * self._most_bytes:
                self._dropped += 1
                return
            self._append_locked(event, size)

    def put_droppable(self, event: ChatEvent, size: int) -> None:
        """Adds an event that nobody will miss, but only while the queue is less than half full."""
        with self._changed:
            if len(self._waiting) < self._limit // 2 and self._bytes < self._most_bytes // 2:
                self._append_locked(event, size)

    def take(self, timeout: float | None) -> ChatEvent:
        """Waits for the oldest event. Raises TimeoutError, and the reason of `end`. Runs on: any thread."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._end is not None, timeout):
                raise TimeoutError(f"no event came within {timeout:g} s")
            if not self._waiting:
                assert self._end is not None
                raise self._end.with_traceback(None)  # it may be raised many times, on several threads
            event, size = self._waiting.popleft()
            self._bytes -= size
            if self._dropped and not self._waiting:
                lost, self._dropped = self._dropped, 0
                text = f"{lost} private messages or notices did not fit into the queue and are lost"
                self._append_locked(notice(GAP, text), 0)
            return event

    def end(self, reason: Exception, *, drop: bool) -> None:
        """Wakes all threads. Once the waiting events are taken, `take` raises `reason`.

        The first reason stays. With `drop`, the waiting events are discarded. Runs on: any thread.
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
        """How many more events fit; 0 while less than half of the queue is free."""
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
