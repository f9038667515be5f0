"""Puts a measured cluster into words and files: Markdown tables and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import tables
from benchmark.cluster.settings import (
    IN_MEMORY,
    LOAD_CPU,
    NODES_CPU,
    REDIS_CPU,
    REDIS_CPU_EACH,
    REDIS_MOST,
    REDIS_NODES,
    ROUND_TRIPS,
    SCRIPT_CPU,
    SCRIPTS,
    Setup,
)
from benchmark.results import Results
from benchmark.summary import Spread
from benchmark.workloads import CPU_EACH, DELIVERIES, P50, P99, PUBLICATIONS, Metric, Workload


@dataclass(frozen=True)
class ClusterReport(Results):
    """All that a run was and gave."""

    setups: list[Setup]

    def faults(self) -> list[str]:
        """Return everything that should not have happened."""
        return [
            f"{one.workload}, {one.server}, round {one.round}: {'; '.join(one.faults())}"
            for one in self.measurements
            if one.faults()
        ]

    # ---- cells ----

    def _known(self, workload: Workload, setup: Setup, metric: Metric) -> Spread | None:
        return self.summary.spread(workload.name, setup.name, metric)

    def _median(self, workload: Workload, setup: Setup, metric: Metric) -> str:
        spread = self._known(workload, setup, metric)
        return "–" if spread is None else metric.show(spread.median)

    def _range(self, workload: Workload, setup: Setup, metric: Metric) -> str:
        return tables.range_of(self._known(workload, setup, metric), metric) or "–"

    def _ratio(self, workload: Workload, setup: Setup, metric: Metric) -> str:
        """Return the ratio to one node in memory."""
        ours, theirs = (self.summary.rounds(workload.name, s.name, metric) for s in (setup, IN_MEMORY))
        ratio = self.summary.ratio(ours, theirs) if ours and theirs else None
        return "–" if ratio is None else f"{ratio.median:.2f} × ({ratio.least:.2f} – {ratio.most:.2f})"

    def _added(self, workload: Workload, setup: Setup, metric: Metric) -> str:
        ours, theirs = (self._known(workload, s, metric) for s in (setup, IN_MEMORY))
        if setup is IN_MEMORY or ours is None or theirs is None:
            return "–"
        return f"{ours.median - theirs.median:+.2f} {metric.unit}"

    # ---- tables ----

    def _lines(self, closed_loop: bool) -> Iterator[tuple[Workload, Setup]]:
        for workload in self.workloads:
            for setup in self.setups:
                measured = any(
                    (m.workload, m.server) == (workload.name, setup.name) for m in self.measurements
                )
                if bool(workload.window) == closed_loop and measured:
                    yield workload, setup

    def throughput(self) -> str:
        """Return what went through at most; empty where that was not measured."""
        first = ("workload", "set-up", "publications", "least – most", "deliveries", "÷ one in memory")
        metrics = (P50, P99, CPU_EACH, NODES_CPU, LOAD_CPU)
        rows = []
        for line in self._lines(closed_loop=True):
            publications = PUBLICATIONS
            cells = [self._median(*line, publications), self._range(*line, publications)]
            cells += [self._median(*line, DELIVERIES), self._ratio(*line, publications)]
            rows.append([line[0].name, line[1].name, *cells, *(self._median(*line, one) for one in metrics)])
        return tables.markdown([*first, *(one.label for one in metrics)], rows) if rows else ""

    def latency(self) -> str:
        """Return how long messages took at a fixed rate; empty where that was not measured."""
        first = ("workload", "set-up", "p50", "least – most", "added", "p99", "least – most", "added")
        metrics = (DELIVERIES, NODES_CPU, LOAD_CPU)
        rows = []
        for line in self._lines(closed_loop=False):
            shown = (self._median, self._range, self._added)
            cells = [show(*line, metric) for metric in (P50, P99) for show in shown]
            rows.append([line[0].name, line[1].name, *cells, *(self._median(*line, one) for one in metrics)])
        return tables.markdown([*first, *(one.label for one in metrics)], rows) if rows else ""

    def redis(self) -> str:
        """Return what the messages cost Redis."""
        metrics = (
            ROUND_TRIPS,
            SCRIPTS,
            SCRIPT_CPU,
            REDIS_CPU_EACH,
            REDIS_CPU,
        )
        most = (REDIS_MOST, REDIS_NODES)  # of little meaning where Redis is almost idle
        rows = []
        for closed_loop in (True, False):
            for workload, setup in self._lines(closed_loop):
                if setup.masters:
                    cells = [self._median(workload, setup, one) for one in metrics]
                    cells += [self._median(workload, setup, one) if closed_loop else "–" for one in most]
                    rows.append([workload.name, setup.name, *cells])
        head = ["workload", "set-up", *(one.label for one in (*metrics, *most))]
        return tables.markdown(head, rows) if rows else ""

    def text(self) -> str:
        """Return the tables, and what to know about them."""
        notes = [
            "CPU is in shares of one core, that of all nodes taken together, and that of all masters.",
            "Nodes, Redis and the load generator",
            f"share {self.machine['cores']} cores: where those are busy, more nodes give no more.",
            '"Messages a Redis core": one second by Redis\'s CPU time for a message.',
            "\"Busy nodes a Redis core\": the nodes' CPU time for a message and its deliveries by Redis's.",
        ]
        parts = [self.throughput(), self.latency(), self.redis(), "\n".join(notes)]
        return self.put_together(parts)

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the set-ups."""
        return {**super().as_json(), "setups": [asdict(setup) for setup in self.setups]}

    def write(self, out: Path) -> None:
        """Write cluster.json and cluster.md into `out`, which exists."""
        self.write_files(out, "cluster", self.text())
