"""Looks at something now and then on the pinger's thread: sooner when tense, 2 % of the time at most."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

CALM: Final = 1.0
"""Seconds between two looks."""
TENSE: Final = 0.1
"""The same once what is looked at is more than half of what it may be."""
SHARE: Final = 0.02
"""Of the time, that looking may take; a look that took long is followed by a longer rest."""


class Periodic:
    """Calls `look` as long as there is something to look at; whoever brings something calls `watch`.

    `look` returns the seconds until the next one, or None where there is nothing more to look at.

    `_lock` guards `_armed`, whether there is a next look, and `_alarm`, which is that look's.
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
        """Told that there is something to look at. Runs on: any thread."""
        if not self._armed:
            self._look_in(CALM)

    def run(self) -> None:
        """Looks once, and sees to the next look. Runs on: the pinger's thread."""
        with self._lock:
            self._armed = False  # first: whoever comes from here on sees to the next look
        began = monotonic()
        rest: float | None = CALM  # after a look that failed, too
        try:
            rest = self._look()
        finally:
            if rest is not None:
                self._look_in(max(rest, (monotonic() - began) / SHARE))

    def leave_behind(self) -> None:
        """Begins anew: what was looked at is the parent's. Runs on: the only thread of a forked process."""
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
    """The seconds until the next look where `most` may be, and `amount` is."""
    return CALM if amount * 2 <= most else TENSE
