"""Keeps the last lines of the log in memory, for operators who cannot see where it is written."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

from threadchat.logs.format import one_line, text_of

LINES: Final = 200
"""Lines that are kept."""
LONGEST: Final = 400
"""Characters of a line; the rest is cut off."""


class LogRing(logging.Handler):
    """A handler for the logger `threadchat` that keeps its last lines, without debugging.

    Of an exception it keeps only the type: the log has the rest, and a traceback may show more than an
    operator's browser needs. Runs on: any thread, under the handler's lock.
    """

    def __init__(self, lines: int = LINES) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[dict[str, Any]] = deque(maxlen=lines)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line of an event."""
        text = text_of(record)
        if record.exc_info and record.exc_info[0] is not None:
            text += f" ({record.exc_info[0].__name__}; the log has the traceback)"
        self._count += 1
        self._lines.append(
            {
                "number": self._count,
                "time": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": one_line(text[:LONGEST]),
            }
        )

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """The lines with a number above `after`, the oldest first. Runs on: any thread."""
        self.acquire()
        try:
            return [line for line in self._lines if line["number"] > after]
        finally:
            self.release()

    def leave_behind(self) -> None:
        """Starts empty in a forked process. Runs on: its only thread, first."""
        self._lines.clear()
        self._count = 0
