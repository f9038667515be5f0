"""Tests of publishing from a process that serves nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.redis_server import RedisServer, why_not
from tests.chat.helpers import join, run
from threadchat import Publisher
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position
from threadchat.errors import BrokerError, CommandError, ConfigError, ErrorCode


@pytest.mark.parametrize("url", ["memory", "sqlite:chat.db", "http://127.0.0.1", "", "localhost:6379"])
def test_only_a_redis_can_be_published_to(url: str) -> None:
    with pytest.raises(ConfigError, match="must be a redis://"):
        Publisher(url)


def test_without_redis_py_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("threadchat.broker.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BrokerError, match=r"pip install 'threadchat\[redis\]'"):
        Publisher("redis://127.0.0.1")


if not why_not():
    from tests.broker.nodes import level, take, told
    from tests.broker.test_redis import Someone
    from threadchat.broker.redis import RedisBroker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path / "redis", lasting=False)
    yield server
    server.kill()


@pytest.fixture
def hub(server: RedisServer) -> Iterator[Hub]:
    broker = RedisBroker(server.url)
    hub = Hub(broker)
    assert broker.wait_ready(20)
    yield hub
    hub.close()


def refused(publisher: Publisher, *arguments: str) -> tuple[ErrorCode, bool]:
    with pytest.raises(CommandError) as raised:
        publisher.publish(*arguments)
    return raised.value.code, raised.value.temporary


def test_what_it_says_is_heard_in_the_room(server: RedisServer, hub: Hub) -> None:
    stream = hub.room("r").add(1, "a", nickname="ann")
    with Publisher(server.url) as publisher:
        publisher.publish("r", "from nobody")
        place = publisher.publish("r", "from somebody", user=7, key="k")
        assert publisher.publish("r", "again", user=7, key="k") == place
        publisher.publish("r", "named", user=7, nickname="reporter")
    assert told(stream, 4) == [
        ("join", "ann"),
        ("message", "from nobody"),
        ("message", "from somebody"),
        ("message", "named"),
    ]
    who = [(item.event.user, item.event.nickname) for item in hub.room("r").history().records[1:]]
    assert who == [(None, ""), (7, "7"), (7, "reporter")]


def test_a_room_begins_with_what_it_says(server: RedisServer, hub: Hub) -> None:
    with Publisher(server.url) as publisher:
        assert publisher.publish("new", "first").offset == 1
        epoch = publisher.publish("new", "second").epoch
    assert hub.list_rooms().rooms == [("new", 0, 2)]
    assert hub.find("new").fanout.head == Position(2, epoch)
    with server.client() as client:
        assert 0 < client.pttl("threadchat:{new}:log") <= 24 * 3600 * 1000


def test_a_direct_message_reaches_a_person_on_any_node(server: RedisServer, hub: Hub) -> None:
    someone = Someone(7)
    hub.arrive(someone)
    with Publisher(server.url) as publisher:
        publisher.direct(7, "psst", user=3, nickname="ann")
        with pytest.raises(CommandError) as raised:
            publisher.direct(8, "psst")
    assert raised.value.code is ErrorCode.NOT_AVAILABLE
    stream = hub.room("r").add(1, "a")
    hub.room("r").message(1, "behind it")
    take(stream, 2)
    got = [(direct.sender, direct.to, direct.nickname, direct.message) for direct in someone.got]
    assert got == [(3, 7, "ann", "psst")]


def test_many_threads_may_publish(server: RedisServer, hub: Hub) -> None:
    room = hub.room("r")
    with Publisher(server.url) as publisher:
        join(run(*[lambda: [publisher.publish("r", "hi") for _ in range(25)]] * 4))
        assert publisher.publish("r", "the last").offset == 101
    room.message(1, "mine")
    level(room)
    assert room.fanout.head.offset == 102


def test_what_cannot_be_said_is_refused_and_may_be_tried_again_where_redis_is_away(
    server: RedisServer,
) -> None:
    publisher = Publisher(server.url)
    assert refused(publisher, " ", "hi") == refused(publisher, "r", "") == (ErrorCode.BAD_REQUEST, False)
    publisher.publish("r", "hi")
    server.kill()
    assert refused(publisher, "r", "hi") == (ErrorCode.INTERNAL, True)
    server.start()
    assert publisher.publish("r", "hi").offset == 1
    publisher.close()
