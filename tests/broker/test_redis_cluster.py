"""Tests of a Redis Cluster: commands go to the servers of their slots, which move, die and are replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from redis.cluster import NodesManager
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from tests.broker.nodes import (
    Cluster,
    broker_of,
    clusters,
    inspect_soon,
    level,
    no_socket_left,
    persist,
    take,
)
from tests.broker.redis_cluster import RedisCluster
from tests.broker.test_redis import Someone
from tests.broker.test_redis_faults import channel_of
from tests.broker.test_redis_losses import recovers, texts
from tests.chat.helpers import PATIENCE, RecordingSink, ids_of, join, run, say
from tests.e2e.process import until
from threadchat import Publisher
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.topology.cluster import ClusterMasters
from threadchat.chat.access.sanctions import BAN, Sanction
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.hub import Hub
from threadchat.errors import CommandError, ConfigError, ErrorCode


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> Iterator[Cluster]:
    """Nodes over servers that stay as they are, but for slots that move."""
    with clusters(shared_cluster) as cluster:  # type: ignore[arg-type]
        yield cluster


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    servers = RedisCluster(tmp_path_factory.mktemp("mortal"))
    yield servers
    servers.kill()


@pytest.fixture
def servers(mortal: RedisCluster) -> RedisCluster:
    """Servers that a test may kill; whole and empty."""
    mortal.heal()
    return mortal


@pytest.fixture
def fragile(servers: RedisCluster) -> Iterator[Cluster]:
    """Nodes over servers that a test may kill."""
    with clusters(servers) as cluster:  # type: ignore[arg-type]
        yield cluster


@pytest.fixture
def connection(shared_cluster: RedisCluster) -> Iterator[RedisConnection]:
    connection = RedisConnection(shared_cluster.url)
    yield connection
    connection.close()


def log_key(hub: Hub, room: str = "r") -> str:
    return broker_of(hub).names.room(room).keys.log


def servers_of(cluster: Cluster) -> RedisCluster:
    assert isinstance(cluster.server, RedisCluster)
    return cluster.server


# -- where commands go -------------------------------------------------------------------------------


def test_commands_of_many_slots_are_answered_in_order(
    shared_cluster: RedisCluster, connection: RedisConnection
) -> None:
    keys = [f"order {number}" for number in range(50)]
    assert len({shared_cluster.owner(key).port for key in keys}) == 3
    assert connection.execute(*[("SET", key, key) for key in keys]) == [b"OK"] * 50
    assert connection.execute(*[("GET", key) for key in keys]) == [key.encode() for key in keys]
    assert connection.counters["round_trips"] == 2


def test_a_slot_that_has_moved_is_followed(shared_cluster: RedisCluster, connection: RedisConnection) -> None:
    slot = key_slot(b"moved")
    connection.execute(("SET", "moved", 1))
    source, target = shared_cluster.begin_migration(slot)
    assert connection.execute(("GET", "moved"), ("GET", "order 1"))[0] == b"1", "it is still there"
    assert shared_cluster.migrate_keys(slot, source, target) == 1
    assert connection.execute(("GET", "moved"), ("INCR", "moved")) == [b"1", 2], "it is on its way"
    shared_cluster.end_migration(slot, target)
    assert connection.execute(("GET", "moved"), ("INCR", "moved")) == [b"2", 3], "it has arrived"


def test_a_server_that_does_not_answer_fails_its_own_commands_only(
    servers: RedisCluster,
) -> None:
    topology = RedisConnection(servers.url).topology
    keys = [f"own {number}" for number in range(20)]
    topology.send([("SET", key, 1) for key in keys])
    dead = servers.owner(keys[0])
    lost = [servers.owner(key) is dead for key in keys]
    dead.kill()
    answers = topology.send([("GET", key) for key in keys])
    assert [isinstance(answer, Exception) for answer in answers] == lost
    topology.disconnect()


@pytest.mark.parametrize("are_gone", [False, True])
def test_no_connection_is_left_open(
    shared_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch, are_gone: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RedisClusterException("nobody answers")

    topology = RedisConnection(shared_cluster.url).topology
    with no_socket_left():
        topology.send([("GET", f"key {number}") for number in range(20)])
        topology.look_again()
        if are_gone:
            monkeypatch.setattr(NodesManager, "initialize", fail)
            topology.look_again()
        topology.disconnect()


def test_no_server_is_as_no_redis() -> None:
    connection = RedisConnection("redis-cluster://127.0.0.1:1,127.0.0.1:2/")
    with pytest.raises(CommandError) as raised:
        connection.execute(("PING",))
    assert (raised.value.code, raised.value.temporary) == (ErrorCode.INTERNAL, True)
    connection.close()


@pytest.mark.parametrize("url", ["redis-cluster://h/3", "redis-cluster://h/?db=3", "rediss-cluster://h/a"])
def test_a_cluster_has_no_databases(url: str) -> None:
    with pytest.raises(ConfigError, match="has no databases"):
        RedisConnection(url)


def test_a_publisher_publishes_in_a_cluster(cluster: Cluster) -> None:
    hub = cluster.hub()
    stream = EventStream(64, PATIENCE)
    hub.room("r").subscribe(stream, events_of, name="test").start()
    with Publisher(servers_of(cluster).url) as publisher:
        publisher._redis._names = broker_of(hub).names
        publisher.publish("r", "hi")
    assert [event.message for event in take(stream, 1)] == ["hi"]


def test_a_publisher_finds_the_master_that_took_over(servers: RedisCluster) -> None:
    with Publisher(servers.url) as publisher:
        key = publisher._redis._names.room("r").keys.log
        before = publisher.publish("r", "before")
        with servers.owner(key).client() as client:
            assert client.wait(1, 5000) == 1
        servers.fail_over(key)
        after = persist(lambda: publisher.publish("r", "after"))
    assert (after.offset, after.epoch == before.epoch) == (2, False)


def test_servers_without_sharded_channels_are_heard_all_the_same(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterMasters, "_can_shard", lambda self, server: False)
    hubs = [cluster.hub(), cluster.hub()]
    assert not broker_of(hubs[0]).connection.topology.sharded
    for number in range(6):
        room = f"room {number}"
        stream = EventStream(64, PATIENCE)
        hubs[1].room(room).subscribe(stream, events_of, name="test").start()
        hubs[0].room(room).message(1, "hi")
        assert [event.message for event in take(stream, 1)] == ["hi"]
        someone = Someone(number + 1)
        hubs[1].arrive(someone)
        assert broker_of(hubs[0]).is_connected(number + 1)
        hubs[0].direct(number + 1, "psst")
        assert [direct.message for direct in someone.got] == ["psst"]
    broker_of(hubs[0]).sanctions.impose(Sanction(BAN, 7))
    until(lambda: len(broker_of(hubs[1]).sanctions.list()) == 1, "the ban is heard")


# -- a slot that moves while its room is busy --------------------------------------------------------


def test_a_slot_moves_while_its_room_is_busy(cluster: Cluster) -> None:
    servers = servers_of(cluster)
    hubs = [cluster.hub(), cluster.hub()]
    rooms = [hub.room("r") for hub in hubs]
    someone = Someone(77)
    hubs[1].arrive(someone)
    sink = RecordingSink()
    rooms[1].subscribe(sink, ids_of, name="test").start()
    acknowledged: list[tuple[int, str]] = []
    most = 600  # then both speakers wait for the end
    going = threading.Event()
    may_end = threading.Event()

    def speak(hub: Hub, name: str) -> None:
        number = 0
        while not may_end.is_set() or number < 40:
            text = f"{name}{number}"
            place = persist(lambda text=text: hub.room("r").message(name, text, key=text))
            assert place is not None
            acknowledged.append((place.offset, text))
            number += 1
            if number == 20:
                going.set()
            if number > most // 2:
                may_end.wait(PATIENCE)

    threads = run(*[lambda i=i: speak(hubs[i % 2], "ab"[i]) for i in range(2)])
    assert going.wait(PATIENCE)
    slot = key_slot(log_key(hubs[0]).encode())
    source, target = servers.begin_migration(slot)
    while servers.migrate_keys(slot, source, target, 5):
        pass
    servers.end_migration(slot, target)
    before = len(acknowledged)
    until(lambda: len(acknowledged) > min(before + 4, most), "it goes on")
    may_end.set()
    join(threads)
    level(*rooms)
    found = [item.event for item in persist(lambda: rooms[0].history(None, 2000)).records]
    assert [event.id for event in found] == list(range(1, len(found) + 1)), "no holes"
    log = [(event.id, event.message) for event in found]
    assert sorted(log) == sorted(acknowledged), "each once, where it was said to be"
    assert sink.fell_behind + (sink.got[-1] == len(log)) >= 1, "heard, or told that there is a new log"
    rooms[0].message(1, "the end")
    until(lambda: rooms[1].fanout.head.offset == len(log) + 1, "the other node hears it where it is now")
    persist(lambda: hubs[0].direct(77, "psst"))
    assert [direct.message for direct in someone.got] == ["psst"]


@pytest.mark.parametrize("sharded", [True, False])
def test_who_listens_where_a_slot_was_hears_it_where_it_is(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    """The server that gave the slot away says so, or the next look at the slots does."""
    monkeypatch.setattr(ClusterMasters, "_can_shard", lambda self, server: sharded)
    servers = servers_of(cluster)
    hubs = [cluster.hub(), cluster.hub()]
    someone = Someone(5)
    hubs[1].arrive(someone)
    person = broker_of(hubs[0]).names.person(5)
    slot = key_slot(person.encode())
    source, target = servers.begin_migration(slot)
    while servers.migrate_keys(slot, source, target):
        pass
    servers.end_migration(slot, target)
    count = "SHARDNUMSUB" if sharded else "NUMSUB"
    brokers = [] if sharded else [broker_of(hubs[1])]
    until(
        lambda: inspect_soon(*brokers) or RedisCluster.do(target, "PUBSUB", count, person)[1] == 1,
        "it subscribes where it is",
    )
    persist(lambda: hubs[0].direct(5, "psst"))
    assert [direct.message for direct in someone.got] == ["psst"]


# -- masters that are replaced -----------------------------------------------------------------------


def test_a_replica_takes_over_from_a_master_that_dies(servers: RedisCluster, fragile: Cluster) -> None:
    hubs = [fragile.hub(), fragile.hub()]
    names = [f"room {number}" for number in range(6)]
    for name in names:
        hubs[0].publish(name, say("before"))
        hubs[1].room(name).enter(1, "a", "ann")
    given = {broker_of(hub).new_user() for hub in hubs for _ in range(3)}
    broker_of(hubs[0]).sanctions.impose(Sanction(BAN, 7))
    someone = Someone(77)
    hubs[1].arrive(someone)
    dead = servers.owner(log_key(hubs[0], names[0]))
    with dead.client() as client:
        assert client.wait(1, 5000) == 1
    servers.fail_over_by_vote(log_key(hubs[0], names[0]))
    for name in names:
        place = persist(lambda name=name: hubs[0].room(name).message(1, "after", key=name))
        assert place is not None
        found = persist(lambda name=name: hubs[1].room(name).history()).records
        assert [item.event.message for item in found if item.event.message] == ["before", "after"]
        until(
            lambda name=name: [who.user for who in persist(hubs[0].room(name).who)] == [1],
            "who is there is known",
        )
        level(hubs[0].room(name), hubs[1].room(name))
    assert persist(broker_of(hubs[1]).new_user) > max(given)
    persist(lambda: hubs[0].direct(77, "psst"))
    assert [direct.message for direct in someone.got] == ["psst"]
    assert [ban.subject for ban in persist(broker_of(hubs[1]).sanctions.list)] == [7]
    assert {room.name for room in persist(hubs[0].list_rooms).rooms} == set(names)


@pytest.mark.parametrize("speaker", ["a stranger", "who missed the last"])
def test_unreplicated_messages_end_the_epoch_whoever_speaks_first(
    servers: RedisCluster, fragile: Cluster, speaker: str
) -> None:
    hubs = [fragile.hub(), fragile.hub()]
    rooms = [hub.room("r") for hub in hubs]
    sink = RecordingSink()
    rooms[0].subscribe(sink, ids_of, name="test").start()
    rooms[0].publish(say("kept"))
    level(*rooms)
    with servers.owner(log_key(hubs[0])).client() as client:
        assert client.wait(1, 5000) == 1
    channel = channel_of(hubs[1], "r")
    [registration] = broker_of(hubs[1]).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: None
    with servers.without_replica(log_key(hubs[0])):
        last = rooms[0].publish(say("lost"))[0]
        sink.wait_for(lambda sink: sink.got == [1, 2])
        hubs[0].close()
        servers.fail_over(log_key(hubs[1]))
    registration.receive = channel.receive
    if speaker == "a stranger":
        with Publisher(servers.url) as publisher:
            publisher._redis._names = broker_of(hubs[1]).names
            places = [persist(lambda: publisher.publish("r", "new")) for _ in range(2)]
    else:
        places = [persist(lambda: hubs[1].publish("r", say("new"))[0]) for _ in range(2)]
    assert [place.offset for place in places] == [2, 3]
    assert places[0].epoch != last.epoch
    room = persist(lambda: hubs[1].room("r"))
    until(lambda: room.fanout.head == places[-1], "the node has the new log")
    assert persist(lambda: texts(room)) == ["kept", "new", "new"]
    assert recovers(room, last) is False


def test_a_master_that_lives_on_as_a_replica_is_left(servers: RedisCluster, fragile: Cluster) -> None:
    """It takes no commands any more, and counts no subscribers: they must be where messages are sent."""
    hubs = [fragile.hub(), fragile.hub()]
    someone = Someone(5)
    hubs[1].arrive(someone)
    person = broker_of(hubs[0]).names.person(5)
    hubs[0].publish("r", say("before"))
    target = servers.demote(person)
    until(
        lambda: RedisCluster.do(target, "PUBSUB", "SHARDNUMSUB", person)[1] == 1,
        "the node subscribes at the new master",
    )
    until(lambda: persist(lambda: broker_of(hubs[0]).is_connected(5)), "the other node asks the new master")
    persist(lambda: hubs[0].direct(5, "psst"))
    assert [direct.message for direct in someone.got] == ["psst"]
    assert persist(lambda: hubs[1].publish("r", say("after"))[0]).offset == 2


def test_a_message_that_no_replica_confirms_is_not_acknowledged(
    servers: RedisCluster, fragile: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = fragile.hub(wait_replicas=1)
    names = [f"room {number}" for number in range(6)]
    for name in names:
        hub.room(name).message(1, "hi")
    alone = servers.owner(log_key(hub, names[0]))
    monkeypatch.setattr("threadchat.broker.redis.topology.pool.CONFIRMATION", 0.1)
    with servers.without_replica(log_key(hub, names[0])):
        for name in names:
            if servers.owner(log_key(hub, name)) is alone:
                with pytest.raises(CommandError, match="0 of 1 replicas"):
                    hub.room(name).message(1, "hello")
