"""The benchmark measures: each kind of server and workload once, small and short. No speed is judged here."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.bench_helpers import PROJECT, REDIS, SERVERS, WORKLOADS, needs_compiler, tools

# isort: split

from benchmark.measurement import Measurement, measure
from benchmark.workloads import CAPACITY, DELIVERIES

pytestmark = needs_compiler
has_redis = not isinstance(REDIS, str) and importlib.util.find_spec("redis") is not None
STORED = "threadchat-redis" if has_redis else "threadchat"
needs_redis = pytest.mark.skipif(not has_redis, reason="no Redis, or no redis-py")


def measured(server: str, workload: str, logs: Path) -> Measurement:
    """Measure once, for an instant, and check that nothing went wrong."""
    short = WORKLOADS[workload].quickened()
    one = measure(tools(), SERVERS[server], short, 1, logs)
    assert one.faults() == []
    assert one.figures["ready"] == short.connections + short.returners
    assert all(one.value(metric) is not None for metric in short.metrics)
    return one


@pytest.mark.parametrize("workload", ["direct-100-w16", "idle-5000"])
def test_a_peer(tmp_path: Path, workload: str) -> None:
    measured("websockets.sync", workload, tmp_path)


@pytest.mark.parametrize(
    ("server", "workload"),
    [
        ("threadchat", "emit-1000-w64"),
        ("threadchat-sqlite", "rooms-50x20-w16"),
        pytest.param("threadchat-workers-2", "rooms-50x20-w16", marks=needs_redis),
    ],
)
def test_ours(tmp_path: Path, server: str, workload: str) -> None:
    measured(server, workload, tmp_path)


def test_a_storm_ends_when_all_have_what_they_missed(tmp_path: Path) -> None:
    one = measured(STORED, "storm", tmp_path)
    assert one.figures["connections"] == one.figures["ready"]
    assert one.figures["seconds"] < WORKLOADS["storm"].quickened().seconds
    assert one.figures["missing"] == one.figures["out_of_order"] == 0


def test_a_capacity_is_a_rate_that_was_measured(tmp_path: Path) -> None:
    workload = replace(WORKLOADS["rooms-50x20-capacity"].quickened(), most_p99=60_000, most_steps=1)
    one = measure(tools(), SERVERS["websockets.sync"], workload, 1, tmp_path)
    assert one.faults() == []
    assert one.value(CAPACITY) == workload.connections
    assert [rate for rate, _ in one.figures["steps"]] == [workload.connections]


def test_what_no_rate_is_low_enough_for_has_no_capacity(tmp_path: Path) -> None:
    workload = replace(WORKLOADS["rooms-50x20-capacity"].quickened(), most_p99=1e-9, most_steps=1)
    one = measure(tools(), SERVERS["websockets.sync"], workload, 1, tmp_path)
    assert one.value(CAPACITY) == 0


@pytest.mark.parametrize("workload", ["room-healthy", "rooms-50x20-capacity"])
def test_a_server_that_does_not_start_is_a_failed_measurement(tmp_path: Path, workload: str) -> None:
    broken = tools(shutil.which("false") or "")
    one = measure(broken, SERVERS["websockets.sync"], WORKLOADS[workload].quickened(), 1, tmp_path)
    assert one.failure.startswith("the server ended")
    assert one.value(DELIVERIES) is None


def test_the_whole_command_runs(tmp_path: Path) -> None:
    command = [str(PROJECT / "scripts" / "bench"), "--quick", "--no-setup", "--python", sys.executable]
    command += ["--only", "fanout-100-w1", "--peers", "floor", "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {(one["workload"], one["server"]) for one in results["measurements"]}
    assert measured == {("fanout-100-w1", "threadchat"), ("fanout-100-w1", "floor")}
    assert not any(one["failure"] for one in results["measurements"])
    assert {"date", "processor", "commit"} <= set(results["machine"])
    assert "python" in results["versions"]
    assert "threadchat" in (tmp_path / "results.md").read_text()
    ElementTree.fromstring((tmp_path / "plot.svg").read_text())
