"""One shared thread for every ping and every deadline of every connection, on one heap."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from threadchat.wire.threads.late_thread import LateThread
from threadchat.wire.threads.reports import REPORTS

log = logging.getLogger(__name__)

Action = Callable[[], None]


def attempt(action: Action) -> None:
    """Calls `action`; one that fails is logged, on another thread, and harms nobody."""
    try:
        action()
    except Exception as error:
        REPORTS.log(log, logging.ERROR, "a deadline's action failed", exc_info=error)


STOPPED: Final = 1.0
"""Seconds by which the thread is late if the process was stopped: by SIGSTOP, with its computer, or by others
that took all the time there was."""


class Alarm:
    """One entry of the heap; cancelling lets go of the action at once, the entry goes when it is due."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Action) -> None:
        self.when = when
        self.action: Action | None = action

    def cancel(self) -> None:
        """Makes the alarm do nothing. Runs on: any thread; one that fires just now may still run."""
        self.action = None


class Pinger:
    """Calls actions when they are due, on the monotonic clock; an action must not block, nor log by itself.

    The thread starts with the first alarm, and again after a fork. `_changed` guards `_heap`
    and `_stopped`; no action runs under it.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()  # alarms of the same instant go off in the order they were set
        self._changed = threading.Condition(threading.Lock())
        self._thread = LateThread("pinger", self._run)
        self._stopped = False
        self._awake_at: float | None = None  # when the thread meant to look next; nobody else sets it
        self.resumed_at = float("-inf")
        """When the process went on, after the last time that it was stopped, in the clock's seconds."""

    def call_later(self, seconds: float, action: Action) -> Alarm:
        """Calls `action` on the pinger's thread in `seconds`. Runs on: any thread."""
        return self.call_at(self.clock() + seconds, action)

    def call_at(self, when: float, action: Action) -> Alarm:
        """Calls `action` on the pinger's thread at `when`, in the clock's seconds. Runs on: any thread."""
        alarm = Alarm(when, action)
        with self._changed:
            heapq.heappush(self._heap, (when, next(self._order), alarm))
            if self._heap[0][2] is alarm:
                self._changed.notify()
            if not self._stopped:
                self._thread.start()
        return alarm

    def run_due(self) -> float | None:
        """Runs all that is due; returns the seconds until the next alarm, None without one.

        Runs on: the pinger's thread, or a test's with a clock of its own.
        """
        while True:
            with self._changed:
                if not self._heap:
                    return None
                when, now = self._heap[0][0], self.clock()
                if self._awake_at is not None:
                    self._look_back(now)
                if when > now:
                    return when - now
                alarm = heapq.heappop(self._heap)[2]
            action = alarm.action
            if action is not None:
                attempt(action)

    def leave_behind(self) -> None:
        """Begins anew in a forked process, whose parent has the rest. Runs on: its only thread, first."""
        self._heap = []
        self._changed = threading.Condition(threading.Lock())
        self._thread = LateThread("pinger", self._run)
        self._awake_at = None

    def stop(self) -> None:
        """Ends the thread; alarms that are still set never go off. Runs on: any thread but its own."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        self._awake_at = self.clock()
        while True:
            self.run_due()
            with self._changed:
                if self._stopped:
                    return
                if not self._heap:
                    self._changed.wait()
                    self._awake_at = self.clock()  # there was nothing to be late for
                else:
                    self._awake_at = max(self._heap[0][0], self.clock())
                    remaining = self._heap[0][0] - self.clock()
                    if remaining > 0:
                        self._changed.wait(remaining)

    def _look_back(self, now: float) -> None:
        """Notes where the thread looks again much later than it meant to. Runs on: the pinger's thread."""
        assert self._awake_at is not None
        if now - self._awake_at > STOPPED:
            self.resumed_at = now
        self._awake_at = now


class Deadlines:
    """The named deadlines of one connection, behind one entry of the pinger's heap: the nearest.

    A deadline that moves back is not sorted again: its old entry goes off and finds nothing due.
    `_lock` guards everything here; no action runs under it.
    """

    def __init__(self, pinger: Pinger) -> None:
        self._pinger = pinger
        self.clock = pinger.clock
        self._lock = threading.Lock()
        self._due: dict[str, tuple[float, Action]] = {}
        self._alarm: Alarm | None = None
        self._closed = False

    @property
    def resumed_at(self) -> float:
        """When the process went on after it was stopped; see Pinger."""
        return self._pinger.resumed_at

    def set(self, name: str, seconds: float, action: Action) -> None:
        """Sets or moves the deadline `name` to `seconds` from now. Runs on: any thread."""
        with self._lock:
            if not self._closed:
                self._due[name] = (self._pinger.clock() + seconds, action)
                self._arm_locked()

    def clear(self, name: str) -> None:
        """Takes the deadline back, if it is set. Runs on: any thread."""
        with self._lock:
            self._due.pop(name, None)

    def close(self) -> None:
        """Clears all, for good. Runs on: any thread."""
        with self._lock:
            self._closed = True
            self._due.clear()
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    def _arm_locked(self) -> None:
        nearest = min(when for when, _ in self._due.values())
        if self._alarm is not None:
            if self._alarm.when <= nearest:
                return
            self._alarm.cancel()
        self._alarm = self._pinger.call_at(nearest, self._fire)

    def _fire(self) -> None:
        with self._lock:
            if self._alarm is not None:
                self._alarm.cancel()  # where it is not this one, but one set while this was on its way
                self._alarm = None
            now = self._pinger.clock()
            due = sorted((when, name) for name, (when, _) in self._due.items() if when <= now)
        for _, name in due:
            action = self._pop_due(name, now)
            if action is not None:
                attempt(action)
        with self._lock:  # after the actions: most set their deadline anew
            if self._due:
                self._arm_locked()

    def _pop_due(self, name: str, now: float) -> Action | None:
        """The action of `name`; None where an action before it cleared or moved that deadline."""
        with self._lock:
            when, action = self._due.get(name, (now, None))
            if action is None or when > now:
                return None
            del self._due[name]
            return action
