"""Logs for threads that must not wait for a slow log, such as the pinger."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from threadchat.wire.threads.forking import begin_anew_after_fork

MOST: Final = 1000
"""Lines that may wait; further lines are dropped, and their number is logged later."""

log = logging.getLogger(__name__)


class Reports:
    """Logs on a thread that starts with the first waiting line and ends with the last.

    `_changed` guards everything here and is a leaf; nothing is logged while it is held.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._changed = threading.Condition(threading.Lock())
        self._lines: deque[Callable[[], object]] = deque()
        self._dropped = 0
        self._writing = False  # a thread logs what waits
        begin_anew_after_fork(self)

    def log(self, logger: logging.Logger, level: int, message: str, *arguments: object, **more: Any) -> None:
        """Like `logger.log`, but on another thread. Never blocks. Runs on: any thread."""
        with self._changed:
            if len(self._lines) >= self._most:
                self._dropped += 1
                return
            self._lines.append(partial(logger.log, level, message, *arguments, **more))
            if self._writing:
                return
            self._writing = True
        try:
            threading.Thread(target=self.write, name="reports", daemon=True).start()
        except RuntimeError:  # the system has no more threads: the next line tries again
            with self._changed:
                self._writing = False

    def write(self) -> None:
        """Logs what waits, until nothing does. Runs on: a thread of its own."""
        while True:
            with self._changed:
                dropped, self._dropped = self._dropped, 0
                if not self._lines and not dropped:
                    self._writing = False
                    self._changed.notify_all()
                    return
                lines = list(self._lines)
                self._lines.clear()
            for line in lines:
                with contextlib.suppress(Exception):  # an application's handler may raise
                    line()
            if dropped:
                log.warning("%d lines were dropped: the log is read too slowly", dropped)

    def flush(self, timeout: float) -> bool:
        """Waits until everything is logged; returns False after `timeout` seconds. Runs on: any thread."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._writing, timeout)

    def leave_behind(self) -> None:
        """Drops what waits, which the parent logs. Runs on: the only thread of a forked process."""
        self._changed = threading.Condition(threading.Lock())
        self._lines.clear()
        self._writing = False


REPORTS: Final = Reports()
