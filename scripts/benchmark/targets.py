"""The targets: a ratio to a peer (or a plain figure), with a floor and an aim."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.workloads import CONNECTS, DELIVERIES, MEMORY, P99, SERVED, Metric


@dataclass(frozen=True)
class Target:
    """One line of the table of targets. `against` is a peer's name, another workload of our own, or empty."""

    workload: str
    metric: Metric
    against: str
    floor: float | None
    aim: float | None

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
        *_fan_out(1000, 1, ("websockets.sync", 0.6, 1)),
        *_fan_out(100, 1, ("websockets.sync", 0.55, 1)),
        Target("emit-1000-w64", DELIVERIES, "publish-1000-w64", 0.9, 1),
        Target("emit-1000-w64", DELIVERIES, "fanout-1000-w64", None, 0.9),
        Target("direct-1000-w1", DELIVERIES, "websockets.sync", 4, 8),
        Target("direct-1000-w1", DELIVERIES, "flask-sock", 4, 8),
        Target("direct-1000-w16", DELIVERIES, "websockets.asyncio", 1.2, 2),
        Target("direct-1000-w16", DELIVERIES, "go-hub", 0.4, 0.8),
        Target("rooms-50x20", P99, "websockets.sync", 1, 0.5),
        Target("room-stalled", DELIVERIES, "room-healthy", 0.95, 1),
        Target("connects", CONNECTS, "websockets.sync", 1.5, None),
        Target("connects", CONNECTS, "go-hub", None, 0.5),
        Target("memory-1000", MEMORY, "websockets.sync", 1, 0.6),
        Target("held", SERVED, "", 9500, most_connections),
    ]
