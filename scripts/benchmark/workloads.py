"""The workloads: each is one setting of the load generator, and the figures to report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One figure of the load generator's JSON, with its title and unit."""

    key: str
    label: str
    unit: str
    more_is_better: bool = True
    scale: float = 1.0

    def show(self, value: float) -> str:
        """Return `value` with its unit: three significant digits, thousands separated."""
        shown = value * self.scale
        digits = 0 if shown >= 100 else 1 if shown >= 10 else 2
        return f"{shown:,.{digits}f} {self.unit}".rstrip()


DELIVERIES = Metric("deliveries_per_second", "deliveries", "/s")
P50 = Metric("latency_p50_ms", "latency p50", "ms", more_is_better=False)
P99 = Metric("latency_p99_ms", "latency p99", "ms", more_is_better=False)
CPU_EACH = Metric("server_us_per_delivery", "CPU a delivery", "us", more_is_better=False)
CONNECTS = Metric("connects_per_second", "connects", "/s")
MEMORY = Metric("kb_per_connection", "memory a connection", "KB", more_is_better=False)
CPU = Metric("server_cpu", "CPU of one core", "%", more_is_better=False, scale=100)
PUBLICATIONS = Metric("publications_per_second", "publications", "/s")
CAPACITY = Metric("capacity", "most messages", "/s")
LEVEL = Metric("seconds", "until all are level", "s", more_is_better=False)
RETRIES = Metric("retries", "connections tried again", "", more_is_better=False)
SERVED = Metric("served", "connections served", "")


