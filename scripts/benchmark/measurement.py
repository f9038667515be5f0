"""Makes one measurement: starts a new server and the load generator, and reads the generator's report."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port

from benchmark.process import ServerFailed, running
from benchmark.servers import OURS, SPEAKING, Server
from benchmark.workloads import Metric, Workload

BUSY = 0.9  # share of a core above which the load generator may be the bottleneck


@dataclass(frozen=True)
class Tools:
    """What was set up."""

    project: Path
    python: Path
    load: Path
    go_hub: Path | None = None
    our_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """The result of one workload with one server. `figures` is the load generator's JSON."""

    workload: str
    server: str
    round: int
    figures: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    def value(self, metric: Metric) -> float | None:
        """Return one figure, or None if the run failed."""
        return None if self.failure else float(self.figures[metric.key])

    def faults(self) -> list[str]:
        """Return all errors: messages lost, duplicated or misdelivered, and connections refused or closed."""
        if self.failure:
            return [f"failed: {self.failure}"]
        counted = {
            "not opened": "failed",
            "connections lost": "closed",
            "out of order": "out_of_order",
            "undelivered": "missing",
            "misdelivered": "strangers",
            "errors": "errors",
        }
        found = [f"{self.figures[key]:,} {words}" for words, key in counted.items() if self.figures[key]]
        if found and self.figures["first_fault"]:
            found.append(f"first: {self.figures['first_fault']}")
        return found


def _command(tools: Tools, server: Server, workload: Workload, port: int) -> list[str]:
    started = SPEAKING if workload.conversation in ("emit", "publish") else server
    words = started.command(tools.python, tools.go_hub, port, workload.ping_interval)
    return [*words, *tools.our_arguments] if server is OURS else words


def _generate(tools: Tools, server: Server, workload: Workload, pid: int, port: int) -> dict[str, Any]:
    conversation = getattr(server.dialect, workload.conversation)
    words = ["--port", str(port), "--pid", str(pid), *conversation.arguments(), *workload.arguments()]
    done = subprocess.run(
        [tools.load, *words], check=False, capture_output=True, text=True, timeout=workload.longest()
    )
    try:
        figures: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = (done.stdout + done.stderr)[-300:]
        return {"error": f"the load generator ended with {done.returncode}: {said}"}
    return figures


def measure(tools: Tools, server: Server, workload: Workload, number: int, logs: Path) -> Measurement:
    """Run `workload` once with a new `server`. A failure is part of the result, not an exception."""
    port = free_port()
    log = logs / f"{workload.name}.{server.name}.{number}.log"
    try:
        with running(_command(tools, server, workload, port), port, log, tools.project) as process:
            figures = _generate(tools, server, workload, process.pid, port)
    except (ServerFailed, subprocess.TimeoutExpired, OSError) as error:
        return Measurement(workload.name, server.name, number, failure=str(error))
    return Measurement(workload.name, server.name, number, figures, str(figures.get("error", "")))
