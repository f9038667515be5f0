"""Runs the benchmark of a cluster: sets up, measures in rounds, prints the tables, writes the files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from benchmark import environment, history, machine, setup
from benchmark.cluster.measurement import Place, measure
from benchmark.cluster.report import ClusterReport
from benchmark.cluster.settings import Setup, all_setups, quick_setups
from benchmark.environment import Say
from benchmark.measurement import Measurement
from benchmark.redis import version
from benchmark.servers import OURS
from benchmark.workloads import Workload


def schedule(
    rounds: int, workloads: list[Workload], setups: list[Setup]
) -> Iterator[tuple[int, Workload, Setup]]:
    """Yield the single measurements: in each round, workload by workload, the set-ups take turns."""
    for number in range(1, rounds + 1):
        for workload in workloads:
            for one in setups:
                wanted = not one.workloads or workload.name in one.workloads
                if wanted and number <= workload.most_rounds:
                    yield number, workload, one


def tell(one: Measurement, workload: Workload, say: Say) -> None:
    metric = workload.metrics[0]
    value = one.value(metric)
    shown = "–" if value is None else metric.show(value)
    cores = " ".join(str(core) for cores in one.figures.get("node_cores", ()) for core in cores)
    load = "" if one.failure else f"load {one.figures['load_cpu']:.0%}, cores {cores or 'any'}"
    faults = f"! {'; '.join(one.faults())}" if one.faults() else ""
    say(f"round {one.round}  {one.workload:<18}{one.server:<20}{shown:>14}  {load:<24}{faults}".rstrip())


def _measure_all(
    given: argparse.Namespace, place: Place, workloads: list[Workload], setups: list[Setup], say: Say
) -> list[Measurement]:
    """Measure everything; Ctrl-C ends it early, with what there is by then."""
    measurements: list[Measurement] = []
    try:
        for number, workload, one in schedule(given.rounds, workloads, setups):
            measurements.append(measure(place, one, workload, number))
            tell(measurements[-1], workload, say)
    except KeyboardInterrupt:
        say("interrupted: the rest is left out")
    return measurements


def run(given: argparse.Namespace, workloads: list[Workload], earlier: history.Run | None, say: Say) -> int:
    """Return the exit code: 1 where a message was lost, doubled or disordered, 0 where there is no Redis."""
    tools, _ = setup.set_up(given, [OURS], say)
    redis = setup.redis(given, tools.python, say)
    if isinstance(redis, str):
        say(f"skipped: several nodes need Redis: {redis}")
        return 0
    out = setup.output(given)
    setups = quick_setups() if given.quick else all_setups()
    facts = machine.describe()
    versions = environment.versions(tools.python, [*OURS.packages, "redis", "hiredis"])
    versions = {"redis-py" if name == "redis" else name: value for name, value in versions.items()}
    versions[redis.name] = version(redis)
    measurements = _measure_all(given, Place(tools, redis, out / "logs"), workloads, setups, say)
    report = ClusterReport(facts, versions, given.quick, workloads, measurements, setups)
    report.write(out)
    return report.tell(report.faults(), earlier, say)
