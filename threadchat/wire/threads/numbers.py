"""Sequence numbers that several threads take."""

from __future__ import annotations

import threading


class Numbers:
    """Gives out 1, 2, 3 and so on, each number once.

    Python does not promise that `itertools.count` is thread-safe. `_lock` guards `_last` and is a leaf.
    """

    __slots__ = ("_last", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self) -> int:
        """Returns the next number. Runs on: any thread."""
        with self._lock:
            self._last += 1
            return self._last
