"""Tests of what the nodes of a cluster report about themselves, through their heartbeats."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

import redis

from tests.broker.nodes import clusters
from tests.e2e.process import until
from threadchat.broker.redis import RedisBroker
from threadchat.broker.redis.whispers import RedisReports
from threadchat.errors import CommandError, ErrorCode
from threadchat.testing.clock import FakeClock


def contents(broker: RedisBroker) -> set[bytes]:
    return {report for report, _ in broker.reports.read()}


def test_nodes_learn_what_others_report(shared_redis: RedisServer) -> None:
    with clusters(shared_redis) as cluster:
        first, second, silent = (cluster.broker(presence_ttl=3) for _ in range(3))
        first.reports.own, second.reports.own = b"one", b"two"
        for node in (first, second):
            until(lambda: contents(node) == {b"one", b"two"}, "both reports to be known")  # noqa: B023
        assert contents(silent) == set()  # it has no key, so nobody may ask it
        first.reports.own = b"more"
        until(lambda: contents(second) == {b"more", b"two"}, "the new report")
        first.close()
        until(lambda: contents(second) == {b"two"}, "the node to be gone")


class FakeConnection:
    """Answers as Redis does, or raises."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.error: CommandError | None = None

    def execute(self, *commands: Any) -> list[Any]:
        if self.error is not None:
            raise self.error
        _, _, node, report = commands[0]
        self.stored[node] = report
        return [1, 1, [it for name, report in self.stored.items() for it in (name.encode(), report)]]


@pytest.fixture
def connection() -> Any:
    return FakeConnection()


def test_a_report_ages_until_there_is_another(connection: Any) -> None:
    clock = FakeClock()
    reports = RedisReports("key", clock)
    reports.exchange("here", connection)
    assert connection.stored == {}  # nothing to tell
    reports.own = b"mine"
    connection.stored["there"] = b"a"
    reports.exchange("here", connection)
    clock.advance(5)
    reports.exchange("here", connection)
    assert dict(reports.read()) == {b"mine": 5.0, b"a": 5.0}
    connection.stored["there"] = b"b"
    reports.exchange("here", connection)
    assert dict(reports.read()) == {b"mine": 5.0, b"b": 0.0}


def test_a_node_that_cannot_report_still_serves(connection: Any) -> None:
    reports = RedisReports("key", FakeClock())
    reports.own = b"mine"
    connection.error = CommandError(ErrorCode.INTERNAL, "full")
    connection.error.__cause__ = redis.ResponseError("OOM command not allowed")
    reports.exchange("here", connection)
    connection.error.__cause__ = redis.ConnectionError("away")
    with pytest.raises(CommandError):
        reports.exchange("here", connection)
