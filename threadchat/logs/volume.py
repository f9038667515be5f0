"""Bounds what the log grows by: in all, whatever it is that there is so much of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from threadchat.logs.rate_limit import flatten_shortage

BURST: Final = 8 << 20
"""Bytes at once: what a thousand threads do, or an hour's mishap with its tracebacks."""
RATE: Final = 2 << 10
"""Bytes a second in the long run: 177 MB a day, which `logrotate` or the journal copes with."""
RESERVE: Final = 2 << 20
"""Bytes of `BURST` for warnings and what is worse: a flood of other lines leaves them their place."""


class BoundedHandler(logging.StreamHandler[Any]):
    """Writes lines to a stream, but for those above `BURST` and `RATE`, which it counts.

    Debugging is not rationed: who asks for it wants all of it. Runs on: any thread, under the handler's lock.
    """

    def __init__(self, stream: Any = None, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._room = float(BURST)
        self._at = clock()
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the line, or counts it."""
        try:
            flatten_shortage(record)
            line = self.format(record)
            if record.levelno < logging.INFO or self._has_room(record.levelno, len(line) + 1):
                self._tell_of_others()
                self.stream.write(line + self.terminator)
                self.flush()
            else:
                self._left_out += 1
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _has_room(self, level: int, size: int) -> bool:
        now = self._clock()
        self._room = min(float(BURST), self._room + (now - self._at) * RATE)
        self._at = now
        if self._room - size < (RESERVE if level < logging.WARNING else 0):
            return False
        self._room -= size
        return True

    def _tell_of_others(self) -> None:
        count, self._left_out = self._left_out, 0
        if count:
            text = "%d lines were left out here: the log has grown too fast"
            record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None)
            self.stream.write(self.format(record) + self.terminator)
