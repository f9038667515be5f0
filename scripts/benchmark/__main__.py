"""Runs the benchmark: sets up, measures in rounds, prints the tables, writes the files."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmark import arguments, cluster, history, machine, setup
from benchmark.environment import CannotPrepare
from benchmark.measurement import Measurement, Tools, measure
from benchmark.report import Report
from benchmark.servers import OURS, Server
from benchmark.workloads import Workload, all_workloads


def say(words: str) -> None:
    print(words, flush=True)


def list_workloads(known: list[Workload]) -> None:
    for workload in known:
        say(f"{workload.name:<22}{workload.title}")


def choose_workloads(given: argparse.Namespace, known: list[Workload]) -> list[Workload]:
    """Return the workloads to measure, with the changes that the arguments ask for."""
    workloads = arguments.chosen_workloads(given.only, given.quick, known)
    if given.quick:
        workloads = [workload.quickened() for workload in workloads]
    if given.rate is not None:
        workloads = [one.at_rate(given.rate) if one.rate else one for one in workloads]
    if given.clients is not None:
        workloads = [replace(one, returners=given.clients) if one.returners else one for one in workloads]
    if given.seconds is not None:
        workloads = [replace(workload, seconds=given.seconds) for workload in workloads]
    return workloads


def takes_part(server: Server, workload: Workload) -> bool:
    """Return whether a server takes part in a workload. Ours takes part in each."""
    if server.workloads:
        return workload.name in server.workloads
    return server is OURS or not (workload.ours_only or server.name in workload.without)


def schedule(
    rounds: int, workloads: list[Workload], servers: list[Server]
) -> Iterator[tuple[int, Workload, Server]]:
    """Yield the measurements one by one: in each round, for each workload, the servers take turns."""
    for number in range(1, rounds + 1):
        for workload in workloads:
            for server in servers:
                if number <= workload.most_rounds and takes_part(server, workload):
                    yield number, workload, server


def tell(one: Measurement, workload: Workload) -> None:
    metric = workload.metrics[0]
    value = one.value(metric)
    shown = "–" if value is None else metric.show(value)
    load = "" if one.failure else f"load {one.figures['load_cpu']:.0%}"
    faults = f"! {'; '.join(one.faults())}" if one.faults() else ""
    say(f"round {one.round}  {one.workload:<22}{one.server:<22}{shown:>16}  {load:<10}{faults}".rstrip())


def run(
    given: argparse.Namespace, tools: Tools, workloads: list[Workload], servers: list[Server], logs: Path
) -> list[Measurement]:
    """Measure everything. Ctrl-C ends it early and keeps the results so far."""
    measurements: list[Measurement] = []
    try:
        for number, workload, server in schedule(given.rounds, workloads, servers):
            measurements.append(measure(tools, server, workload, number, logs))
            tell(measurements[-1], workload)
    except KeyboardInterrupt:
        say("interrupted: the rest is left out")
    return measurements


def measure_all(given: argparse.Namespace, known: list[Workload], earlier: history.Run | None) -> int:
    """Set up, measure and report. Return the exit code."""
    workloads = choose_workloads(given, known)
    if given.cluster:
        return cluster.run(given, workloads, earlier, say)
    peers = arguments.chosen_peers(given.peers)
    tools, servers = setup.set_up(given, peers if given.no_ours else [OURS, *peers], say)
    out = setup.output(given)
    facts, versions = machine.describe(), setup.versions(tools, servers)
    measurements = run(given, tools, workloads, servers, out / "logs")
    report = Report(facts, versions, given.quick, workloads, measurements, servers)
    report.write(out)
    return report.tell(report.summary.our_faults(), earlier, say)


def main() -> int:
    given = arguments.parse()
    known = cluster.all_workloads() if given.cluster else all_workloads(machine.connections_possible()[0])
    if given.list:
        list_workloads(known)
        return 0
    try:
        earlier = [history.load(path) for path in given.compare or ()]
        if len(earlier) <= 1:
            return measure_all(given, known, earlier[0] if earlier else None)
    except (arguments.Unknown, CannotPrepare, history.NoRun) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2
    say(history.compare(*earlier))
    return 0


if __name__ == "__main__":
    sys.exit(main())
