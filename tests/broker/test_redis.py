"""Tests of nodes that share a Redis: one order, one presence, one set of people and rooms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from redis.crc import key_slot

from tests.broker.nodes import Cluster, broker_of, clusters, level, refused, take, told
from tests.chat.helpers import PATIENCE, WithoutInbox, join, run, say
from tests.e2e.process import until
from threadchat.broker.redis import RedisBroker
from threadchat.broker.redis.commands import IN_USE, Known
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.log import Change
from threadchat.broker.redis.publish_pipeline import Publication
from threadchat.broker.redis.topology.pool import Exchange
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.log.events import (
    ADD,
    DELETE,
    JOIN,
    LEAVE,
    MESSAGE,
    REMOVE,
    RENAME,
    Direct,
    Draft,
    Position,
)
from threadchat.chat.presence import Occupant
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.outbox import Answer


@pytest.fixture(params=["shared_redis", "shared_cluster"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with clusters(request.getfixturevalue(request.param)) as cluster:
        yield cluster


def test_a_connection_that_another_thread_ends_is_a_temporary_error(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pool is ended when another server has become the master, whoever waits for an answer."""
    receive = Exchange.receive

    def receive_too_late(exchange: Exchange) -> list[Any]:
        exchange._pool.disconnect()
        return receive(exchange)

    with closing(RedisConnection(cluster.server.url)) as connection:
        assert connection.execute(("PING",)) == [b"PONG"]
        monkeypatch.setattr(Exchange, "receive", receive_too_late)
        with pytest.raises(CommandError, match="ended meanwhile") as raised:
            connection.execute(("PING",))
        assert (raised.value.code, raised.value.temporary) == (ErrorCode.INTERNAL, True)
        monkeypatch.undo()
        assert connection.execute(("PING",)) == [b"PONG"]


def test_what_one_node_deletes_is_gone_on_all(cluster: Cluster) -> None:
    hubs = cluster.hub(), cluster.hub()
    rooms = [hub.room("r") for hub in hubs]
    hubs[0].publish("r", say("a", "secret", "c"))
    until(lambda: rooms[1].fanout.head.offset == 3, "the other node has heard it")
    hubs[1].delete("r", 2, user=9, nickname="mod")
    level(*rooms)
    late = cluster.hub().room("r")
    for room in (*rooms, late):
        found = [(item.event.message, item.event.deleted) for item in room.history().records]
        assert found == [("a", False), ("", True), ("c", False), ("", False)]
    replayed = EventStream()
    since = Position(0, late.fanout.head.epoch)
    late.subscribe(replayed, events_of, since=since).start()
    assert [event.message for event in take(replayed, 4)] == ["a", "", "c", ""]
    replayed.close()


def test_the_text_of_a_deleted_message_is_nowhere_in_redis(cluster: Cluster) -> None:
    hub = cluster.hub()
    hub.publish("r", say(*["secret"] * 40, "last"))
    names = broker_of(hub).names.room("r")
    for event in (*range(1, 36), 38, 40):
        hub.delete("r", event)
    with cluster.server.client() as client:
        assert client.xlen(names.keys.log) == 4 + 37, "what is left, and who deleted the others"
        found = client.xrange(names.keys.log), client.hgetall(names.keys.deleted)
        assert str(found).count("secret") == 3
        assert client.pexpiretime(names.keys.deleted) == client.pexpiretime(names.keys.log) > 0
    room = cluster.hub().room("r")
    everything = [(item.event.id, item.event.message, item.event.deleted) for item in room.history().records]
    gone = {*range(1, 36), 38, 40}
    assert everything[:41] == [
        (event, "" if event in gone else "last" if event == 41 else "secret", event in gone)
        for event in range(1, 42)
    ]
    epoch = room.fanout.head.epoch
    for since, limit, reverse, expected in (
        (0, 5, False, range(1, 6)),
        (34, 7, False, range(35, 42)),
        (36, 100, False, range(37, 79)),
        (42, 45, True, range(41, 0, -1)),
        (38, 2, True, (37, 36)),
        (3, 9, True, (2, 1)),
    ):
        page = room.history(Position(since, epoch), limit, reverse)
        assert [item.event.id for item in page.records] == list(expected)


