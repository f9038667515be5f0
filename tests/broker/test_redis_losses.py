"""Tests of a Redis that comes back older: after a failover, or a restart that lost the last second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of, clusters, inspect_soon, level, persist, refused
from tests.chat.helpers import PATIENCE, Desk, ids_of, say
from tests.e2e.process import until
from threadchat import Publisher
from threadchat.broker.redis import RedisBroker
from threadchat.broker.redis.publisher import RedisPublisher
from threadchat.chat.access.sanctions import BAN, Sanction
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position
from threadchat.chat.room import Room
from threadchat.errors import ErrorCode


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Cluster]:
    server = RedisServer(tmp_path / "lasting")
    with clusters(server) as cluster:
        yield cluster
    server.kill()


def remember(cluster: Cluster) -> None:
    """What is in Redis now is what it will come back with."""
    with cluster.server.client() as client:
        client.save()


def lose(cluster: Cluster, *away: Hub, first: Callable[[], Any] = int) -> Any:
    """Has Redis come back older; `first` acts before the nodes that are `away` have connected again."""
    with connecting_later(*away):
        cluster.server.kill()
        cluster.server.start()
        result = first()
    for hub in away:
        assert broker_of(hub).wait_ready(PATIENCE)
    return result


@contextmanager
def connecting_later(*hubs: Hub) -> Iterator[None]:
    """Nodes that lose their connection get another one only when this ends."""
    may_connect = threading.Event()
    for hub in hubs:
        connection = broker_of(hub).connection
        hold_back(connection, connection.new_connection, may_connect)
    try:
        yield
        for hub in hubs:
            until(lambda hub=hub: not broker_of(hub).connection.ready, "the node knows that Redis went")
    finally:
        may_connect.set()


def hold_back(connection: Any, connect: Callable[[Any], Any], may_connect: threading.Event) -> None:
    def new_connection(server: Any) -> Any:
        assert may_connect.wait(PATIENCE)
        return connect(server)

    connection.new_connection = new_connection


def speaker(cluster: Cluster) -> RedisPublisher:
    return RedisPublisher(cluster.server.url, prefix=cluster.prefix)


def texts(room: Room) -> list[str]:
    return [item.event.message for item in room.history().records]


def recovers(room: Room, since: Position) -> bool | None:
    stream = EventStream()
    subscription = room.subscribe(stream, events_of, since=since, name="test")
    subscription.stop()
    return subscription.recovered


def begin(cluster: Cluster, hub: Hub) -> tuple[Desk, Position]:
    """Six messages that Redis keeps and five that it loses; a subscriber who had all, and the last place."""
    room = hub.room("r")
    desk = Desk()
    room.subscribe(desk, ids_of, name="test").start()
    room.publish(say(*[f"kept {number}" for number in range(6)]))
    remember(cluster)
    last = [room.publish(say(f"lost {number}"))[0] for number in range(5)][-1]
    desk.wait_for(lambda desk: desk.got == list(range(1, 12)))
    return desk, last


KEPT = [f"kept {number}" for number in range(6)]


@pytest.mark.parametrize("words", [1, 4, 5, 8])
def test_a_publisher_speaks_before_the_nodes_are_back(cluster: Cluster, words: int) -> None:
    hubs = [cluster.hub(), cluster.hub()]
    desk, last = begin(cluster, hubs[0])
    rooms = [hub.room("r") for hub in hubs]
    level(*rooms)
    said = [f"new {number}" for number in range(words)]
    with_publisher = speaker(cluster)
    places = lose(cluster, *hubs, first=lambda: [with_publisher.publish("r", say(text))[0] for text in said])
    with_publisher.close()
    assert [place.offset for place in places] == list(range(7, 7 + words)), "what Redis kept, it keeps"
    until(lambda: desk.fell_behind == 1, "whoever heard the others is told")
    until(lambda: rooms[0].fanout.head == rooms[1].fanout.head == places[-1], "both have the new log")
    assert places[-1].epoch != last.epoch
    for room in rooms:
        assert texts(room) == KEPT + said
        assert recovers(room, last) is recovers(room, last._replace(offset=6)) is False
        assert recovers(room, places[0])


@pytest.mark.parametrize("words", [1, 5, 8])
def test_a_node_that_has_just_opened_the_room_speaks_first(cluster: Cluster, words: int) -> None:
    hub, other = cluster.hub(), cluster.hub()
    desk, last = begin(cluster, hub)

    def speak() -> Position:
        assert broker_of(other).wait_ready(PATIENCE)
        return [persist(lambda n=n: other.publish("r", say(f"new {n}"))[0]) for n in range(words)][-1]

    place = lose(cluster, hub, first=speak)
    until(lambda: desk.fell_behind == 1, "whoever heard the others is told")
    level(hub.room("r"), other.room("r"))
    assert hub.room("r").fanout.head.epoch == place.epoch != last.epoch
    assert texts(hub.room("r")) == texts(other.room("r")) == KEPT + [f"new {n}" for n in range(words)]
    assert recovers(other.room("r"), last) is False


def test_the_node_that_had_it_open_speaks_first(cluster: Cluster) -> None:
    hub = cluster.hub()
    desk, last = begin(cluster, hub)
    lose(cluster, hub)
    place = persist(lambda: hub.publish("r", say("new"))[0])
    assert place.epoch != last.epoch
    until(lambda: desk.fell_behind == 1, "whoever heard the others is told")
    assert texts(hub.room("r")) == [*KEPT, "new"]
    assert recovers(hub.room("r"), last) is False


@pytest.mark.parametrize("speaks_first", [True, False])
def test_redis_loses_the_end_while_no_node_is_there(cluster: Cluster, speaks_first: bool) -> None:
    hub = cluster.hub()
    _, last = begin(cluster, hub)
    hub.close()
    with_publisher = speaker(cluster)
    lose(cluster, first=lambda: [with_publisher.publish("r", say("new")) for _ in range(7 * speaks_first)])
    with_publisher.close()
    later = cluster.hub()
    room = later.room("r")
    room.publish(say(*["more"] * 7))
    assert recovers(room, last) is False
    assert texts(room) == KEPT + ["new"] * 7 * speaks_first + ["more"] * 7


def test_a_restart_of_a_server_that_has_all_on_disk_ends_no_epoch_where_a_node_had_the_room_open(
    lasting: Cluster,
) -> None:
    hub, other = lasting.hub(), lasting.hub()
    desk = Desk()
    hub.room("r").subscribe(desk, ids_of, name="test").start()
    other.room("r")
    last = hub.publish("r", say(*"abc"))[-1]
    level(hub.room("r"), other.room("r"))  # whoever asks first afterwards must know an event of this epoch
    for restart in range(2):
        lose(lasting, hub, other)
        assert persist(lambda: hub.publish("r", say("new"))[0]) == Position(4 + 3 * restart, last.epoch)
        assert persist(lambda: other.publish("r", say("new"))[0]) == Position(5 + 3 * restart, last.epoch)
        with speaking(lasting) as with_publisher:
            assert with_publisher.publish("r", say("new")) == [Position(6 + 3 * restart, last.epoch)]
    desk.wait_for(lambda desk: desk.got[-1] == 9)
    assert desk.fell_behind == 0


def test_a_restart_ends_the_epoch_though_the_first_to_speak_finds_all_that_it_had(cluster: Cluster) -> None:
    """Redis lost what another node had delivered, and this one had missed: it cannot know."""
    hubs = [cluster.hub(), cluster.hub()]
    rooms = [hub.room("r") for hub in hubs]
    rooms[0].publish(say(*KEPT))
    level(*rooms)
    remember(cluster)
    channel = broker_of(hubs[1]).open_rooms()[0]
    [registration] = broker_of(hubs[1]).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: None
    last = rooms[0].publish(say("lost"))[0]
    until(lambda: rooms[0].fanout.head == last, "one node has delivered it")
    hubs[0].close()
    lose(cluster, hubs[1])
    registration.receive = channel.receive
    places = [persist(lambda: hubs[1].publish("r", say("new"))[0]) for _ in range(2)]
    assert [place.offset for place in places] == [7, 8]
    assert places[0].epoch != last.epoch
    assert recovers(persist(lambda: hubs[1].room("r")), last) is False


@contextmanager
def speaking(cluster: Cluster) -> Iterator[RedisPublisher]:
    with_publisher = speaker(cluster)
    yield with_publisher
    with_publisher.close()


def test_a_key_that_redis_kept_is_known_in_the_new_epoch(cluster: Cluster) -> None:
    hub = cluster.hub()
    place = hub.publish("r", say("kept", key="k"))[0]
    remember(cluster)
    hub.publish("r", say("lost", key="l"))
    lose(cluster, hub)
    again = persist(lambda: hub.publish("r", say("kept", key="k"))[0])
    assert again.offset == place.offset
    assert again.epoch != place.epoch
    assert persist(lambda: hub.publish("r", say("lost", key="l"))[0].offset) == 2


def test_a_message_is_deleted_in_its_own_epoch_only(cluster: Cluster) -> None:
    hub = cluster.hub()
    begin(cluster, hub)
    with speaking(cluster) as with_publisher:
        lose(cluster, hub, first=lambda: with_publisher.publish("r", say("new")))
    room = hub.room("r")
    until(lambda: texts(room)[-1] == "new" and room.fanout.head.offset == 7, "the node has the new log")
    hub.delete("r", 7)
    assert texts(room) == [*KEPT, "", ""]


def test_a_user_id_is_not_given_twice(cluster: Cluster) -> None:
    brokers = [cluster.broker() for _ in range(2)]
    for _ in range(3):
        brokers[0].new_user()
    remember(cluster)
    given = {brokers[0].new_user() for _ in range(20)}
    hubs = [Hub(broker) for broker in brokers]
    assert brokers[1].highest_user < max(given), "the other node has not looked since"
    lose(cluster, *hubs, first=lambda: None)
    assert persist(brokers[1].new_user) > max(given)
    later = RedisBroker(cluster.server.url, prefix=cluster.prefix)
    for broker in brokers:
        broker.close()
    remember(cluster)
    assert later.wait_ready(PATIENCE)
    given = {later.new_user() for _ in range(20)}
    later.close()
    lose(cluster)
    after = cluster.broker()
    assert after.new_user() > max(given), "nobody was there who had seen them"


def subjects(broker: RedisBroker) -> list[Any]:
    return sorted(item.subject for item in broker.sanctions.list())


@pytest.mark.parametrize("changed_first", [True, False])
def test_bans_that_redis_lost_are_imposed_again(cluster: Cluster, changed_first: bool) -> None:
    hubs = [cluster.hub(), cluster.hub()]
    first, second = map(broker_of, hubs)
    first.sanctions.impose(Sanction(BAN, 1))
    first.sanctions.impose(Sanction(BAN, 2))
    remember(cluster)
    first.sanctions.impose(Sanction(BAN, 3))
    first.sanctions.lift(BAN, 2)
    until(lambda: subjects(second) == [1, 3], "both have heard it")

    def change() -> None:
        if changed_first:
            another = RedisBroker(cluster.server.url, prefix=cluster.prefix)
            assert another.wait_ready(PATIENCE)
            another.sanctions.impose(Sanction(BAN, 4))
            another.close()

    lose(cluster, *hubs, first=change)
    expected = [1, 3, 4] if changed_first else [1, 3]
    until(lambda: subjects(first) == subjects(second) == expected, "all are in force")
    assert subjects(cluster.broker()) == expected, "in Redis, too"


def test_a_flushed_redis_has_the_bans_again(cluster: Cluster) -> None:
    brokers = [cluster.broker(), cluster.broker()]
    brokers[0].sanctions.impose(Sanction(BAN, 1))
    cluster.server.flush()
    persist(lambda: brokers[1].sanctions.impose(Sanction(BAN, 2)))
    until(lambda: all(subjects(broker) == [1, 2] for broker in brokers), "both are in force")


def test_a_ban_that_redis_refuses_to_take_back_is_told_again(cluster: Cluster) -> None:
    broker = cluster.broker()
    broker.sanctions.impose(Sanction(BAN, 1))
    cluster.server.flush()
    with cluster.server.client() as client:
        client.config_set("maxmemory", 1)
        client.config_set("maxmemory-policy", "noeviction")
        assert refused(broker.sanctions.inspect) is ErrorCode.INTERNAL
        assert subjects(broker) == [1], "the node heeds it"
        client.config_set("maxmemory", 0)
    until(lambda: inspect_soon(broker) or not broker.sanctions._lost, "it is told again")
    assert subjects(cluster.broker()) == [1]


def test_who_is_there_and_who_left_is_what_the_nodes_say(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    room = first.room("r")
    room.enter(1, "a", "ann")
    room.enter(2, "b", "bob")
    remember(cluster)
    room.leave(1, "a")
    room.enter(3, "c", "cid")
    lose(cluster, first, second)
    assert sorted(occupant.user for occupant in persist(second.room("r").who)) == [2, 3]


def test_a_publisher_is_a_stranger_to_the_log(cluster: Cluster) -> None:
    """The public Publisher goes the same way as the others here."""
    with Publisher(cluster.server.url) as publisher:
        before = publisher.publish("r", "kept")
        remember(cluster)
        publisher.publish("r", "lost")
        lose(cluster)
        after = persist(lambda: publisher.publish("r", "new"))
    assert after.offset == 2
    assert after.epoch != before.epoch
