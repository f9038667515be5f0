"""Tests of what goes wrong between nodes and Redis: lost messages, connections, nodes, and Redis itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of, clusters, level, persist, refused, take, told
from tests.broker.redis_cluster import RedisCluster
from tests.chat.helpers import PATIENCE, Clock, RecordingSink, ids_of, join, run, say
from tests.e2e.process import until
from tests.wire.helpers import short_of_threads
from threadchat.broker.redis import RedisBroker
from threadchat.broker.redis.room_channel import RedisChannel
from threadchat.chat.delivery import live_delivery
from threadchat.chat.delivery.live_delivery import Batching
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import JOIN, LEAVE, MESSAGE, Position
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode, SlowConsumer
from threadchat.wire.outbox import Answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def lasting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    servers = RedisCluster(tmp_path_factory.mktemp("lasting"), lasting=True)
    yield servers
    servers.kill()


@pytest.fixture(params=["server", "lasting_cluster"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with clusters(request.getfixturevalue(request.param)) as cluster:
        yield cluster


def channel_of(hub: Hub, room: str) -> RedisChannel:
    return next(channel for channel in broker_of(hub).open_rooms() if channel.room == room)


def lose(hub: Hub, room: str, is_lost: Callable[[bytes], bool]) -> None:
    """From now on some messages to a node's room are lost on the way."""
    channel = channel_of(hub, room)
    [registration] = broker_of(hub).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: channel.receive([item for item in payloads if not is_lost(item)])


def listen(room: Room, **options: Any) -> EventStream:
    stream = EventStream(1 << 16, PATIENCE)
    room.subscribe(stream, events_of, name="test", **options).start()
    return stream


def numbers(stream: EventStream, count: int) -> list[int]:
    return [event.id for event in take(stream, count)]


def is_deaf(hub: Hub) -> bool:
    return not broker_of(hub).ready


def is_ready(hub: Hub) -> bool:
    return broker_of(hub).ready


# -- messages that are lost --------------------------------------------------------------------------


