"""One cluster for all tests of this folder: real processes, whole again before each test."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process import until

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from clustering.cluster import Cluster
from clustering.programs import ProgramFailed, executable

from tests.cluster.people import Crowd, connections

PRESENCE_TTL = 3  # seconds, the least there is


@pytest.fixture(scope="session")
def programs() -> None:
    """Skips where something is not installed."""
    try:
        executable("redis-server", "valkey-server")
        executable("nginx")
    except ProgramFailed as missing:
        pytest.skip(f"a cluster needs Redis and nginx: {missing}")


@pytest.fixture(scope="session")
def started(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, in whatever state the last test left it."""
    flags = ["--presence-ttl", str(PRESENCE_TTL), "--log-level", "debug"]
    with Cluster(tmp_path_factory.mktemp("cluster"), flags=flags) as cluster:
        yield cluster
    for node in cluster.nodes:
        assert "Traceback" not in node.log(), f"{node.name} failed inside: {node.log()[-5000:]}"


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    """The cluster, whole and with nobody in it."""
    for program in started.programs:
        program.send_signal(signal.SIGCONT)  # to one that a failed test left paused
        if not program.running:
            program.launch()
    for program in started.programs:
        program.await_ready()
    until(lambda: not any(connections(node) for node in started.nodes), "nobody to be connected")
    return started


@pytest.fixture
def crowd(cluster: Cluster) -> Iterator[Crowd]:
    """People who go when the test ends."""
    with Crowd(cluster) as crowd:
        yield crowd


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of the test's own."""
    return str(request.node.name)