@dataclass(frozen=True)
class Workload:
    """One setting. The first metric is the one that is plotted."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    connections: int
    conversation: Literal["room", "direct", "emit"] = "room"
    groups: int = 1
    talkers: int = 1  # of each group
    window: int = 0  # messages that a talker has in flight: a closed loop
    rate: float = 0  # messages a second of each talker: an open loop
    stalled: int = 0  # additional members that never read
    returners: int = 0  # additional members who leave at first, and come back when the measured time begins
    in_flight: int = 32  # connections being opened at a time
    most_p99: float = 0  # ms; not 0: `rate` is where the search for the highest one begins
    most_steps: int = 14  # of that search
    size: int = 80  # bytes of a message, without the protocol's own
    warmup: float = 0.5
    seconds: float = 2.0
    settle: float = 0.3
    open_timeout: float = 30
    drain: float = 5  # at most; it ends when nothing is in flight
    ping_interval: float | None = None
    ours_only: bool = False
    without: tuple[str, ...] = ()  # peers that cannot do it
    most_rounds: int = 1000
    baseline: str = ""  # the workload with which this one is compared
    in_quick: bool = False

    def arguments(self) -> list[str]:
        """Return this setting as the load generator's command line."""
        numbers = {
            "connections": self.connections,
            "groups": self.groups,
            "talkers": self.talkers,
            "window": self.window,
            "rate": self.rate,
            "stalled": self.stalled,
            "returners": self.returners,
            "in-flight": self.in_flight,
            "size": self.size,
            "warmup": self.warmup,
            "seconds": self.seconds,
            "settle": self.settle,
            "open-timeout": self.open_timeout,
            "drain": self.drain,
        }
        words = [f"--{name}={value:g}" for name, value in numbers.items() if value]
        words += [f"--{name}=0" for name in ("talkers", "warmup") if not numbers[name]]
        if self.conversation == "direct" and self.talkers:
            words.append("--direct")
        return words

    @property
    def all_talkers(self) -> int:
        return self.groups * self.talkers

    @property
    def audience(self) -> int:
        """How many people hear a message."""
        return 1 if self.conversation == "direct" else self.connections // self.groups

    def at_rate(self, rate: float) -> Workload:
        """Return the same with so many messages a second from all talkers together."""
        return replace(self, rate=rate / self.all_talkers)

    def longest(self) -> float:
        """Return the seconds after which a run counts as hung."""
        return self.open_timeout + self.settle + self.warmup + self.seconds + self.drain + 60

    def quickened(self) -> Workload:
        """Return the same load, small and short: it shows that everything works, and measures nothing."""
        groups = min(self.groups, 4)
        each = min(self.connections // self.groups, 40 // groups)
        if self.conversation == "direct" and self.talkers:
            groups, each = 10, 2
        interval = None if self.ping_interval is None else 0.2
        return replace(
            self,
            connections=groups * each,
            groups=groups,
            talkers=min(self.talkers, each),
            warmup=0.1,
            seconds=20 if self.returners else 0.3,  # a storm ends when all are level
            settle=0.1,
            ping_interval=interval,
            returners=min(self.returners, 20),
            most_steps=2,
        )


def fan_out(members: int, window: int, ours_only: bool = False) -> Workload:
    return Workload(
        f"fanout-{members}-w{window}",
        f"one room of {members:,}, {window} outstanding",
        (DELIVERIES, CPU_EACH),
        members,
        window=window,
        ours_only=ours_only,
        in_quick=(members, window) == (100, 1),
    )


def direct(people: int, window: int) -> Workload:
    return Workload(
        f"direct-{people}-w{window}",
        f"{people // 2:,} pairs, {window} outstanding each",
        (DELIVERIES, CPU_EACH),
        people,
        "direct",
        groups=people // 2,
        talkers=2,
        window=window,
        in_quick=(people, window) == (100, 16),
    )


# The talker calls a command, without asking for a reply, as the other one asks for none to its messages. The
# application emits one event per call.
EMIT = replace(
    fan_out(1000, 64, ours_only=True),
    name="emit-1000-w64",
    title="the same room, but the application emits what it is told",
    conversation="emit",
    baseline="fanout-1000-w64",
)


# Long messages and a long warm-up, so that the kernel's buffers for the stalled member (up to 4 MB at the
# server) are full when the measured time begins.
HEALTHY = Workload(
    "room-healthy",
    "one room of 100, 4 messages of 4,000 bytes outstanding, everybody reads",
    (DELIVERIES, P99),
    100,
    window=4,
    size=4000,
    warmup=2,
    in_quick=True,
)
STALLED = replace(
    HEALTHY,
    name="room-stalled",
    title="the same room and a member who never reads",
    stalled=1,
    drain=1,  # a peer's room that is blocked makes no progress
    baseline=HEALTHY.name,
)
ROOMS = Workload(
    "rooms-50x20",
    "50 rooms of 20, everybody says something once a second",
    (P99, P50, CPU_EACH, DELIVERIES),
    1000,
    groups=50,
    talkers=20,
    rate=1,
    seconds=4,
    in_quick=True,
)
FULL_ROOMS = replace(
    ROOMS,
    name="rooms-50x20-w16",
    title="50 rooms of 20, one in each talks, 16 outstanding",
    metrics=(PUBLICATIONS, P99, CPU_EACH, DELIVERIES),
    talkers=1,
    rate=0,
    window=16,
    seconds=2,
    ours_only=True,
    in_quick=False,
)
# Each step of the search is a short run with a new server.
CAPACITY_OF_ROOMS = replace(
    ROOMS,
    name="rooms-50x20-capacity",
    title="the same, as often as leaves the p99 below 50 ms",
    metrics=(CAPACITY, P99, CPU_EACH),
    seconds=2,
    drain=1,
    most_p99=50,
    without=("websockets.sync", "flask-sock", "picows"),
)
CONNECT = Workload(
    "connects",
    "2,000 connections opened, 64 at a time",
    (CONNECTS,),
    2000,
    "direct",
    talkers=0,
    in_flight=64,
    warmup=0,
    seconds=0.1,
    in_quick=True,
)
QUIET = Workload(
    "memory-1000",
    "1,000 connections that were greeted and say nothing",
    (MEMORY,),
    1000,
    "direct",
    talkers=0,
    warmup=0,
    seconds=0.1,
    settle=1,
    in_quick=True,
)
# Servers that do not spread their pings send them all at once: the measured time is one whole interval. Two
# peers with threads do not get 5,000 connections open within a minute while they ping them.
IDLE = replace(
    QUIET,
    name="idle-5000",
    title="5,000 quiet connections, each pinged every 5 s",
    metrics=(CPU, MEMORY),
    connections=5000,
    seconds=5,
    ping_interval=5,
    without=("websockets.sync", "flask-sock"),
)
IDLE_BY_DEFAULT = replace(
    IDLE,
    name="idle-5000-p30",
    title="5,000 quiet connections, each pinged every 30 s, threadchat's default",
    seconds=30,
    ping_interval=30,
    without=(*IDLE.without, "picows"),
    in_quick=False,
)


def storm(returners: int) -> Workload:
    """The warm-up is how long they are away: time for a server to see them off."""
    return Workload(
        "storm",
        f"{returners:,} people come back to 20 rooms at once and catch up; 10 more in each never left",
        (LEVEL, P99, RETRIES, CONNECTS),
        200,
        groups=20,
        rate=1,
        returners=returners,
        warmup=5,
        seconds=120,
        open_timeout=240,
        drain=10,
        ours_only=True,
        in_quick=True,
    )


def held(connections: int) -> Workload:
    return Workload(
        "held",
        f"{connections:,} connections in one room, each hears the others",
        (SERVED, CONNECTS, MEMORY, DELIVERIES),
        connections,
        window=1,
        seconds=5,
        open_timeout=90,
        ours_only=True,
        most_rounds=1,
    )


def all_workloads(most_connections: int) -> list[Workload]:
    """Return every workload, in the order of measuring; `most_connections` is what this machine can hold."""
    return [
        *(fan_out(members, window) for members in (100, 1000) for window in (1, 4, 64)),
        EMIT,
        *(fan_out(5000, window, ours_only=True) for window in (1, 4, 64)),
        *(direct(people, window) for people in (100, 1000) for window in (1, 16)),
        ROOMS,
        FULL_ROOMS,
        CAPACITY_OF_ROOMS,
        HEALTHY,
        STALLED,
        CONNECT,
        QUIET,
        IDLE,
        IDLE_BY_DEFAULT,
        storm(max(20, min(10_000, most_connections - 200))),
        held(most_connections),
    ]
