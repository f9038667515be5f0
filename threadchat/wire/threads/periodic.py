"""Calls a check periodically on the pinger's thread, more often near a limit, for 2 % of the time at most."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

CALM: Final = 1.0
"""Seconds between two checks."""
TENSE: Final = 0.1
"""Seconds between two checks once the amount is above half of its limit."""
SHARE: Final = 0.02
"""Share of the time that checks may take; a long check is followed by a longer pause."""


class Periodic:
    """Calls `look` periodically while there is something to check; `watch` says that there is.

    `look` returns the seconds until the next call, or None to stop until the next `watch`.

    `_lock` guards `_armed`, whether a call is due, and `_alarm`, which will make it.
    """

    def __init__(
        self, look: Callable[[], float | None], schedule: Callable[[float, Callable[[], None]], Any]
    ) -> None:
        """`schedule` is a pinger's `call_later`."""
        self._look = look
        self._schedule = schedule
        self._lock = threading.Lock()
        self._armed = False
        self._alarm: Any = None

    def watch(self) -> None:
        """Starts the periodic calls if none is due. Runs on: any thread."""
        if not self._armed:
            self._look_in(CALM)

    def run(self) -> None:
        """Calls `look` once and schedules the next call. Runs on: the pinger's thread."""
        with self._lock:
            self._armed = False  # first, so that a `watch` from here on schedules a call
        began = monotonic()
        rest: float | None = CALM  # also after an exception
        try:
            rest = self._look()
        finally:
            if rest is not None:
                self._look_in(max(rest, (monotonic() - began) / SHARE))

    def leave_behind(self) -> None:
        """Resets it: what was checked is the parent's. Runs on: the only thread of a forked process."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._lock = threading.Lock()
        self._armed = False

    def _look_in(self, seconds: float) -> None:
        with self._lock:
            if not self._armed:
                self._armed = True
                self._alarm = self._schedule(seconds, self.run)


def rest_for(amount: float, most: float) -> float:
    """Returns the seconds until the next check of an `amount` with the limit `most`."""
    return CALM if amount * 2 <= most else TENSE
