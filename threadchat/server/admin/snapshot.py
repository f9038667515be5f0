"""Gathers the state of a chat for operators, at most once a second."""

from __future__ import annotations

import heapq
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from threadchat.chat.broker_interface import NodeReports
from threadchat.chat.hub import Hub
from threadchat.server.admin.process import resident_bytes
from threadchat.server.auth.failures import Failures
from threadchat.server.session.statistics import Entry, Statistics, Totals

FRESH: Final = 1.0
"""Seconds for which the last snapshot is reused for everybody who asks."""
SLOWEST: Final = 12
"""Connections that a snapshot describes: those whose outboxes have waited longest."""
STEP: Final = 256
"""Connections in one step. Between two steps other threads may run."""
ROOMS: Final = 20
"""Rooms of a connection that its description names."""

ROLES: Final = (
    *("reader", "writer", "producer", "http", "accept", "pinger", "listener", "router"),
    *("redis", "sqlite"),
)
"""The first word of the names of our threads. Others belong to the application, or are the main thread."""

DEPTHS: Final = (0, 1, 5, 10, 25, 50, 75, 100, 1000)
"""Messages in an outbox: inclusive upper bounds of the buckets."""
AGES: Final = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0)
ROUND_TRIPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""AGES and ROUND_TRIPS are in seconds."""
NO_ANSWER: Final = ROUND_TRIPS[-1]
"""Seconds after which a ping without a pong counts as unanswered."""


class Spread:
    """A histogram: the number of values in each bucket, their sum, and the highest."""

    __slots__ = ("bounds", "counts", "highest", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.highest = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.highest = max(self.highest, value)

    def as_dict(self) -> dict[str, Any]:
        return {"bounds": self.bounds, "counts": self.counts, "sum": self.sum, "highest": self.highest}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a chat at one instant. Times are in seconds; `time` is Unix time."""

    time: float
    uptime: float
    ready: bool
    connections: int
    rooms: int
    totals: Totals
    states: Counter[str]
    threads: Counter[str]
    depths: Spread
    ages: Spread
    round_trips: Spread
    unanswered: int
    median_trip: float | None
    high_trip: float | None
    queued_bytes: int
    slowest: list[dict[str, Any]]
    broker: dict[str, int]
    failures: dict[str, int]
    cpu_seconds: float
    memory: int | None


class Inspector:
    """Takes snapshots of one chat. `_lock` guards `_last`, and lets concurrent callers share a snapshot."""

    def __init__(
        self,
        statistics: Statistics,
        hub: Hub,
        clock: Callable[[], float] = time.monotonic,
        failures: Failures | None = None,
    ) -> None:
        self._statistics = statistics
        self.hub = hub
        self._clock = clock
        self._failures = failures or Failures(clock)
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._taken = 0.0

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self._lock = threading.Lock()
        self._last = None

    @property
    def ready(self) -> bool:
        """Whether the broker is available. Only a broker with an external server can be unavailable."""
        return bool(getattr(self.hub.broker, "ready", True))

    @property
    def node(self) -> str:
        """The name of this process among those that share a broker; empty with an unshared broker."""
        return str(getattr(self.hub.broker, "node", ""))

    @property
    def reports(self) -> NodeReports | None:
        """What the nodes that share the broker report; None with an unshared broker."""
        return getattr(self.hub.broker, "reports", None)

    def look(self) -> Snapshot:
        """A snapshot that is at most `FRESH` seconds old. Runs on: any thread."""
        with self._lock:
            return self._look_locked(STEP)

    def glance(self) -> Snapshot | None:
        """As `look`, but never waits: returns the last snapshot while another thread takes one.

        Runs on: the pinger's thread.
        """
        if not self._lock.acquire(blocking=False):
            return self._last
        try:
            return self._look_locked(sys.maxsize)
        finally:
            self._lock.release()

    def _look_locked(self, step: int) -> Snapshot:
        now = self._clock()
        if self._last is None or now - self._taken >= FRESH:
            self._last = self._gather(step)
            self._taken = now
        return self._last

    def list_connections(self, limit: int, sort: str) -> list[dict[str, Any]]:
        """Up to `limit` connections, sorted by an order of `ORDERS`. Runs on: any thread."""
        entries, _ = self._statistics.read()
        now = self._clock()
        order = ORDERS[sort]
        return [describe(entry, now) for entry in heapq.nsmallest(limit, entries, lambda it: order(it, now))]

    def _gather(self, step: int) -> Snapshot:
        ready = self.ready
        entries, totals = self._statistics.read()
        now = self._clock()
        states: Counter[str] = Counter()
        depths, ages, round_trips = Spread(DEPTHS), Spread(AGES), Spread(ROUND_TRIPS)
        trips: list[float] = []
        queued = unanswered = 0
        for number, entry in enumerate(entries, 1):
            if number % step == 0:
                time.sleep(0)
            connection = entry.connection
            outbox = connection.outbox
            totals.add(entry)
            states[connection.state.name] += 1
            depths.add(outbox.qsize())
            queued += outbox.bytes_waiting
            if (since := outbox.waiting_since) is not None:
                ages.add(max(0.0, now - since))
            else:
                ages.counts[0] += 1
            if (trip := connection.counters.round_trip) is not None:
                trips.append(trip)
                round_trips.add(trip)
            if (asked := connection.keepalive.asked_at) is not None:
                unanswered += now - asked > NO_ANSWER
        slowest = heapq.nsmallest(SLOWEST, entries, lambda it: _by_slowness(it, now))
        trips.sort()
        return Snapshot(
            time=time.time(),
            uptime=now - self._statistics.begun,
            ready=ready,
            connections=len(entries),
            rooms=len(self.hub.rooms()),
            totals=totals,
            states=states,
            threads=_count_threads(),
            depths=depths,
            ages=ages,
            round_trips=round_trips,
            unanswered=unanswered,
            median_trip=_quantile(trips, 0.5),
            high_trip=_quantile(trips, 0.99),
            queued_bytes=queued,
            slowest=[describe(entry, now) for entry in slowest],
            broker=getattr(self.hub.broker, "counters", dict)(),
            failures=self._failures.counts(),
            cpu_seconds=time.process_time(),
            memory=resident_bytes(),
        )


