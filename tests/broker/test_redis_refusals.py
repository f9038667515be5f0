"""Tests of commands that Redis refuses for a moment, or does without that the node hears of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of, persist, refused, take
from tests.chat.helpers import PATIENCE, Clock, say
from tests.e2e.process import until
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.publisher import RedisPublisher
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import JOIN, LEAVE, MESSAGE, RENAME
from threadchat.errors import CommandError, ErrorCode


@contextmanager
def refusing(cluster: Cluster, setting: str, value: int) -> Iterator[None]:
    """Redis takes no writes: a replica is missing, or its memory is full."""
    with cluster.server.client() as client:
        client.config_set(setting, value)
        try:
            yield
        finally:
            client.config_set(setting, 0)


def users(hub: Hub, room: str = "r") -> list[Any]:
    return sorted(occupant.user for occupant in persist(hub.room(room).who))


@pytest.fixture
def hubs(cluster: Cluster) -> list[Hub]:
    return [cluster.hub(), cluster.hub()]


# -- people ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["min-replicas-to-write", "maxmemory"])
def test_who_comes_and_goes_while_redis_refuses_is_told_later(
    cluster: Cluster, hubs: list[Hub], setting: str
) -> None:
    room = hubs[0].room("r")
    stream = hubs[1].room("r").add(9, "w", nickname="watcher")
    room.enter(1, "a", "ann")
    room.enter(2, "b", "bob")
    with refusing(cluster, setting, 1):
        room.leave(1, "a")
        room.enter(3, "c", "cid")
        room.rename(2, "Robert")
        assert broker_of(hubs[0]).heartbeat._unsettled.keys() == {"r"}
    until(lambda: users(hubs[1]) == [2, 3, 9], "Redis knows who is there")
    events = [(event.type, event.user) for event in take(stream, 6)]
    assert sorted(events[3:], key=str) == [(JOIN, 3), (LEAVE, 1), (RENAME, 2)], "everybody is told"
    assert {occupant.nickname for occupant in room.who()} == {"Robert", "cid", "watcher"}
    assert broker_of(hubs[0]).heartbeat._unsettled == {}


def test_who_comes_and_goes_while_the_node_announces_its_people_is_told_later(
    cluster: Cluster, hubs: list[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, other = hubs
    broker = broker_of(hub)
    hub.room("a").enter(1, "s", "ann")
    hub.room("b").enter(2, "s", "bob")
    announcing, may_go_on = threading.Event(), threading.Event()
    sync = broker.presence_of("b").sync  # type: ignore[union-attr]

    def slow() -> None:
        announcing.set()
        assert may_go_on.wait(PATIENCE)
        sync()

    monkeypatch.setattr(broker.presence_of("b"), "sync", slow)
    broker.connection.set_ready(False)  # as after an outage
    broker.heartbeat.trouble()
    assert announcing.wait(PATIENCE)
    hub.room("a").leave(1, "s")  # which was announced already
    hub.room("a").enter(3, "s", "cid")
    may_go_on.set()
    assert broker.wait_ready(PATIENCE)
    until(lambda: users(other, "a") == [3], "the change is told")
    assert users(other, "b") == [2]


def test_a_change_whose_answer_is_lost_counts_once(
    cluster: Cluster, hubs: list[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, other = hubs
    stream = other.room("r").add(9, "w")
    connection = broker_of(hub).connection
    ask = connection.ask

    def done_but_unheard(*commands: Any) -> list[Any]:
        ask(*commands)
        raise CommandError(ErrorCode.INTERNAL, "the answer was lost")

    room = hub.room("r")
    monkeypatch.setattr(connection, "ask", done_but_unheard)
    room.enter(1, "a", "ann")
    monkeypatch.setattr(connection, "ask", ask)
    until(lambda: broker_of(hub).heartbeat._unsettled == {}, "it is settled")
    room.message(1, "hi")
    assert [event.type for event in take(stream, 3)] == [JOIN, JOIN, MESSAGE]
    assert users(other) == [1, 9]


def test_an_interrupt_leaves_nobody_behind(hubs: list[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub, other = hubs
    connection = broker_of(hub).connection

    def interrupt(*commands: Any) -> list[Any]:
        raise KeyboardInterrupt

    hub.room("r").enter(1, "a", "ann")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            hub.room("r").leave(1, "a")
    until(lambda: users(other) == [], "who left is gone")


def test_one_room_that_redis_refuses_keeps_no_other_from_being_told(
    cluster: Cluster, hubs: list[Hub]
) -> None:
    hub, other = hubs
    broker = broker_of(hub)
    for name in "abc":
        hub.room(name).enter(1, "s", "ann")
    with cluster.server.client() as client:
        sessions = broker.names.room("b").keys.sessions
        client.delete(sessions)
        client.set(sessions, "somebody else's")
        for name in "abc":
            broker.connection.set_ready(False)
            hub.room(name).leave(1, "s")
        broker.heartbeat.trouble()
        assert broker.wait_ready(PATIENCE)
        until(lambda: broker.heartbeat._unsettled.keys() == {"b"}, "the others are settled")
        assert users(other, "a") == users(other, "c") == []
        client.delete(sessions)
    until(lambda: broker.heartbeat._unsettled == {}, "and in the end that one, too")


def test_after_an_outage_of_redis_nobody_takes_the_other_nodes_for_dead(cluster: Cluster) -> None:
    first, second = [cluster.hub(clock=Clock()) for _ in range(2)]  # time stands still: they give no sign
    second.room("r").enter(1, "a", "ann")
    keepers = [broker_of(hub).heartbeat for hub in (first, second)]
    nodes = broker_of(first).names.nodes
    with cluster.server.client() as client:
        now = client.time()[0] * 1000
        scores = {keepers[0].node: now - 60_000, keepers[1].node: now - 65_000, "dead": now - 80_000}
        client.zadd(nodes, scores)
        assert keepers[0]._sign() == (1, [b"dead"])
        assert keepers[1]._sign() == (1, [b"dead"])
        client.zadd(nodes, {keepers[1].node: now - 65_000})
        assert keepers[0]._sign() == (1, [keepers[1].node.encode(), b"dead"][::-1]), "that one is late"
    assert users(first) == [1]


# -- rooms -------------------------------------------------------------------------------------------


def test_who_was_in_a_room_that_could_be_closed_here_only_is_nobodys_ghost(
    cluster: Cluster, hubs: list[Hub]
) -> None:
    hub, other = hubs
    other.room("r").enter(9, "w", "watcher")
    old = hub.room("r")
    old.enter(1, "a", "ann")
    with refusing(cluster, "min-replicas-to-write", 1):
        hub.close_room("r")
        assert old.closed
        broker_of(hub).heartbeat.inspect()
        with cluster.server.client() as client:
            mine = broker_of(hub).names.rooms_of(broker_of(hub).heartbeat.node)
            assert client.sismember(mine, "r"), "if this node dies now, its people leave"
    until(lambda: users(other) == [9], "they are gone")
    kinds = [item.event.type for item in other.room("r").history().records]
    assert kinds == [JOIN, JOIN, LEAVE], "and everybody is told"
    broker_of(hub).heartbeat.inspect()
    with cluster.server.client() as client:
        assert not client.sismember(mine, "r")


def test_the_place_of_a_last_event_that_redis_never_had_is_not_given_to_another_in_that_epoch(
    cluster: Cluster, hubs: list[Hub]
) -> None:
    hub, other = hubs
    before = hub.publish("r", say("hi"))[0]
    other.room("r")
    with refusing(cluster, "min-replicas-to-write", 1):
        hub.close_room("r")  # clients here have had event 2
    until(lambda: broker_of(hub).heartbeat._unsettled == {}, "Redis is told")
    place = other.publish("r", say("hi again"))[0]
    assert place.offset == 2
    assert place.epoch != before.epoch


def test_who_leaves_a_closed_room_does_not_leave_the_next_of_that_name(hubs: list[Hub]) -> None:
    hub, other = hubs
    old = hub.room("r")
    old.enter(1, "a", "ann")
    hub.close_room("r")
    until(lambda: old.closed and broker_of(hub).presence_of("r") is None, "the room is over")
    hub.room("r").enter(1, "a", "ann")
    old.leave(1, "a")
    assert users(hub) == users(other) == [1]


def test_a_room_that_cannot_be_opened_leaves_nothing_behind(
    cluster: Cluster, hubs: list[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = hubs[0]
    broker = broker_of(hub)

    def refuse(node: str, room: str) -> None:
        raise CommandError(ErrorCode.INTERNAL, "not now")

    with monkeypatch.context() as patch:
        patch.setattr(broker.room_index, "admit", refuse)
        assert refused(lambda: hub.room("r")) is ErrorCode.INTERNAL
    assert broker.open_rooms() == []
    channel = broker.names.room("r").channel.encode()
    until(lambda: channel not in broker.subscriber._registrations, "it is not heard any more")


def test_a_message_counts_though_the_room_cannot_be_listed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = RedisPublisher(cluster.server.url, prefix=cluster.prefix)
    execute = RedisConnection.execute

    def refuse(connection: RedisConnection, *commands: Any, **options: Any) -> list[Any]:
        if commands[0][0] == "ZADD":
            raise CommandError(ErrorCode.INTERNAL, "not now")
        return execute(connection, *commands, **options)

    monkeypatch.setattr(RedisConnection, "execute", refuse)
    assert [place.offset for place in publisher.publish("r", say("hi"))] == [1]
    publisher.close()


# -- the list of rooms -------------------------------------------------------------------------------


def test_whoever_lists_rooms_takes_those_that_are_gone_off_the_list(cluster: Cluster) -> None:
    hub = cluster.hub()
    rooms = broker_of(hub).names.rooms
    hub.room("r").message(1, "hi")
    with cluster.server.client() as client:
        client.zadd(rooms, {f"gone {number}": number for number in range(500)})
        assert [room.name for room in hub.list_rooms().rooms] == ["r"]
        assert client.zrange(rooms, 0, -1) == [b"r"]


def test_a_room_too_many_takes_the_place_of_one_that_nobody_uses(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.broker.redis.heartbeat.INSPECT", 1e9)
    hub = cluster.hub(max_rooms=3)
    for name in "abc":
        hub.room(name).message(1, "hi")
    assert refused(lambda: hub.room("d")) is ErrorCode.LIMIT_EXCEEDED, "all of them were just used"
    assert {room.name for room in hub.list_rooms().rooms} == set("abc")
    assert cluster.stored() == [key for key in cluster.stored() if "{d}" not in key]
    broker = broker_of(hub)
    hub.room("a").enter(1, "s", "ann")
    with cluster.server.client() as client:  # as if nothing had happened for a while
        for name in "abc":
            client.hincrby(broker.names.room(name).keys.meta, "expiry", -20_000)
    hub.room("d").message(1, "hi")
    assert {room.name for room in hub.list_rooms().rooms} == set("ad"), "somebody is in a"
    assert hub.room("a").count() == 2
    assert users(hub, "a") == [1]


# -- Redis itself ------------------------------------------------------------------------------------


def test_a_primary_that_became_a_replica_is_left(server: RedisServer) -> None:
    """The name of a managed Redis leads to the new primary: connections to the old one must not stay."""
    connection = RedisConnection(server.url)
    connection.execute(("PING",))
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(CommandError, match="read only replica"):
            connection.execute(("SET", "key", "value"))
        ours = [each for each in client.client_list() if each["cmd"] == "set"]
        until(
            lambda: [each for each in client.client_list() if each["cmd"] == "set"] == [], f"{ours} are gone"
        )
    connection.close()


def test_a_log_that_redis_evicted_is_not_looked_for_again_and_again(
    cluster: Cluster, hubs: list[Hub]
) -> None:
    hub, other = hubs
    room = other.room("r")
    hub.publish("r", say("a", "b"))
    channel = next(iter(broker_of(other).open_rooms()))
    until(lambda: room.fanout.head.offset == 2, "both have it")
    [registration] = broker_of(other).subscriber._registrations[channel.log.names.channel.encode()]
    hear, registration.receive = registration.receive, lambda payloads: None
    hub.publish("r", say("c"))
    with cluster.server.client() as client:
        client.delete(channel.log.names.keys.log)
    broker_of(other).heartbeat.inspect()
    until(lambda: room.fanout.head.offset == 3, "it goes on from the head")
    registration.receive = hear
    hub.publish("r", say("d"))
    until(lambda: room.fanout.head.offset == 4, "and hears what follows")
    assert broker_of(other).counters()["restarts"] == 1


def test_a_user_of_redis_who_may_not_ask_for_information_may_do_all_else(cluster: Cluster) -> None:
    with cluster.server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        try:
            hub = cluster.hub()
            epoch = hub.publish("r", say("hi"))[0].epoch
            publisher = RedisPublisher(cluster.server.url, prefix=cluster.prefix)
            assert [place.epoch for place in publisher.publish("r", say("hello"))] == [epoch]
            publisher.close()
            assert hub.broker.new_user() == 1
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+info")