def test_a_hole_is_filled_before_anything_later_is_delivered(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    stream = listen(second.room("r"))
    lose(second, "r", lambda payload: b"lost" in payload)
    for number in range(40):
        first.room("r").message(1, "lost" if number % 4 == 1 else "kept")
    assert numbers(stream, 40) == list(range(1, 41))
    assert broker_of(second).counters()["filled"] >= 10


def test_a_lost_last_message_is_found_by_looking(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    stream = listen(second.room("r"))
    lose(second, "r", lambda payload: True)
    first.room("r").publish(say("a", "b"))
    broker_of(second).heartbeat.inspect()
    assert numbers(stream, 2) == [1, 2]


def test_a_node_that_lost_more_than_the_log_holds_says_so(cluster: Cluster) -> None:
    first, second = cluster.hub(history_size=5), cluster.hub(history_size=5)
    room = second.room("r")
    sink, everything = RecordingSink(), []
    room.subscribe(sink, ids_of, name="test").start()
    second.attach_listener(lambda event: everything.append(event.id))
    lose(second, "r", lambda payload: b"lost" in payload)
    for _ in range(10):
        first.room("r").publish(say(*["lost"] * 3))
    first.room("r").message(1, "heard")
    until(lambda: sink.fell_behind == 1, "the subscriber is told")
    level(first.room("r"), room)
    until(lambda: everything == [27, 28, 29, 30, 31], "who listens in the background goes on")
    assert sink.got == []
    assert broker_of(second).counters()["restarts"] == 1


def test_what_is_heard_twice_is_delivered_once(cluster: Cluster) -> None:
    hub = cluster.hub()
    stream = listen(hub.room("r"))
    channel = channel_of(hub, "r")
    [registration] = broker_of(hub).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: channel.receive([*payloads, *payloads])
    for _ in range(20):
        hub.room("r").message(1, "hi")
    hub.close_room("r")
    assert [event.id for event in stream] == list(range(1, 22))


def test_a_shut_gate_holds_events_back_and_loses_none(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    slow = EventStream(64, PATIENCE)
    second.room("r").subscribe(slow, events_of, name="slow").start()
    first.room("r").publish(say(*["hi"] * 60))
    until(lambda: channel_of(second, "r")._outlet.gate is not None, "the stream is nearly full")
    for _ in range(200):
        first.room("r").publish(say(*["hi"] * 10))
    assert numbers(slow, 2060) == list(range(1, 2061))


def test_a_node_looks_at_the_gate_after_the_events_that_it_deferred(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_delivery, "MANY", 1)
    first, second = cluster.hub(), cluster.hub()
    room, sink = second.room("r"), RecordingSink(Answer.HIGH)
    room.fanout.batching = Batching(lambda seconds, action: None, 25, 1000)
    room.subscribe(sink, ids_of, name="full").start()
    channel, received = channel_of(second, "r"), []
    [registration] = broker_of(second).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = received.extend
    first.room("r").emit("tick")
    first.room("r").publish(say(*["hi"] * 10))
    until(lambda: len(received) == 2, "the other node has both")
    until(lambda: first.room("r").fanout.newest == 11, "and this one is done with them")
    for payload in received:  # only now, because in this process everything else makes the deferred offers
        channel.receive([payload])
    assert sink.line.taken.acquire(timeout=PATIENCE)
    assert sink.line.given[0].waiting.acquire(timeout=PATIENCE), "a worker waits for the gate"
    assert sink.got == [1]
    sink.answer = Answer.YES
    sink.line.given[0].let_pass()
    sink.wait_for(lambda sink: sink.got == list(range(1, 12)))


# -- connections -------------------------------------------------------------------------------------


def test_whoever_is_cut_off_while_others_speak_misses_nothing(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    streams = [listen(hub.room("r")) for hub in (first, second)]
    said: list[int] = []
    done = threading.Event()

    def speak() -> None:
        number = 0
        while not done.is_set() or number % 50:
            number += 1
            place = persist(lambda text=f"{number}": first.room("r").message(1, text, key=text))
            assert place is not None
            said.append(place.offset)

    thread = run(speak)
    for kind in ("pubsub", "normal") * 3:
        before = len(said)
        until(lambda before=before: len(said) > before + 20, "something is said")
        cluster.server.kill_connections(kind)
    done.set()
    join(thread)
    assert said == sorted(said)
    heard = [take(stream, len(said)) for stream in streams]
    assert [event.id for event in heard[0]] == said == list(range(1, len(said) + 1))
    assert [event.message for event in heard[0]] == [str(number) for number in said], "each once"
    assert heard[0] == heard[1]


def test_a_node_that_does_not_hear_itself_subscribes_anew(cluster: Cluster) -> None:
    hub = cluster.hub()
    broker = broker_of(hub)
    stream = listen(hub.room("r"))
    with cluster.server.client() as client:  # a subscription that Redis forgot: the connection looks well
        registrations, broker.subscriber._registrations = broker.subscriber._registrations, {}
        until(lambda: not broker.ready, "the node knows that it is deaf")
        broker.subscriber._registrations = registrations
        assert client.ping()
    until(lambda: broker.ready, "it hears again")
    hub.room("r").message(1, "hi")
    assert numbers(stream, 1) == [1]
    assert broker.counters()["canaries_lost"] >= 1


# -- Redis away --------------------------------------------------------------------------------------


def test_while_redis_does_not_answer_publishing_is_refused_and_nothing_ends(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    streams = [listen(hub.room("r")) for hub in (first, second)]
    first.room("r").message(1, "before")
    cluster.server.pause()
    try:
        until(lambda: is_deaf(first) and is_deaf(second), "both know")
        for action in (
            lambda: first.room("r").message(1, "meanwhile"),
            lambda: first.room("r").history(),
            lambda: first.room("r").who(),
            lambda: first.room("another"),
            first.broker.new_user,
            first.list_rooms,
            lambda: first.direct(1, "hi"),
        ):
            with pytest.raises(CommandError) as raised:
                action()
            assert (raised.value.code, raised.value.temporary) == (ErrorCode.INTERNAL, True)
        first.room("r").enter(1, "a", "ann")
    finally:
        cluster.server.go_on()
    until(lambda: is_ready(first) and is_ready(second), "both hear again")
    second.room("r").message(2, "after")
    assert [told(stream, 3) for stream in streams] == [
        [(MESSAGE, "before"), (JOIN, "ann"), (MESSAGE, "after")]
    ] * 2


def test_who_left_while_redis_was_away_is_gone_afterwards(cluster: Cluster) -> None:
    hub, other = cluster.hub(), cluster.hub()
    hub.room("r").enter(1, "a", "ann")
    stream = listen(other.room("r"))
    cluster.server.pause()
    try:
        until(lambda: is_deaf(hub), "the node knows")
        hub.room("r").leave(1, "a")
    finally:
        cluster.server.go_on()
    assert told(stream, 1) == [(LEAVE, "ann")]
    until(lambda: is_ready(other), "the other may ask again, if its own pause was noticed late")
    assert other.room("r").who() == []


def test_what_was_acknowledged_survives_redis(cluster: Cluster) -> None:
    if isinstance(cluster.server, RedisCluster):
        pytest.skip("a replica may take over there, so a restart ends the epoch")
    hubs = cluster.hub(), cluster.hub()
    streams = [listen(hub.room("r")) for hub in hubs]
    epoch = hubs[0].room("r").history().head.epoch
    acknowledged: list[tuple[int, str]] = []
    halves = threading.Semaphore(0)

    def speak(hub: Hub, name: str) -> None:
        for number in range(200):
            if number == 100:
                halves.release()
            text = f"{name}{number}"
            place = persist(lambda text=text: hub.room("r").message(name, text, key=text))
            assert place is not None
            acknowledged.append((place.offset, text))

    threads = run(*[lambda i=i: speak(hubs[i % 2], "abcd"[i]) for i in range(4)])
    assert halves.acquire(timeout=PATIENCE)
    rooms = [hub.room("r") for hub in hubs]
    until(lambda: all(room.fanout.head.offset for room in rooms), "both know an event of this epoch")
    cluster.server.kill()
    until(lambda: all(map(is_deaf, hubs)), "both know")
    cluster.server.start()
    join(threads)
    heard = [[(event.id, event.message) for event in take(stream, 800)] for stream in streams]
    assert heard[0] == heard[1] == sorted(acknowledged)
    assert [offset for offset, _ in heard[0]] == list(range(1, 801))
    assert hubs[0].room("r").history().head == Position(800, epoch)


def test_a_flushed_redis_begins_anew_and_those_who_listen_are_told(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    users = [hub.broker.new_user() for hub in (first, second) for _ in range(5)]
    key = first.broker.resume_key
    room = second.room("r")
    everything: list[str] = []
    second.attach_listener(lambda event: everything.append(event.message or event.type))
    stream = listen(room)
    room.enter(1, "a", "ann")
    first.room("r").publish(say(*"abc"))
    assert [event.message for event in take(stream, 4)] == ["", *"abc"]
    epoch = room.fanout.head.epoch
    cluster.server.flush()
    first.room("r").publish(say("new"))
    with pytest.raises(SlowConsumer):
        list(stream)
    until(lambda: room.fanout.head.epoch != epoch, "the node has the new log")
    again = EventStream()
    subscription = room.subscribe(again, events_of, since=Position(4, epoch), name="test")
    assert subscription.recovered is False
    for hub in (first, second):
        broker_of(hub).heartbeat.trouble()
    until(lambda: [who.nickname for who in first.room("r").who()] == ["ann"], "who is here is known again")
    until(lambda: everything[4:6] == ["new", "join"], "who listens in the background goes on")
    for hub in (first, second):
        broker_of(hub).heartbeat._sign()
    assert second.broker.new_user() > max(users)
    assert second.broker.resume_key == key
    with cluster.server.client() as client:
        assert client.get(f"{cluster.prefix}:resume-key") == key


def test_a_node_starts_before_redis_does(cluster: Cluster) -> None:
    cluster.server.kill()
    with Closing(RedisBroker(cluster.server.url, prefix=cluster.prefix)) as broker:
        assert not broker.ready
        assert refused(broker.new_user) is ErrorCode.INTERNAL
        cluster.server.start()
        assert broker.wait_ready(PATIENCE)
        assert broker.new_user() == 1


class Closing:
    """Closes a broker."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    def __enter__(self) -> RedisBroker:
        return self._broker

    def __exit__(self, *_: object) -> None:
        self._broker.close()


# -- nodes that die ----------------------------------------------------------------------------------


def die(hub: Hub) -> None:
    """Ends what a node has running, and tells nobody."""
    broker = broker_of(hub)
    broker.heartbeat.stop()
    broker.subscriber.stop()


def bury(cluster: Cluster, dead: Hub, *living: Hub) -> None:
    """Makes the last sign of life of a node an old one, and has all others look for dead nodes at once."""
    nodes, name = broker_of(dead).names.nodes, broker_of(dead).heartbeat.node

    def look() -> bool:
        for hub in living:
            broker_of(hub).heartbeat._beat_at = -inf
            broker_of(hub).heartbeat.trouble()
        return client.zscore(nodes, name) is None

    with cluster.server.client() as client:
        client.zadd(nodes, {name: 1})
        until(look, "it is buried")


def test_a_dead_nodes_people_leave_once_however_many_bury_it(cluster: Cluster) -> None:
    hubs = [cluster.hub() for _ in range(4)]
    dead, *living = hubs
    stream = listen(living[0].room("r"))
    dead.room("r").enter(1, "a", "ann")
    dead.room("r").enter(2, "b", "bob")
    living[1].room("r").enter(2, "c", "bob")
    die(dead)
    bury(cluster, dead, *living)
    heard = [(event.type, event.user, event.session) for event in take(stream, 5)]
    assert sorted(heard[3:]) == [(LEAVE, 1, "a"), ("remove", 2, "b")]
    with cluster.server.client() as client:
        assert client.zcard(f"{cluster.prefix}:nodes") == 3
        assert not client.exists(broker_of(dead).names.rooms_of(broker_of(dead).heartbeat.node))
    living[0].room("r").message(9, "the end")
    assert told(stream, 1) == [(MESSAGE, "the end")], "nobody left twice"
    assert [occupant.sessions for occupant in living[2].room("r").who()] == [frozenset("c")]


def test_a_node_that_was_taken_for_dead_comes_back(cluster: Cluster) -> None:
    clock = Clock()
    paused = cluster.hub(clock=clock)  # its time stands still: it gives no sign of life
    name = broker_of(paused).heartbeat.node
    living = cluster.hub()
    stream = listen(living.room("r"))
    paused.room("r").enter(1, "a", "ann")
    bury(cluster, paused, living)
    assert told(stream, 2) == [(JOIN, "ann"), (LEAVE, "ann")]
    assert living.room("r").who() == []
    clock.now += 10
    assert told(stream, 1) == [(JOIN, "ann")]
    assert living.room("r").who() == paused.room("r").who() != []
    assert broker_of(paused).heartbeat.node != name
    assert broker_of(paused).counters()["revivals"] >= 1


def test_a_node_that_nobody_missed_yet_comes_back_without_anybody_noticing(cluster: Cluster) -> None:
    hub = cluster.hub()
    stream = listen(hub.room("r"))
    hub.room("r").enter(1, "a", "ann")
    broker = broker_of(hub)
    with cluster.server.client() as client:
        another = client.time()[0] * 1000  # that gave a sign just now
        client.zadd(f"{cluster.prefix}:nodes", {broker.heartbeat.node: 1, "another": another})
        broker.heartbeat._beat_at = 0
        broker.heartbeat.trouble()
        until(
            lambda: client.zcard(f"{cluster.prefix}:nodes") == 2 and broker.counters().get("revivals") == 1,
            "back",
        )
    hub.room("r").message(1, "hi")
    assert told(stream, 2) == [(JOIN, "ann"), (MESSAGE, "hi")]


def test_a_closed_broker_has_left_nothing_running(cluster: Cluster) -> None:
    before = set(threading.enumerate())
    hub = cluster.hub()
    listen(hub.room("r"))
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert {"redis-subscriber", "redis-heartbeat"} <= names
    hub.close()
    hub.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("redis")]
    assert refused(hub.broker.new_user) is ErrorCode.INTERNAL


@pytest.mark.parametrize("name", ["redis-subscriber", "redis-heartbeat"])
def test_a_node_whose_thread_could_not_start_starts_with_the_next_use(cluster: Cluster, name: str) -> None:
    broker = RedisBroker(cluster.server.url, prefix=cluster.prefix)
    with short_of_threads(name):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            broker.new_user()
        assert broker.wait_ready(PATIENCE)
    assert broker.new_user() == 1
    broker.close()


@pytest.mark.parametrize("name", ["redis-subscriber", "redis-heartbeat"])
def test_a_node_whose_thread_never_started_can_be_closed(cluster: Cluster, name: str) -> None:
    broker = RedisBroker(cluster.server.url, prefix=cluster.prefix)
    with short_of_threads(name), pytest.raises(RuntimeError, match="can't start new thread"):
        broker.new_user()
    broker.close()
    assert not broker.subscriber.thread.is_alive()
