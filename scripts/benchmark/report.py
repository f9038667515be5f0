"""Reports a finished run: Markdown tables, JSON, and a plot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import machine, plot, tables
from benchmark.results import Results
from benchmark.servers import OURS, Server
from benchmark.summary import Line
from benchmark.targets import all_targets


@dataclass(frozen=True)
class Report(Results):
    """A finished run: its settings and its results."""

    servers: list[Server]

    def lines(self) -> list[Line]:
        """Return the lines of the table of targets. A quick run, or one without threadchat, has none."""
        if self.quick or OURS not in self.servers:
            return []
        names = {workload.name for workload in self.workloads}
        wanted = [target for target in all_targets(machine.descriptor_limit()) if target.workload in names]
        return [self.summary.line(target, names) for target in wanted]

    def text(self) -> str:
        """Return the tables."""
        names = [server.name for server in self.servers]
        parts = [tables.measured(self.summary, self.workloads, names)]
        if lines := self.lines():
            parts.append(tables.reached(lines))
        return self.put_together(parts)

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the targets."""
        return {**super().as_json(), "targets": [asdict(line) for line in self.lines()]}

    def write(self, out: Path) -> None:
        """Write results.json, results.md and plot.svg into `out`, which exists."""
        names = [server.name for server in self.servers]
        (out / "plot.svg").write_text(plot.draw(self.summary, self.workloads, names, self.caption()))
        self.write_files(out, "results", self.text())
