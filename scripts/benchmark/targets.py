"""The targets: a ratio to a peer (or a plain figure), with a floor and an aim."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.workloads import CAPACITY, CONNECTS, CPU, DELIVERIES, LEVEL, MEMORY, P99, SERVED, Metric

SEARCHED = "rooms-50x20-capacity"


@dataclass(frozen=True)
class Target:
    """One line of the table of targets: `server` against another, another workload of its own, or nobody."""

    workload: str
    metric: Metric
    against: str
    floor: float | None
    aim: float | None
    server: str = "threadchat"

    def verdict(self, value: float) -> str:
        """Return `aim`, `met` or `short` for a ratio (or a plain figure)."""
        if self.aim is not None and self._reaches(value, self.aim):
            return "aim"
        if self.floor is None:
            return "short of the aim"
        return "met" if self._reaches(value, self.floor) else "SHORT"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.metric.more_is_better else value <= bound


def _fan_out(members: int, window: int, *lines: tuple[str, float, float]) -> list[Target]:
    return [Target(f"fanout-{members}-w{window}", DELIVERIES, *line) for line in lines]


def all_targets(most_connections: int) -> list[Target]:
    """Return the targets. `most_connections` is how many connections the descriptors allow."""
    return [
        *_fan_out(
            1000,
            64,
            ("websockets.sync", 8, 15),
            ("websockets.asyncio", 6, 12),
            ("picows", 4, 8),
            ("go-hub", 2, 4),
        ),
        *_fan_out(1000, 4, ("websockets.sync", 1.4, 2.2), ("websockets.asyncio", 1.1, 1.6)),
        *_fan_out(1000, 1, ("floor", 0.75, 0.85), ("websockets.sync", 0.75, 0.9)),
        *_fan_out(100, 1, ("floor", 0.75, 0.85)),
        Target("emit-1000-w64", DELIVERIES, "fanout-1000-w64", 0.9, 1),
        Target("direct-1000-w1", DELIVERIES, "websockets.sync", 4, 8),
        Target("direct-1000-w1", DELIVERIES, "flask-sock", 4, 8),
        Target("direct-1000-w16", DELIVERIES, "websockets.asyncio", 1.2, 2),
        Target("direct-1000-w16", DELIVERIES, "go-hub", 0.7, 1),
        Target("rooms-50x20", P99, "websockets.sync", 1, 0.5),
        Target(SEARCHED, CAPACITY, "websockets.asyncio", 0.5, 0.7),
        Target(SEARCHED, CAPACITY, "go-hub", 0.3, 0.5),
        Target(SEARCHED, CAPACITY, "threadchat", 1.3, 1.6, server="threadchat-workers-2"),
        Target("room-stalled", DELIVERIES, "room-healthy", 0.95, 1),
        Target("connects", CONNECTS, "websockets.sync", 4, None),
        Target("connects", CONNECTS, "go-hub", 0.3, 0.5),
        Target("memory-1000", MEMORY, "websockets.sync", 0.9, 0.8),
        Target("idle-5000-p30", CPU, "websockets.asyncio", 1.5, 1),
        Target("storm", LEVEL, "", 15, 7.5),
        Target("storm", P99, "", 250, 125),
        Target("held", SERVED, "", 9500, most_connections),
    ]
