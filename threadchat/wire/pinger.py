"""One thread that runs the pings and deadlines of all connections, from one heap."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from threadchat.wire.threads.late_thread import LateThread
from threadchat.wire.threads.reports import REPORTS

log = logging.getLogger(__name__)

Action = Callable[[], None]


def attempt(action: Action) -> None:
    """Calls `action`; logs an exception on another thread, so that the pinger goes on."""
    try:
        action()
    except Exception as error:
        REPORTS.log(log, logging.ERROR, "a deadline's action failed", exc_info=error)


STOPPED: Final = 1.0
"""Seconds. If the thread wakes so much too late, the process was stopped: by SIGSTOP, because the computer
slept, or because other programs took all CPU time."""
CATCHING_UP: Final = 60.0
"""Seconds. Where a server is so busy that a peer's message waits for its reader, the peer is not late. It
gets so much longer at most, because a peer can also send more and more that nobody asked for."""
LOOK: Final = 1.0
"""Seconds between two looks whether the reader has caught up."""


class Alarm:
    """One entry of the heap. `cancel` drops the action at once; the entry stays until it is due."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Action) -> None:
        self.when = when
        self.action: Action | None = action

    def cancel(self) -> None:
        """Drops the action; an action that has begun goes on. Runs on: any thread."""
        self.action = None


class Pinger:
    """Calls actions when they are due, on the monotonic clock. An action must neither block nor log.

    The thread starts with the first alarm, and again after a fork. `_changed` guards `_heap` and `_stopped`;
    no action runs while it is held.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()  # alarms for the same time go off in the order in which they were set
        self._changed = threading.Condition(threading.Lock())
        self._thread = LateThread("pinger", self._run)
        self._stopped = False
        self._awake_at: float | None = None  # when the thread meant to wake; only the thread sets it
        self.resumed_at = float("-inf")
        """When the process last continued after it was stopped, in the clock's seconds."""

    @property
    def stopped(self) -> bool:
        """Whether there is no thread, and so actions run only in `run_due`. Runs on: any thread."""
        return self._stopped

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
        """Runs all actions that are due; returns the seconds until the next alarm, or None without one.

        Runs on: the pinger's thread, or a test's thread with a fake clock.
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
        """Starts empty in a forked process; the alarms are the parent's. Runs on: its only thread, first."""
        self._heap = []
        self._changed = threading.Condition(threading.Lock())
        self._thread = LateThread("pinger", self._run)
        self._awake_at = None

    def stop(self) -> None:
        """Ends the thread; the alarms that are set never go off. Runs on: any thread but the pinger's."""
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
                    self._awake_at = self.clock()  # without an alarm the thread cannot be late
                else:
                    self._awake_at = max(self._heap[0][0], self.clock())
                    remaining = self._heap[0][0] - self.clock()
                    if remaining > 0:
                        self._changed.wait(remaining)

    def _look_back(self, now: float) -> None:
        """Sets `resumed_at` if the thread woke much later than it meant to. Runs on: the pinger's thread."""
        assert self._awake_at is not None
        if now - self._awake_at > STOPPED:
            self.resumed_at = now
        self._awake_at = now


class Deadlines:
    """The named deadlines of one connection; only the nearest has an entry in the pinger's heap.

    When a deadline is moved back, its entry stays, and finds nothing due when it goes off. `_lock` guards
    everything here; no action runs while it is held.
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
        """See `Pinger.resumed_at`. Runs on: any thread."""
        return self._pinger.resumed_at

    def set(self, name: str, seconds: float, action: Action) -> None:
        """Sets or moves the deadline `name` to `seconds` from now. Runs on: any thread."""
        with self._lock:
            if not self._closed:
                when = self._pinger.clock() + seconds
                self._due[name] = (when, action)
                if self._alarm is None or when < self._alarm.when:
                    self._arm_locked()

    def give(self, name: str, seconds: float, action: Action, is_behind: Callable[[], bool] = bool) -> None:
        """As `set`, for what the peer has to do. Runs on: any thread.

        It gets the time once more, where the process was stopped meanwhile. As long as `is_behind`, what it
        has sent waits for a thread of ours, which gets `CATCHING_UP` seconds to deal with that.
        """
        # Partials, because a function that names itself would be garbage for the collector.
        overdue = partial(self._is_overdue, name, action, is_behind, int(CATCHING_UP / LOOK))
        self.set(name, seconds, partial(self._is_due, name, seconds, self._pinger.clock(), overdue))

    def clear(self, name: str) -> None:
        """Removes the deadline `name`, if it is set. Runs on: any thread."""
        with self._lock:
            self._due.pop(name, None)

    def close(self) -> None:
        """Removes all deadlines, and ignores those set later. Runs on: any thread."""
        with self._lock:
            self._closed = True
            self._due.clear()
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    def _is_due(self, name: str, seconds: float, given_at: float, overdue: Action) -> None:
        if self.resumed_at > given_at:
            self.set(name, seconds, overdue)
        else:
            overdue()

    def _is_overdue(self, name: str, action: Action, is_behind: Callable[[], bool], looks: int) -> None:
        if looks and is_behind():
            self.set(name, LOOK, partial(self._is_overdue, name, action, is_behind, looks - 1))
        else:
            action()

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
                self._alarm.cancel()  # another alarm may have been set while this one was on its way
                self._alarm = None
            now = self._pinger.clock()
            due = sorted((when, name) for name, (when, _) in self._due.items() if when <= now)
        for _, name in due:
            action = self._pop_due(name, now)
            if action is not None:
                attempt(action)
        with self._lock:  # after the actions, because most set their deadline again
            if self._due:
                self._arm_locked()

    def _pop_due(self, name: str, now: float) -> Action | None:
        """Removes and returns the action of `name`; None if an earlier action cleared or moved it."""
        with self._lock:
            when, action = self._due.get(name, (now, None))
            if action is None or when > now:
                return None
            del self._due[name]
            return action
