"""Tests of Redis, Sentinel and Redis Cluster that speak TLS only and want passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import broker_of, clusters, level, persist, take
from tests.broker.redis_cluster import RedisCluster
from tests.broker.redis_sentinel import Service
from tests.chat.helpers import PATIENCE
from tests.wire.conftest import Certificate
from threadchat import Publisher
from threadchat.broker.redis.connection import RedisConnection
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.errors import CommandError

PASSWORD = "s3cret"


@pytest.fixture(scope="module", params=["redis", "sentinel", "cluster"])
def servers(
    request: pytest.FixtureRequest, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One of each kind, which no test stops."""
    folder = tmp_path_factory.mktemp("tls")
    security: dict[str, Any] = {"certificate": certificate, "password": PASSWORD}
    if request.param == "redis":
        server = RedisServer(folder, lasting=False, **security)
        yield server
        server.kill()
    elif request.param == "sentinel":
        service = Service(folder, **security)
        yield service
        service.close()
    else:
        cluster = RedisCluster(folder, replicas=0, **security)
        yield cluster
        cluster.kill()


def test_nodes_and_publishers_speak_tls_and_give_the_password(servers: Any) -> None:
    rooms = [f"room {number}" for number in range(6)]  # on every master of a cluster
    with clusters(servers) as cluster:
        first, second = cluster.hub(), cluster.hub()
        for name in rooms:
            stream = EventStream(64, PATIENCE)
            second.room(name).subscribe(stream, events_of, name="test").start()
            for _ in range(5):
                first.room(name).message(1, "x" * 20_000)
            assert [event.id for event in take(stream, 5)] == [1, 2, 3, 4, 5]
        with Publisher(servers.url) as publisher:
            publisher._redis._names = broker_of(first).names
            assert [publisher.publish(name, "hi").offset for name in rooms] == [6] * 6


@pytest.mark.parametrize(
    "wrong", [(PASSWORD, "wrong"), ("ssl_ca_certs=", "ssl_ca_path="), (r"rediss(.*)[?&]ssl.*", r"redis\1")]
)
def test_without_the_password_the_certificate_or_tls_there_is_no_answer(
    servers: Any, wrong: tuple[str, str]
) -> None:
    connection = RedisConnection(re.sub(*wrong, servers.url), timeout=0.5)
    with pytest.raises(CommandError) as raised:
        connection.execute(("PING",))
    assert raised.value.temporary
    assert not {PASSWORD, "wrong"} & set(str(raised.value).replace(":", " ").split())
    connection.close()


@pytest.mark.parametrize("servers", ["sentinel"], indirect=True)
def test_a_master_that_takes_over_is_reached_with_tls_and_password(servers: Service) -> None:
    with clusters(servers) as cluster:  # type: ignore[arg-type]
        hubs = [cluster.hub(), cluster.hub()]
        rooms = [hub.room("r") for hub in hubs]
        rooms[0].message(1, "before")
        level(*rooms)
        servers.fail_over(kill=False)
        assert persist(lambda: hubs[1].room("r").message(1, "after", key="k")) is not None
        level(*[persist(lambda hub=hub: hub.room("r")) for hub in hubs])