def test_a_log_whose_oldest_messages_were_deleted_is_trimmed_all_the_same(cluster: Cluster) -> None:
    hub = cluster.hub(history_size=10)
    hub.publish("r", say(*map(str, range(1, 9))))
    for event in (1, 2, 5, 8):
        hub.delete("r", event)
    hub.publish("r", say("a", "b", "c"))
    late = cluster.hub(history_size=10).room("r")
    assert [item.event.id for item in late.history().records] == list(range(6, 16))
    assert [item.event.message for item in late.history().records] == [
        "6",
        "7",
        "",
        "",
        "",
        "",
        "",
        "a",
        "b",
        "c",
    ]


def test_a_deletion_that_comes_to_a_new_log_deletes_nothing_there(cluster: Cluster) -> None:
    hub = cluster.hub()
    broker = broker_of(hub)
    hub.publish("r", say("a", "b"))
    names = broker.names.room("r")
    stale = deletion(names, Position(1, "another"))
    assert refused(lambda: broker.pipeline.publish(stale)) is ErrorCode.UNRECOVERABLE_POSITION
    assert [item.event.message for item in hub.room("r").history().records] == ["a", "b"]


def test_a_batch_of_several_epochs_takes_each_for_what_it_is(cluster: Cluster) -> None:
    """A deletion is neither done in another log nor told to those who have its text still."""
    hub = cluster.hub()
    broker = broker_of(hub)
    epoch = hub.publish("r", say("a", "b", "c"))[0].epoch
    names = broker.names.room("r")
    far = Publication(names, "r", say("d"), Known("another", 99, "1"))  # its number is the highest
    known = hub.room("r").channel._buffer.newest
    good = deletion(names, Position(1, epoch), known)
    stale = deletion(names, Position(2, "another"))
    broker.pipeline._send([far, good, stale])
    assert far.positions is not None
    assert good.positions is not None
    assert [position.epoch for position in far.positions + good.positions] == [epoch] * 2
    assert (far.failure, good.failure) == (None, None)
    assert isinstance(stale.failure, CommandError)
    events = [item.event for item in hub.room("r").history().records]
    assert [(event.message, event.deleted) for event in events[:3]] == [
        ("", True),
        ("b", False),
        ("c", False),
    ]
    assert sorted(event.target for event in events[3:]) == [0, 1]


def deletion(names: Any, target: Position, known: Known | None = None) -> Publication:
    """One that a node asks for which knows the log of the target's epoch."""
    known = known or Known(target.epoch, target.offset + 1, "1")
    blank = b',"chatroomId":"r","type":"message","deleted":true'
    return Publication(
        names, "r", [Draft(DELETE, 9, "mod", target=target)], known, [[Change(target.offset, blank)]]
    )


class Someone(WithoutInbox):
    """A session that takes direct messages, or has no room for them."""

    def __init__(self, user: int, answer: Answer = Answer.YES) -> None:
        self.user = user
        self.about = ""
        self.address = f"192.0.2.{user}"
        self.answer = answer
        self.got: list[Direct] = []
        self.codes: list[int] = []
        self.evicted: list[tuple[str, str]] = []

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        if self.answer is not Answer.NO:
            self.got.append(direct)
        return self.answer

    def close(self, code: int, reason: str | None = None) -> None:
        self.codes.append(code)

    def evict(self, room: str, reason: str) -> bool:
        self.evicted.append((room, reason))
        return room == "r"


# -- events ------------------------------------------------------------------------------------------


