"""Whole numbers, each given once, to any number of threads."""

from __future__ import annotations

import threading


class Numbers:
    """1, 2, 3 and so on. `itertools.count` is not promised to be safe for several threads.

    `_lock` guards `_last`; a leaf.
    """

    __slots__ = ("_last", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self) -> int:
        """The next number. Runs on: any thread."""
        with self._lock:
            self._last += 1
            return self._last