def describe(entry: Entry, now: float) -> dict[str, Any]:
    """One connection as a dict. Ages are in seconds; None means that it has not happened yet."""
    connection, session = entry.connection, entry.session
    counters, outbox = connection.counters, connection.outbox
    since, asked = outbox.waiting_since, connection.keepalive.asked_at
    rooms = session.room_names() if session else []
    return {
        "number": connection.number,
        "user": session.user if session else None,
        "nickname": session.nickname if session else "",
        "address": session.address if session else "",
        "state": connection.state.name,
        "age": now - entry.since,
        "outbox_messages": outbox.qsize(),
        "outbox_bytes": outbox.bytes_waiting,
        "outbox_age": 0.0 if since is None else max(0.0, now - since),
        "round_trip": counters.round_trip,
        "ping_age": None if asked is None else max(0.0, now - asked),
        "last_write": max(0.0, now - counters.last_write) if counters.last_write else None,
        "messages_in": counters.messages_in,
        "bytes_in": counters.bytes_in,
        "messages_out": counters.frames_out,
        "bytes_out": counters.bytes_out,
        "rooms": rooms[:ROOMS],
        "room_count": len(rooms),
    }


def _count_threads() -> Counter[str]:
    """Counts threads by the first word of their names; threads that are not ours are `other`."""
    words = Counter(thread.name.partition("-")[0] for thread in threading.enumerate())
    return Counter({role: words.pop(role) for role in ROLES if role in words} | {"other": words.total()})


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _by_slowness(entry: Entry, now: float) -> tuple[float, float, float]:
    connection = entry.connection
    outbox = connection.outbox
    return (
        outbox.waiting_since or sys.float_info.max,
        -outbox.bytes_waiting,
        -(connection.counters.round_trip or 0.0),
    )


ORDERS: Final[dict[str, Callable[[Entry, float], Any]]] = {
    "slowest": _by_slowness,
    "number": lambda entry, now: entry.connection.number,
    "oldest": lambda entry, now: entry.since,
    "newest": lambda entry, now: -entry.since,
    "outbox": lambda entry, now: -entry.connection.outbox.bytes_waiting,
    "round_trip": lambda entry, now: -(entry.connection.counters.round_trip or 0.0),
    "sent": lambda entry, now: -entry.connection.counters.bytes_out,
    "received": lambda entry, now: -entry.connection.counters.bytes_in,
}
"""The sort keys for lists of connections, in ascending order."""
