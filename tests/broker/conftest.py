"""Runs the conformance suite on every kind of broker, and one Redis for all who need no more than that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import sqlite_files
from tests.broker.brokers import KINDS, Kind, Make, Namespace
from tests.broker.redis_server import RedisServer, why_not
from threadchat.chat.broker_interface import Broker


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that no test stops or empties; each has a prefix of its own there."""
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path_factory.mktemp("redis"), lasting=False)
    yield server
    server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop, empty and make refuse."""
    server = RedisServer(tmp_path / "redis", lasting=False)
    yield server
    server.kill()


@pytest.fixture
def cluster(server: RedisServer) -> Iterator[Any]:
    """Nodes over that Redis."""
    from tests.broker.nodes import clusters  # which needs the Redis client

    with clusters(server) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three masters and three replicas that no test stops or empties."""
    if reason := why_not():
        pytest.skip(reason)
    from tests.broker.redis_cluster import RedisCluster  # which needs the Redis client

    servers = RedisCluster(tmp_path_factory.mktemp("redis-cluster"))
    yield servers
    servers.kill()


@pytest.fixture
def cluster_namespace(shared_cluster: Any) -> Namespace:
    """Where in that cluster a test's own keys are."""
    return Namespace.fresh(shared_cluster.url)


@pytest.fixture
def redis_namespace(shared_redis: RedisServer) -> Namespace:
    """Where in Redis a test's own keys are."""
    return Namespace.fresh(shared_redis.url)


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of broker in turn."""
    found: Kind = request.param
    return found


@pytest.fixture
def make(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Opens brokers of that kind, with options, and closes them at the end. One at a time has the log."""
    made: list[Broker] = []
    needed = request.getfixturevalue(kind.needs)

    def open_one(**options: Any) -> Broker:
        made.append(kind.make(needed, **options))
        return made[-1]

    yield open_one
    for broker in made:
        broker.close()


@pytest.fixture
def make_sqlite(tmp_path: Path) -> Iterator[sqlite_files.Make]:
    """Opens the file of this test; a broker that is still open is closed before, as a restart would."""
    with sqlite_files.one_file(tmp_path / "chat.db") as make:
        yield make
