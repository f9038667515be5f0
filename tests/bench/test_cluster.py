"""The benchmark of a cluster: it derives the right figures, and it runs. None of them is judged here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.bench.bench_helpers import PROJECT, REDIS, load_generator, needs_compiler

# isort: split

from benchmark import arguments, toolchain
from benchmark.cluster import all_workloads, run
from benchmark.cluster.command import schedule
from benchmark.cluster.measurement import Place, cores_of, derive, measure
from benchmark.cluster.report import ClusterReport
from benchmark.cluster.settings import (
    CALM_ROOMS,
    CLUSTERED,
    IN_MEMORY,
    LASTING,
    NODES,
    QUIET_ROOMS,
    all_setups,
)
from benchmark.measurement import Measurement, Tools
from benchmark.redis import Work, work_of
from benchmark.workloads import Workload

WORKLOADS = {workload.name: workload for workload in all_workloads()}
ROOM = WORKLOADS["room-300-s6-w16"]
OVER_REDIS = all_setups()[1]

needs_redis = pytest.mark.skipif(
    isinstance(REDIS, str) or importlib.util.find_spec("redis") is None, reason="no Redis, or no redis-py"
)


def test_rooms_divide_evenly_by_every_number_of_nodes() -> None:
    for workload in WORKLOADS.values():
        assert not [nodes for nodes in NODES if workload.connections // workload.groups % nodes]


def test_set_ups_take_turns_and_some_are_in_some_workloads_only() -> None:
    turns = [(number, w.name, s.name) for number, w, s in schedule(2, [ROOM, CALM_ROOMS], all_setups())]
    everywhere = [one.name for one in all_setups() if not one.workloads]
    one_round = [(ROOM.name, name) for name in [*everywhere, CLUSTERED.name]]
    one_round += [(CALM_ROOMS.name, name) for name in [*everywhere, LASTING.name, CLUSTERED.name]]
    assert turns == [(number, *turn) for number in (1, 2) for turn in one_round]


def test_what_takes_long_is_measured_in_the_first_round_only() -> None:
    assert {number for number, _, _ in schedule(3, [QUIET_ROOMS], all_setups())} == {1}


# ---- what Redis says ----

INFO = (
    "# CPU\r\nused_cpu_sys:0.500000\r\nused_cpu_user:1.250000\r\n"
    "# Stats\r\ntotal_reads_processed:700\r\n"
    "# Commandstats\r\ncmdstat_evalsha:calls=600,usec=9000,usec_per_call=15.00\r\n"
)


def test_reads_what_redis_did() -> None:
    assert work_of(INFO, 5.0) == Work(time=5.0, cpu=1.75, reads=700, scripts=600)


def test_a_redis_that_ran_no_script_yet() -> None:
    assert work_of(INFO.partition("# Commandstats")[0], 5.0).scripts == 0


def test_the_second_look_is_no_work() -> None:
    assert Work(9.0, 2.0, 111, 60).since(Work(8.0, 1.5, 10, 20)) == Work(1.0, 0.5, 100, 40)


def test_the_work_of_several_servers_is_added_up_and_each_look_is_a_read() -> None:
    before = Work(8.0, 1.5, 10, 20) + Work(8.1, 1.0, 30, 0)
    assert before == Work(8.0, 2.5, 40, 20, servers=2)
    assert (Work(9.0, 2.0, 111, 60) + Work(9.1, 1.5, 61, 5)).since(before) == Work(1.0, 1.0, 130, 45, 2)


def test_derives_what_a_message_costs() -> None:
    figures = derive(
        {"deliveries_per_second": 3000.0, "sent": 200, "server_us_per_delivery": 1.5},
        300,
        Work(time=20, cpu=0.01, reads=60, scripts=50),
    )
    assert figures["publications_per_second"] == 10
    assert figures["round_trips_per_message"] == figures["scripts_per_message"] == 0.25
    assert figures["redis_us_per_message"] == pytest.approx(50)
    assert figures["redis_us_per_script"] == pytest.approx(200)
    assert figures["redis_cpu"] == pytest.approx(0.0005)
    assert figures["messages_per_redis_core"] == pytest.approx(20_000)
    assert figures["nodes_per_redis_core"] == pytest.approx(9)


def test_several_rooms_in_a_pipeline_are_one_round_trip() -> None:
    figures = derive(
        {"deliveries_per_second": 1.0, "sent": 100, "server_us_per_delivery": 1.0},
        6,
        Work(time=1, cpu=0.01, reads=40, scripts=100),
    )
    assert (figures["round_trips_per_message"], figures["scripts_per_message"]) == (0.4, 1.0)


def test_nothing_is_derived_of_a_redis_that_is_not_there() -> None:
    assert set(derive({"deliveries_per_second": 1.0, "sent": 1}, 1, None)) == {
        "deliveries_per_second",
        "sent",
        "publications_per_second",
    }
    assert derive({"error": "nobody is there"}, 1, None) == {"error": "nobody is there"}


def test_finds_the_cores_that_threads_stay_on() -> None:
    bound, over = Event(), Event()
    core = max(os.sched_getaffinity(0))

    def stay() -> None:
        os.sched_setaffinity(0, {core})
        bound.set()
        over.wait()

    thread = Thread(target=stay, name="bound", daemon=True)
    thread.start()
    bound.wait()
    cores = cores_of(os.getpid())
    over.set()
    thread.join()
    assert core in cores


# ---- tables ----


def measured(workload: Workload, setup: str, number: int, **figures: Any) -> Measurement:
    faults = dict.fromkeys(["failed", "closed", "out_of_order", "missing", "strangers", "errors"], 0)
    return Measurement(
        workload.name, setup, number, {**faults, "first_fault": "", "load_cpu": 0.5, **figures}
    )


def report(*measurements: Measurement, quick: bool = False) -> ClusterReport:
    machine = {"date": "today", "cores": "2"}
    return ClusterReport(machine, {"python": "3"}, quick, [ROOM, CALM_ROOMS], [*measurements], all_setups())


def cells(table: str, setup: str) -> list[str]:
    return next([cell.strip() for cell in row.split("|")] for row in table.splitlines() if setup in row)


def test_throughput_is_compared_with_one_node_in_memory() -> None:
    rounds = [measured(ROOM, IN_MEMORY.name, n, publications_per_second=v) for n, v in ((1, 100), (2, 200))]
    rounds += [measured(ROOM, OVER_REDIS.name, n, publications_per_second=v) for n, v in ((1, 50), (2, 150))]
    table = report(*rounds).throughput()
    assert "0.67 × (0.50 – 0.75)" in cells(table, OVER_REDIS.name)
    assert "100 – 200 /s (!)" in cells(table, IN_MEMORY.name)
    assert len({len(row) for row in table.splitlines()}) == 1


def test_added_latency_is_the_difference_of_the_medians() -> None:
    rounds = [measured(CALM_ROOMS, IN_MEMORY.name, 1, latency_p50_ms=1.0, latency_p99_ms=4.0)]
    rounds += [measured(CALM_ROOMS, OVER_REDIS.name, 1, latency_p50_ms=1.5, latency_p99_ms=3.0)]
    row = cells(report(*rounds).latency(), OVER_REDIS.name)
    assert "+0.50 ms" in row
    assert "-1.00 ms" in row


def test_a_failed_round_and_one_that_sent_nothing_leave_their_cells_empty() -> None:
    failed = Measurement(ROOM.name, OVER_REDIS.name, 1, failure="it broke")
    told = report(measured(ROOM, IN_MEMORY.name, 1, publications_per_second=1), failed)
    assert set(cells(told.redis(), OVER_REDIS.name)[3:-1]) == {"–"}
    assert told.faults() == [f"{ROOM.name}, {OVER_REDIS.name}, round 1: failed: it broke"]


def test_what_was_not_measured_has_no_table() -> None:
    told = report()
    assert (told.throughput(), told.latency(), told.redis()) == ("", "", "")


# ---- running ----


def test_without_a_redis_it_is_skipped_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_redis", lambda: None)
    said: list[str] = []
    assert run(arguments.parse(["--cluster", "--quick", "--no-setup"]), [ROOM], None, said.append) == 0
    assert said == ["skipped: several nodes need Redis: not installed: redis-server"]


@needs_compiler
@needs_redis
def test_a_node_that_does_not_start_is_a_failed_measurement(tmp_path: Path) -> None:
    tools = Tools(PROJECT, Path(shutil.which("false") or ""), tmp_path)
    assert isinstance(REDIS, Path)
    for setup in (IN_MEMORY, OVER_REDIS):
        assert measure(Place(tools, REDIS, tmp_path), setup, ROOM, 1).failure.startswith("the server ended")


@needs_compiler
@needs_redis
def test_a_load_generator_that_breaks_off_is_a_failed_measurement(tmp_path: Path) -> None:
    tools = Tools(PROJECT, Path(sys.executable), load_generator())
    assert isinstance(REDIS, Path)
    impossible = replace(ROOM, groups=7)
    assert "multiple" in measure(Place(tools, REDIS, tmp_path), OVER_REDIS, impossible, 1).failure


@needs_compiler
@needs_redis
def test_the_whole_command_runs(tmp_path: Path) -> None:
    command = [str(PROJECT / "scripts" / "bench"), "--cluster", "--quick", "--no-setup"]
    command += ["--python", sys.executable, "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "cluster.json").read_text())
    over_redis = [one for one in results["measurements"] if one["server"] != IN_MEMORY.name]
    assert {one["workload"] for one in over_redis} == {ROOM.name, CALM_ROOMS.name}
    assert all(one["figures"]["served"] == one["figures"]["ready"] > 0 for one in results["measurements"])
    assert all(one["figures"]["round_trips_per_message"] > 0 for one in over_redis)
    written = (tmp_path / "cluster.md").read_text()
    assert "2 nodes, Redis" in written
    assert "3 nodes, 3 masters" in written
