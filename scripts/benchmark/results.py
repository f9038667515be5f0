"""The part that all runs share: the machine, the versions, and the files for the figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark import history, tables
from benchmark.environment import Say
from benchmark.measurement import Measurement
from benchmark.summary import Summary
from benchmark.workloads import Workload


@dataclass(frozen=True)
class Results:
    """A finished run: its settings and results. A subclass adds what it compares."""

    machine: dict[str, str]
    versions: dict[str, str]
    quick: bool
    workloads: list[Workload]
    measurements: list[Measurement]

    @property
    def summary(self) -> Summary:
        """Return the figures for lookup."""
        return Summary(self.measurements)

    def caption(self) -> str:
        """Return the date, the machine and the versions in one line."""
        where = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        return f"{where}; {', '.join(f'{name} {version}' for name, version in self.versions.items())}"

    def put_together(self, parts: list[str]) -> str:
        """Return the parts of the text that are not empty, and the notes on all of them."""
        parts = [*parts, tables.steadiness_note("".join(parts)), tables.load_note(self.summary)]
        if self.quick:
            parts.append("This was a quick run: small, short, and no measure of anything.")
        return "\n\n".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """Return what is written as JSON. A subclass adds to it."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "quick": self.quick,
            "workloads": [asdict(workload) for workload in self.workloads],
            "measurements": [asdict(one) for one in self.measurements],
        }

    def tell(self, faults: list[str], earlier: history.Run | None, say: Say) -> int:
        """Print the result, compared with an earlier run if there is one. Return the exit code."""
        say("\n".join(["", self.caption(), "", self.text(), "", *[f"! {fault}" for fault in faults]]))
        if earlier is not None:
            say(history.compare(earlier, self.as_json()))
        return 1 if faults else 0

    def text(self) -> str:
        """Return the tables. A subclass says which."""
        raise NotImplementedError

    def write_files(self, out: Path, name: str, text: str) -> None:
        """Write `name`.md and `name`.json into `out`; keep the JSON in `out`/history unless it was quick."""
        (out / f"{name}.md").write_text(f"{self.caption()}\n\n{text}\n")
        written = json.dumps(self.as_json(), indent=1) + "\n"
        (out / f"{name}.json").write_text(written)
        if not self.quick:
            history.keep(out, name, self.machine, written)
