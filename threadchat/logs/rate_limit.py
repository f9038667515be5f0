"""Limits how many lines a minute one kind of event may write to the log; the rest is only counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

LINES: Final = 300
"""Lines for one kind of event within `WINDOW`: some 40 MB a day, however many events strangers cause."""
WINDOW: Final = 60.0
"""Seconds."""


class _Count(NamedTuple):
    begun: float
    seen: int


class LogRateLimit(logging.Filter):
    """A filter for the loggers of modules in which strangers can cause log events.

    Events with the same format string are of the same kind, so the number of kinds is bounded. The next line
    of a kind that is logged tells how many were left out. Debug events are not limited.

    There is no lock: two threads that log at the same moment may count one event instead of two, which lets
    one more line through. Runs on: any thread.
    """

    def __init__(self, lines: int = LINES, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._lines = lines
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this event is logged. Appends a note if events of its kind were, or will be, left out."""
        if record.levelno < logging.INFO or not isinstance(record.msg, str):
            return True
        kind, now = record.msg, self._clock()
        flatten_shortage(record)
        begun, seen = self._counts.get(kind, _Count(now, 0))
        left_out = 0
        if now - begun >= WINDOW:
            left_out = max(0, seen - self._lines)
            begun, seen = now, 0
        self._counts[kind] = _Count(begun, seen + 1)
        if left_out:
            record.msg += f" ({left_out} more like it were left out)"
        elif seen + 1 == self._lines:
            record.msg += f" (more like it are left out, for up to {WINDOW:.0f} s)"
        return seen < self._lines


def is_thread_shortage(error: BaseException | None) -> bool:
    """Whether an exception says that the system lets this process start no more threads."""
    return isinstance(error, RuntimeError) and str(error).startswith("can't start new thread")


def flatten_shortage(record: logging.LogRecord) -> None:
    """Makes one line of an event with such an exception: it comes to everybody, and where does not matter."""
    if record.exc_info and is_thread_shortage(record.exc_info[1]) and isinstance(record.msg, str):
        record.exc_info = record.exc_text = None
        record.msg += " (the system has no more threads)"
