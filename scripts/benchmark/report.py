"""Puts a finished run into words and files: Markdown tables, JSON, and a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark import machine, plot, tables
from benchmark.measurement import Measurement
from benchmark.servers import OURS, Server
from benchmark.summary import Line, Summary
from benchmark.targets import all_targets
from benchmark.workloads import Workload


@dataclass(frozen=True)
class Report:
    """All that a run was and gave."""

    machine: dict[str, str]
    versions: dict[str, str]
    quick: bool
    workloads: list[Workload]
    servers: list[Server]
    measurements: list[Measurement]

    @property
    def summary(self) -> Summary:
        """Return the figures, ready to be looked up."""
        return Summary(self.measurements)

    def caption(self) -> str:
        """Return when, where and with what this was measured, in one line."""
        where = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        return f"{where}; {', '.join(f'{name} {version}' for name, version in self.versions.items())}"

    def lines(self) -> list[Line]:
        """Return the closing table's lines; a quick run or one without ours has none."""
        if self.quick or OURS not in self.servers:
            return []
        names = {workload.name for workload in self.workloads}
        wanted = [target for target in all_targets(machine.descriptor_limit()) if target.workload in names]
        return [self.summary.line(target, names) for target in wanted]

    def text(self) -> str:
        """Return the tables."""
        names = [server.name for server in self.servers]
        parts = [tables.measured(self.summary, self.workloads, names), tables.load_note(self.summary)]
        if lines := self.lines():
            parts.append(tables.reached(lines))
        if self.quick:
            parts.append("This was a quick run: small, short, and no measure of anything.")
        return "\n\n".join(part for part in parts if part)

    def write(self, out: Path) -> None:
        """Write results.json, results.md and plot.svg into `out`, which exists."""
        names = [server.name for server in self.servers]
        (out / "results.md").write_text(f"{self.caption()}\n\n{self.text()}\n")
        (out / "plot.svg").write_text(plot.draw(self.summary, self.workloads, names, self.caption()))
        result = {
            "machine": self.machine,
            "versions": self.versions,
            "quick": self.quick,
            "workloads": [asdict(workload) for workload in self.workloads],
            "measurements": [asdict(one) for one in self.measurements],
            "targets": [asdict(line) for line in self.lines()],
        }
        (out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
