"""Makes one measurement: starts a new server and the load generator, and reads the generator's report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ports import free_port

from benchmark.capacity import highest_rate
from benchmark.process import Running, ServerFailed, is_ready, listens, running
from benchmark.redis import redis_running
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
    redis: Path | None = None


@dataclass(frozen=True)
class Measurement:
    """The result of one workload with one server. `figures` is the load generator's JSON."""

    workload: str
    server: str
    round: int
    figures: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    def value(self, metric: Metric) -> float | None:
        """Return one figure, or None if the run failed or does not have it."""
        found = None if self.failure else self.figures.get(metric.key)
        return None if found is None else float(found)

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


@contextmanager
def _started(tools: Tools, server: Server, workload: Workload, log: Path) -> Iterator[Running]:
    """Run the server while the block runs, with the folder or the Redis that it needs."""
    port = free_port()
    with ExitStack() as stack:
        places = {}
        if "{folder}" in server.program:
            folder = TemporaryDirectory(prefix="threadchat-bench-", ignore_cleanup_errors=True)
            places["folder"] = stack.enter_context(folder)
        if "{redis}" in server.program:
            assert tools.redis is not None
            places["redis"] = stack.enter_context(
                redis_running(tools.redis, 1, "", log.with_suffix(".redis"))
            ).url
        program = SPEAKING if workload.conversation == "emit" else server
        command = program.command(tools.python, tools.go_hub, port, workload.ping_interval, **places)
        if server is OURS:
            command += tools.our_arguments
        is_up = is_ready if server.is_ours else listens
        yield stack.enter_context(running(command, port, log, tools.project, is_up))


def _generate(tools: Tools, server: Server, workload: Workload, started: Running) -> dict[str, Any]:
    conversation = getattr(server.dialect, workload.conversation)
    pids = ",".join(map(str, started.pids))
    words = ["--port", str(started.port), "--pid", pids, *conversation.arguments(), *workload.arguments()]
    done = subprocess.run(
        [tools.load, *words], check=False, capture_output=True, text=True, timeout=workload.longest()
    )
    try:
        figures: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = (done.stdout + done.stderr)[-300:]
        return {"error": f"the load generator ended with {done.returncode}: {said}"}
    if "error" not in figures:
        figures["publications_per_second"] = figures["deliveries_per_second"] / workload.audience
    return figures


def _measure_once(tools: Tools, server: Server, workload: Workload, number: int, logs: Path) -> Measurement:
    try:
        with _started(
            tools, server, workload, logs / f"{workload.name}.{server.name}.{number}.log"
        ) as started:
            figures = _generate(tools, server, workload, started)
    except (ServerFailed, subprocess.TimeoutExpired, OSError) as error:
        return Measurement(workload.name, server.name, number, failure=str(error))
    return Measurement(workload.name, server.name, number, figures, str(figures.get("error", "")))


def _measure_capacity(
    tools: Tools, server: Server, workload: Workload, number: int, logs: Path
) -> Measurement:
    """Return the run with the highest rate at which p99 is low enough; each rate has a new server."""
    tried: list[tuple[float, Measurement]] = []

    def is_low_enough(rate: float) -> bool:
        for _ in range(2):  # what one of two runs bears is borne: the machine may have been busy
            one = _measure_once(tools, server, workload.at_rate(rate), number, logs)
            tried.append((rate, one))
            if not one.faults() and one.figures["latency_p99_ms"] <= workload.most_p99:
                return True
        return False

    rate = highest_rate(workload.rate * workload.all_talkers, is_low_enough, workload.most_steps)
    chosen = next((one for tried_rate, one in reversed(tried) if tried_rate == rate), tried[0][1])
    steps = [(tried_rate, one.figures.get("latency_p99_ms")) for tried_rate, one in tried]
    return replace(chosen, figures={**chosen.figures, "capacity": rate, "steps": steps})


def measure(tools: Tools, server: Server, workload: Workload, number: int, logs: Path) -> Measurement:
    """Run `workload` with a new `server`. A failure is part of the result, not an exception."""
    how = _measure_capacity if workload.most_p99 else _measure_once
    return how(tools, server, workload, number, logs)
