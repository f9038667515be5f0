"""Computes medians, spreads, ratios and verdicts from single measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmark.measurement import Measurement
from benchmark.servers import OURS
from benchmark.targets import Target
from benchmark.workloads import Metric


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and their minimum and maximum."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return None if there is no value."""
        known = list(values)
        return cls(median(known), min(known), max(known)) if known else None

    @property
    def is_unsteady(self) -> bool:
        """Whether the rounds differ by more than a third of their median."""
        return self.most - self.least > abs(self.median) / 3


@dataclass(frozen=True)
class Line:
    """One line of the table of targets."""

    target: Target
    ours: Spread | None
    theirs: Spread | None  # None for a target without an opponent, too
    ratio: Spread | None  # its median is the ratio of the medians, its ends are those of single rounds
    verdict: str


class Summary:
    """Looks up what was measured."""

    def __init__(self, measurements: list[Measurement]) -> None:
        self.measurements = measurements

    def rounds(self, workload: str, server: str, metric: Metric) -> dict[int, float]:
        """Return the figures of the rounds that have one."""
        return {
            one.round: value
            for one in self.measurements
            if (one.workload, one.server) == (workload, server) and (value := one.value(metric)) is not None
        }

    def spread(self, workload: str, server: str, metric: Metric) -> Spread | None:
        return Spread.of(self.rounds(workload, server, metric).values())

    def ratio(self, ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
        """Return our figure divided by theirs. The minimum and maximum are ratios within one round."""
        pairs = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        if not pairs or not median(theirs.values()):
            return None
        return Spread(median(ours.values()) / median(theirs.values()), min(pairs), max(pairs))

    def ratio_to(self, workload: str, server: str, metric: Metric) -> Spread | None:
        return self.ratio(self.rounds(workload, OURS.name, metric), self.rounds(workload, server, metric))

    def line(self, target: Target, workloads: Iterable[str]) -> Line:
        """Judge one target. `workloads` are all names of workloads, to tell a baseline from a peer."""
        ours = self.rounds(target.workload, target.server, target.metric)
        if not target.against:
            value = Spread.of(ours.values())
            return Line(target, value, None, None, target.verdict(value.median) if value else "not measured")
        if target.against in workloads:
            theirs = self.rounds(target.against, target.server, target.metric)
        else:
            theirs = self.rounds(target.workload, target.against, target.metric)
        ratio = self.ratio(ours, theirs)
        verdict = target.verdict(ratio.median) if ratio else "not measured"
        return Line(target, Spread.of(ours.values()), Spread.of(theirs.values()), ratio, verdict)

    def busiest_load(self) -> tuple[float, Measurement] | None:
        """Return the largest share of a core that the load generator used, and in which run."""
        shares = [(float(one.figures["load_cpu"]), one) for one in self.measurements if not one.failure]
        return max(shares, key=lambda pair: pair[0]) if shares else None

    def our_faults(self) -> list[str]:
        """Return the errors of our own runs, with whatever arguments."""
        return [
            f"{one.workload}, {one.server}, round {one.round}: {'; '.join(one.faults())}"
            for one in self.measurements
            if one.server.startswith(OURS.name) and one.faults()
        ]