def test_what_is_said_on_one_node_is_heard_on_all_in_one_order(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    here, there = first.room("r").add(1, "a", nickname="ann"), second.room("r").add(2, "b", nickname="bob")
    assert first.room("r").message(1, "hi", nickname="ann") == Position(3, first.room("r").fanout.head.epoch)
    second.room("r").message(2, "hello", nickname="bob")
    expected = [(JOIN, "ann"), (JOIN, "bob"), (MESSAGE, "hi"), (MESSAGE, "hello")]
    assert told(here, 4) == expected
    assert told(there, 3) == expected[1:], "what was before one came is not heard"


def test_every_offset_once_in_the_same_order_everywhere(cluster: Cluster) -> None:
    hubs = cluster.hub(), cluster.hub()
    streams = []
    for hub in hubs * 2:
        stream = EventStream(1 << 16, PATIENCE)
        hub.room("r").subscribe(stream, events_of, name="test").start()
        streams.append(stream)
    barrier = threading.Barrier(8)

    def publish(number: int) -> None:
        room = hubs[number % 2].room("r")
        barrier.wait(PATIENCE)
        given = [room.publish(say(f"{number}.{i}", user=number))[0].offset for i in range(100)]
        assert given == sorted(given)

    join(run(*[lambda number=number: publish(number) for number in range(8)]))
    heard = [[(event.id, event.message) for event in take(stream, 800)] for stream in streams]
    assert [offset for offset, _ in heard[0]] == list(range(1, 801))
    assert heard[1:] == heard[:1] * 3
    said = [text for _, text in heard[0]]
    for number in range(8):
        assert [text for text in said if text.startswith(f"{number}.")] == [
            f"{number}.{i}" for i in range(100)
        ]


def test_publications_that_meet_share_round_trips(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = cluster.hub().broker
    assert isinstance(broker, RedisBroker)
    send, flying, may_land = broker.pipeline._send, threading.Event(), threading.Event()
    batches: list[int] = []

    def slow(batch: list[Any]) -> None:
        batches.append(len(batch))
        flying.set()
        assert may_land.wait(PATIENCE)
        send(batch)

    monkeypatch.setattr(broker.pipeline, "_send", slow)
    channels = [broker.open(name) for name in "rs"]
    given: list[list[int]] = []

    def publish(number: int) -> None:
        answer = channels[number % 2].publish(say("a", "b", user=number))
        given.append([position.offset for position in answer])

    class Nobody:
        gate = None

    for channel in channels:
        channel._outlet = Nobody()
    first = run(lambda: publish(0))
    assert flying.wait(PATIENCE)
    others = run(*[lambda number=number: publish(number) for number in range(1, 10)])
    until(lambda: len(broker.pipeline._waiting) == 9, "all others wait")
    may_land.set()
    join(first + others)
    assert batches == [1, 9], "who found no pipeline in flight was alone; the others went together"
    assert sorted(given) == sorted([[i, i + 1] for i in range(1, 11, 2)] * 2), "five publications a room"


def test_a_key_says_it_once_whatever_the_node(cluster: Cluster) -> None:
    rooms = [cluster.hub().room("r") for _ in range(2)]
    places = [room.message(1, "hi", key="k") for room in rooms for _ in range(2)]
    assert {place.offset for place in places if place} == {1}
    assert [position.offset for position in rooms[0].publish(say("a", "b", user=1, key="again"))] == [2, 2]
    assert rooms[1].message(2, "hi", key="k") == (3, rooms[1].history().head.epoch), "each user's own"
    assert rooms[1].message("1", "hi", key="k") == (4, rooms[1].history().head.epoch), '1 is not "1"'
    with cluster.server.client() as client:
        lives = [client.pttl(key) for key in cluster.stored() if ":key:" in key]
    assert len(lives) == 4
    assert all(0 < life <= 300_000 for life in lives)


def test_who_comes_to_a_node_later_has_the_log_there(cluster: Cluster) -> None:
    old = cluster.hub().room("r")
    old.publish(say(*"abcdef"))
    epoch = old.history().head.epoch
    new = cluster.hub().room("r")
    assert (new.fanout.head, new.count()) == (Position(6, epoch), 6)
    stream = EventStream()
    subscription = new.subscribe(stream, events_of, since=Position(4, epoch), name="test")
    subscription.start()
    assert subscription.recovered
    assert [event.message for event in take(stream, 2)] == ["e", "f"]


def test_history_is_the_clusters(cluster: Cluster) -> None:
    room, other = (cluster.hub(history_size=5).room("r") for _ in range(2))
    room.publish(say(*"abcdefgh"))
    epoch = room.history().head.epoch

    def texts(*arguments: Any) -> str:
        return "".join(item.event.message for item in other.history(*arguments).records)

    assert other.history().head == Position(8, epoch)
    assert texts() == "defgh"
    assert texts(None, 2) == "gh"
    assert texts(None, 2, True) == "hg"
    assert texts(Position(4, epoch), 2) == "ef"
    assert texts(Position(3, epoch)) == "defgh"
    assert texts(Position(6, epoch), 10, True) == "ed"
    assert texts(Position(9, epoch), 1, True) == "h"
    assert texts(Position(8, epoch)) == texts(Position(1, epoch), 10, True) == ""
    assert texts(Position(0, epoch), 10, True) == ""
    for since in (Position(2, epoch), Position(9, epoch), Position(5, "another")):
        assert refused(lambda since=since: other.history(since)) is ErrorCode.UNRECOVERABLE_POSITION
    assert refused(lambda: other.history(Position(10, epoch), 1, True)) is ErrorCode.UNRECOVERABLE_POSITION


def test_a_page_of_history_is_bounded_in_bytes(cluster: Cluster) -> None:
    room = cluster.hub().room("r")
    for number in range(4):
        room.message(1, str(number) * 200_000)
    assert [item.event.id for item in room.history().records] == [3, 4]
    assert [item.event.id for item in room.history(None, 10, True).records] == [4, 3]
    room.message(1, "x" * 600_000)
    assert [item.event.id for item in room.history().records] == [5]


def test_what_is_too_old_goes_with_the_next_event(cluster: Cluster) -> None:
    room = cluster.hub(history_age=0.001).room("r")
    room.publish(say(*"abc"))
    with cluster.server.client() as client:
        log = f"{cluster.prefix}:{{r}}:log"
        newest = client.xrevrange(log, count=1)[0][0].decode()
        until(
            lambda: client.time()[0] * 1000 + client.time()[1] // 1000 > int(newest[2:15]) + 1, "time goes on"
        )
        room.message(1, "new")
        assert client.xlen(log) == 1
    epoch = room.history().head.epoch
    assert [item.event.id for item in room.history().records] == [4]
    assert refused(lambda: room.history(Position(1, epoch))) is ErrorCode.UNRECOVERABLE_POSITION


def test_names_that_would_break_a_hash_tag_do_not(cluster: Cluster) -> None:
    hub = cluster.hub()
    names = ["}", "{", "a}b", "a%7Db", "{}", "Zürich 🙂"]
    for name in names:
        hub.room(name).message(1, name)
    assert {room.name for room in hub.list_rooms().rooms} == set(names)
    assert [hub.room(name).history().records[0].event.message for name in names] == names
    for name in names:
        keys = broker_of(hub).names.room(name).keys
        assert len({key_slot(key.encode()) for key in keys}) == 1


# -- people in rooms ---------------------------------------------------------------------------------


def test_one_person_on_two_nodes_comes_once_and_leaves_once(cluster: Cluster) -> None:
    first, second = cluster.hub().room("r"), cluster.hub().room("r")
    watching = second.add(9, "w", nickname="watcher")
    first.enter(1, "a", "ann")
    second.enter(1, "b", "ann")
    expected = [Occupant(1, "ann", frozenset("ab")), Occupant(9, "watcher", frozenset("w"))]
    assert first.who() == second.who() == expected
    first.leave(1, "a")
    second.leave(1, "b")
    kinds = [(event.type, event.session) for event in take(watching, 5)]
    assert kinds == [(JOIN, "w"), (JOIN, "a"), (ADD, "b"), (REMOVE, "a"), (LEAVE, "b")]
    assert [occupant.user for occupant in first.who()] == [9]
    assert refused(lambda: first.leave(1, "a")) is ErrorCode.UNKNOWN_ROOM
    assert refused(lambda: second.enter(9, "w", "watcher")) is ErrorCode.ALREADY


def test_a_new_name_and_what_one_says_of_oneself_are_known_everywhere(cluster: Cluster) -> None:
    first, second = cluster.hub().room("r"), cluster.hub().room("r")
    stream = second.add("ü\x1f", "s", nickname="old")
    first.enter(1, "a", "ann", "from Ulm")
    second.rename("ü\x1f", 'new "name"', "two\nlines")
    second.rename("nobody", "x")
    assert first.who() == [
        Occupant("ü\x1f", 'new "name"', frozenset("s"), "two\nlines"),
        Occupant(1, "ann", frozenset("a"), "from Ulm"),
    ] or first.who() == [
        Occupant(1, "ann", frozenset("a"), "from Ulm"),
        Occupant("ü\x1f", 'new "name"', frozenset("s"), "two\nlines"),
    ]
    second.rename("ü\x1f", 'new "name"', "more")
    second.leave("ü\x1f", "s")
    renamed, left = take(stream, 4)[2:]
    assert (renamed.type, renamed.user, renamed.nickname, renamed.was) == (
        RENAME,
        "ü\x1f",
        'new "name"',
        "old",
    )
    assert (left.type, left.nickname) == (LEAVE, 'new "name"')


def test_crowds_are_counted_over_all_nodes(cluster: Cluster) -> None:
    rooms = [cluster.hub(hub_options={"announce_limit": 2}).room("r") for _ in range(2)]
    for user, room in enumerate([*rooms, *rooms]):
        room.enter(user, "s", f"user {user}")
    for user, room in enumerate([*rooms, *rooms]):
        room.leave(user, "s")
    level(*rooms)
    kinds = [(item.event.type, item.event.user) for item in rooms[0].history().records]
    assert kinds == [(JOIN, 0), (JOIN, 1), (LEAVE, 2), (LEAVE, 3)]


def test_a_node_that_ends_takes_its_people_along_and_nothing_else(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    stream = second.room("r").add(2, "b", nickname="bob")
    ended = first.room("r").add(1, "a", nickname="ann")
    take(stream, 2)
    first.close()
    assert told(stream, 1) == [(LEAVE, "ann")]
    second.room("r").message(2, "still here")
    assert told(stream, 1) == [(MESSAGE, "still here")]
    assert [event.type for event in ended][-1] == "close", "here the room is over"
    with cluster.server.client() as client:
        assert client.zcard(f"{cluster.prefix}:nodes") == 1


# -- rooms -------------------------------------------------------------------------------------------


def test_rooms_of_all_nodes_are_known_on_each(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    assert refused(lambda: second.find("r")) is ErrorCode.UNKNOWN_ROOM
    first.room("r").enter(1, "a", "ann")
    second.room("s").publish(say("hi"))
    assert first.list_rooms().rooms == second.list_rooms().rooms == [("r", 1, 1), ("s", 0, 1)]
    assert second.find("r").who()[0].nickname == "ann"
    assert first.find("s").count() == 1


def test_a_room_that_redis_forgot_is_in_no_list(cluster: Cluster) -> None:
    hub = cluster.hub()
    hub.room("r").message(1, "hi")
    with cluster.server.client() as client:
        client.delete(f"{cluster.prefix}:{{r}}:meta")
        assert hub.list_rooms().rooms == []
        broker_of(hub).room_index.prune()
        assert client.zcard(f"{cluster.prefix}:rooms") == 0
    broker_of(hub).heartbeat.inspect()
    assert hub.list_rooms().rooms == [("r", 0, 0)], "a node that has it open says so"


def test_a_node_is_noted_in_the_rooms_that_it_has_open_and_no_others(cluster: Cluster) -> None:
    hub = cluster.hub()
    broker = broker_of(hub)
    mine = broker.names.rooms_of(broker.heartbeat.node)
    for name in ("closed", "open", "again"):
        hub.room(name)
    for name in ("closed", "again"):
        hub.close_room(name)
    until(lambda: [channel.room for channel in broker.open_rooms()] == ["open"], "they are over")
    hub.room("again")
    broker.heartbeat.inspect()
    with cluster.server.client() as client:
        assert client.smembers(mine) == {b"open", b"again"}


def test_a_closed_room_is_closed_on_every_node(cluster: Cluster) -> None:
    first, second = cluster.hub(), cluster.hub()
    here, there = first.room("r").add(1, "a"), second.room("r").add(2, "b")
    old = second.room("r")
    epoch = old.history().head.epoch
    first.close_room("r")
    assert [event.type for event in here][-1] == [event.type for event in there][-1] == "close"
    assert old.closed
    with pytest.raises(RoomClosed):
        old.publish(say("too late"))
    assert [position.offset for position in second.publish("r", say("anew"))] == [1]
    assert second.room("r").history().head.epoch != epoch
    old.leave(2, "b")
    assert second.room("r").who() == []


def test_a_room_lives_long_while_it_is_used_and_goes_when_it_is_not(cluster: Cluster) -> None:
    first, second = cluster.hub(room_ttl=60), cluster.hub(room_ttl=60)
    room = first.room("r")
    room.message(1, "hi")
    second.room("r")

    def lives() -> list[float]:
        with cluster.server.client() as client:
            return [client.pttl(key) / 1000 for key in cluster.stored() if "{r}" in key]

    def inspect() -> None:
        for hub in (first, second):
            broker_of(hub).heartbeat.inspect()

    stream = room.add(1, "a")
    inspect()
    inspect()
    assert all(IN_USE - 60 < life <= IN_USE for life in lives())
    assert len(lives()) == 5
    room.remove(1, "a")
    level(room, second.room("r"))
    inspect()
    inspect()
    assert all(0 < life <= 62 for life in lives())
    assert stream is not None


# -- people ------------------------------------------------------------------------------------------


def test_user_ids_and_the_resume_key_are_the_clusters(cluster: Cluster) -> None:
    brokers = [cluster.broker() for _ in range(3)]
    assert len({broker.resume_key for broker in brokers}) == 1
    barrier = threading.Barrier(6)
    ids: list[int] = []

    def take_ids(broker: RedisBroker) -> None:
        barrier.wait(PATIENCE)
        ids.extend([broker.new_user() for _ in range(50)])

    join(run(*[lambda broker=broker: take_ids(broker) for broker in brokers * 2]))
    assert sorted(ids) == list(range(1, 301))


def test_a_direct_message_reaches_every_session_on_every_node(cluster: Cluster) -> None:
    hubs = [cluster.hub() for _ in range(3)]
    sessions = [Someone(7), Someone(7), Someone(7)]
    for hub, session in zip((hubs[0], hubs[1], hubs[1]), sessions, strict=True):
        hub.arrive(session)
    hubs[2].direct(7, "from elsewhere", sender=3, nickname="ann")
    hubs[0].direct(7, "from here")
    until(lambda: all(len(session.got) == 2 for session in sessions), "all have both")
    assert sessions[2].got[0] == Direct(
        sender=3, to=7, nickname="ann", message="from elsewhere", time=sessions[2].got[0].time
    )


def test_a_direct_message_needs_somebody_who_takes_it(cluster: Cluster) -> None:
    here, there = cluster.hub(), cluster.hub()
    assert refused(lambda: here.direct(7, "hi")) is ErrorCode.NOT_AVAILABLE
    full = Someone(7, Answer.NO)
    there.arrive(full)
    assert refused(lambda: here.direct(7, "hi")) is ErrorCode.TOO_MANY_REQUESTS
    also_full = Someone(7, Answer.NO)
    here.arrive(also_full)
    assert refused(lambda: here.direct(7, "hi")) is ErrorCode.TOO_MANY_REQUESTS
    full.answer = Answer.HIGH
    here.direct(7, "hi")
    assert [direct.message for direct in full.got] == ["hi"]
    for hub, session in ((there, full), (here, also_full)):
        hub.depart(session)
        hub.depart(session)
    assert refused(lambda: here.direct(7, "hi")) is ErrorCode.NOT_AVAILABLE
    assert refused(lambda: here.direct("7", "hi")) is ErrorCode.NOT_AVAILABLE


def test_a_kick_ends_every_session_on_every_node(cluster: Cluster) -> None:
    here, there = cluster.hub(), cluster.hub()
    sessions = [Someone(7), Someone(7), Someone(7)]
    for hub, session in zip((here, there, there), sessions, strict=True):
        hub.arrive(session)
    assert here.disconnect(7, 3503) == 3
    assert [session.codes for session in sessions] == [[3503]] * 3
    assert here.disconnect(8) == 0


def test_a_whisper_reaches_members_on_other_nodes(cluster: Cluster) -> None:
    here, there = cluster.hub(), cluster.hub()
    heard: list[tuple[str, bytes, Any]] = []
    for hub in (here, there):
        hub.on_whisper(lambda room, frame, but: heard.append((room.name, frame, but)))
        hub.room("r")

    class Payload:
        frame = b"\x81\x05~a b\n"

    here.whisper(here.room("r"), Payload, [events_of], but=7)
    until(lambda: heard != [], "the other node heard")
    here.room("r").message(1, "behind it")
    level(here.room("r"), there.room("r"))
    assert heard == [("r", Payload.frame, 7)], "and nobody heard their own"


def test_drafts_without_a_user_have_none(cluster: Cluster) -> None:
    room = cluster.hub().room("r")
    room.publish([Draft(MESSAGE, None, "somebody", "a\nb")])
    event = room.history().records[0].event
    assert (event.user, event.nickname, event.message) == (None, "somebody", "a\nb")
