"""One measurement of a cluster: Redis, the nodes, and the load generator, which is on all of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ports import free_port

from benchmark.cluster.settings import Setup
from benchmark.dialects import NATIVE
from benchmark.measurement import Measurement, Tools
from benchmark.process import Running, ServerFailed, is_ready, running
from benchmark.redis import Redis, Work, redis_running
from benchmark.servers import OURS
from benchmark.workloads import Workload


@dataclass(frozen=True)
class Place:
    """Where measurements run: the tools, the Redis that is started for each, and where their logs go."""

    tools: Tools
    redis: Path
    logs: Path


def cores_of(pid: int) -> list[int]:
    """Return the core of each thread of a process that is bound to one; every one of them only once."""
    bound = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that ended
            allowed = os.sched_getaffinity(int(task.name))
            bound |= allowed if len(allowed) == 1 else set()
    return sorted(bound)


@contextmanager
def _nodes(place: Place, setup: Setup, redis: Redis | None, name: str) -> Iterator[list[Running]]:
    broker = ["--broker", redis.url] if redis else []
    with ExitStack() as stack:
        nodes = []
        for number in range(1, setup.nodes + 1):
            port = free_port()
            command = OURS.command(place.tools.python, None, port, None)
            command += [*broker, *place.tools.our_arguments]
            log = place.logs / f"{name}.node-{number}.log"
            nodes.append(stack.enter_context(running(command, port, log, place.tools.project, is_ready)))
        yield nodes


def _stage(load: subprocess.Popen[str], said: IO[str], redis: Redis | None) -> Work | None:
    """Wait until the load generator halts, look at Redis while nobody talks, and have it go on."""
    said.readline()
    work = redis.work() if redis else None
    assert load.stdin is not None
    with suppress(BrokenPipeError):  # it ended; its last words say why
        load.stdin.write("\n")
        load.stdin.flush()
    return work


def _generate(command: list[str], timeout: float, redis: Redis | None) -> tuple[dict[str, Any], Work | None]:
    """Return the load generator's figures, and what Redis did from the first message to the last delivery."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as load:  # type: ignore[call-overload]
        try:
            assert load.stderr is not None
            before = _stage(load, load.stderr, redis)
            after = _stage(load, load.stderr, redis)
            output, errors = load.communicate(timeout=timeout)
        finally:
            load.kill()
    try:
        figures: dict[str, Any] = json.loads(output)
    except ValueError:
        figures = {"error": f"the load generator ended with {load.returncode}: {(output + errors)[-300:]}"}
    return figures, after.since(before) if before and after else None


def derive(figures: dict[str, Any], group: int, work: Work | None) -> dict[str, Any]:
    """Add what the load generator cannot know; `group` is how many people hear each message."""
    if "error" in figures:
        return figures
    figures = {**figures, "publications_per_second": figures["deliveries_per_second"] / group}
    if work is None or not figures["sent"] or not work.cpu:
        return figures
    messages = figures["sent"]
    redis_us = work.cpu * 1e6 / messages
    return {
        **figures,
        # A pipeline is at least one call of a script and at least one read; several rooms make it several
        # calls, and more than 16 KB make it several reads.
        "round_trips_per_message": min(work.reads, work.scripts) / messages,
        "scripts_per_message": work.scripts / messages,
        "redis_us_per_script": work.cpu * 1e6 / max(1, work.scripts),
        "redis_us_per_message": redis_us,
        "redis_cpu": work.cpu / work.time,
        "messages_per_redis_core": 1e6 / redis_us,
        "nodes_per_redis_core": figures["server_us_per_delivery"] * group / redis_us,
    }


def _command(place: Place, nodes: list[Running], workload: Workload) -> list[str]:
    """Return the load generator's command line, which spreads each room over all nodes."""
    ports = ",".join(str(node.port) for node in nodes)
    pids = ",".join(str(node.pid) for node in nodes)
    words = [str(place.tools.load), "--halt", "--port", ports, "--pid", pids]
    return [*words, *NATIVE.room.arguments(), *workload.arguments()]


def measure(place: Place, setup: Setup, workload: Workload, number: int) -> Measurement:
    """Run `workload` once against a fresh `setup`; a failure is part of the result, not an exception."""
    name = f"{workload.name}.{setup.name.replace(', ', '-').replace(' ', '-').replace('/', '-')}.{number}"
    try:
        with ExitStack() as stack:
            redis = None
            if setup.masters:
                log = place.logs / f"{name}.redis.log"
                redis = stack.enter_context(redis_running(place.redis, setup.masters, setup.fsync, log))
            nodes = stack.enter_context(_nodes(place, setup, redis, name))
            figures, work = _generate(_command(place, nodes, workload), workload.longest(), redis)
            figures = derive(figures, workload.connections // workload.groups, work)
            figures["node_cores"] = [cores_of(node.pid) for node in nodes]
    except (ServerFailed, subprocess.TimeoutExpired, OSError) as error:
        return Measurement(workload.name, setup.name, number, failure=str(error))
    return Measurement(workload.name, setup.name, number, figures, str(figures.get("error", "")))
