"""Tests of the Redis broker's parts that need no Redis."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from scripts.ports import free_port
from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.chat.helpers import PATIENCE, ids_of, join, records, run, say
from threadchat.broker.redis import RedisBroker, publish_pipeline
from threadchat.broker.redis.commands import NOTHING, Known, Retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.encoding import RoomMessage, body_of, entries, read_message, record_of
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.publish_pipeline import Publication, PublishPipeline
from threadchat.broker.redis.reorder_buffer import MAX_BUFFERED, DeliveryWaiter, ReorderBuffer
from threadchat.chat.broker_interface import Broker, Cluster
from threadchat.chat.log.events import Draft, Position, record
from threadchat.errors import CommandError, ConfigError, ErrorCode, RoomClosed

# -- the broker --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis:/x", "names no database"),
        ("redis://host:port", ""),
        ("redis://h/0?socket_timeout=soon", "socket_timeout"),
        ("redis://h/0?nonsense=1", "not one of redis-py's: .*nonsense"),
        ("redis://h/lobby", "'/lobby' names no database; it is a number"),
        ("redis://h/0?decode_responses=1", "decode_responses cannot be set"),
        ("rediss://h/0?protocol=3", "protocol cannot be set"),
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"broker: .*{reason}"):
        RedisBroker(url)


def test_it_is_what_the_hub_asks_for_and_starts_nothing_by_itself() -> None:
    before = threading.active_count()
    broker: Broker = RedisBroker("rediss://user:secret@127.0.0.1:1/0")
    assert isinstance(broker, Cluster)
    assert threading.active_count() == before
    broker.close()


# -- encoding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draft",
    [Draft("message", 1, "ann", "a\n\r\u2028b"), Draft("join", "ü", "", "", "s"), Draft("close")],
)
def test_an_event_comes_back_as_it_would_have_been_here(draft: Draft) -> None:
    expected = record(draft, 17, 'ro"om', 1_790_000_000)
    body = body_of(draft, 'ro"om')
    assert b"\n" not in body
    assert record_of(17, 1_790_000_000_999, body) == expected
    assert entries([(b"17-1790000000123000042", body)]) == [expected]
    message = read_message(b"abc 16 1790000000123000042 7\n" + body + b"\n" + body)
    assert message[:4] == ("abc", 16, "1790000000123000042", "7")
    assert message.records[1] == expected


def test_names_keep_a_rooms_keys_together() -> None:
    names = KeyNames("p")
    room = names.room("a}{%")
    assert room.channel == "p:{a%7D%7B%25}:events"
    assert all(key.startswith("p:{a%7D%7B%25}:") for key in room.keys)
    assert len({room.message_key(user, "k") for user in (1, "1", None, 2)}) == 4
    assert names.person(1) != names.person("1")


# -- what waits in the reorder buffer ------------------------------------------------------------------


def message(first: int, last: int, epoch: str = "e", stamp: str = "1", before: str = "1") -> RoomMessage:
    return RoomMessage(epoch, first, stamp, before, records(first, last))


def begun(head: int) -> ReorderBuffer:
    buffer = ReorderBuffer()
    assert buffer.begin(Known("e", head, "1"), []) == Position(head, "e")
    return buffer


def test_what_follows_is_held_in_order() -> None:
    buffer = begun(4)
    buffer.receive(message(5, 6))
    buffer.receive(message(7, 7))
    buffer.receive(message(6, 8))
    assert (len(buffer), buffer.newest.offset, buffer.delivered, buffer.hole) == (4, 8, 4, False)
    assert ids_of(buffer.take(3)) == [5, 6, 7]
    assert (buffer.newest, buffer.delivered) == (Known("e", 8, "1"), 7)
    assert ids_of(buffer.take(3)) == [8]
    assert buffer.take(1) == []


@pytest.mark.parametrize(
    "missed", [message(6, 6), message(5, 5, "another"), message(5, 5, before="2"), message(3, 4, stamp="2")]
)
def test_what_does_not_follow_is_a_hole(missed: RoomMessage) -> None:
    buffer = begun(4)
    buffer.receive(missed)
    assert buffer.hole
    assert len(buffer) == 0


def test_what_is_held_has_a_bound() -> None:
    buffer = begun(0)
    buffer.receive(message(1, MAX_BUFFERED))
    assert not buffer.hole
    buffer.receive(message(MAX_BUFFERED + 1, MAX_BUFFERED + 1))
    assert buffer.hole
    assert len(buffer) == MAX_BUFFERED


def test_a_log_begins_before_its_oldest_event() -> None:
    buffer = begun(99)
    assert buffer.begin(Known("new", 7, "1"), records(5, 7)) == Position(4, "new")
    assert ids_of(buffer.take(9)) == [5, 6, 7]


def test_each_publisher_is_woken_for_its_own() -> None:
    arrivals = DeliveryWaiter()
    waiting = {offset: arrivals.expect(offset) for offset in (9, 5, 7)}
    arrivals.arrived(7)
    assert waiting[5].acquire(blocking=False)
    assert waiting[7].acquire(blocking=False)
    assert not waiting[9].acquire(blocking=False)
    arrivals.arrived()
    assert waiting[9].acquire(blocking=False)


# -- publications that travel together ---------------------------------------------------------------


class Line:
    """A connection that answers as a room would, or fails."""

    script_context = "", "PUBLISH"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.closed = False
        self.sent = threading.Event()
        self.may_answer = threading.Event()

    def ask(self, *commands: Any, replicas: int = 0) -> list[Any]:
        self.batches.append(len(commands))
        self.sent.set()
        assert self.may_answer.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        drafts = [(len(command) - command.index("publish") - 13) // 2 for command in commands]
        return [[b"e", None if self.closed else list(range(1, count + 1))] for count in drafts]

    def count(self, name: str, by: int = 1) -> None:
        pass


def publications(number: int, text: str = "hi") -> list[Publication]:
    names = [KeyNames().room(f"room {i}") for i in range(number)]
    return [Publication(name, "r", say(text, text), NOTHING) for name in names]


def publish_together(line: Line, items: list[Publication]) -> list[Any]:
    """The first alone in flight, the others behind it; what became of each."""
    travelling = PublishPipeline(line, Retention(9, 9, 9, 9))  # type: ignore[arg-type]
    outcomes: list[Any] = []

    def publish(item: Publication) -> None:
        try:
            outcomes.append([position.offset for position in travelling.publish(item)])
        except (CommandError, RoomClosed) as error:
            outcomes.append(error)

    first = run(lambda: publish(items[0]))
    assert line.sent.wait(PATIENCE)
    others = run(*[lambda item=item: publish(item) for item in items[1:]])
    while len(travelling._waiting) < len(items) - 1:
        threading.Event().wait(0.001)
    line.may_answer.set()
    join(first + others)
    assert travelling._leader is None
    return outcomes


def test_those_who_wait_go_together_and_each_gets_its_own() -> None:
    line = Line()
    assert publish_together(line, publications(5)) == [[1, 2]] * 5
    assert line.batches == [1, 4]


def test_those_of_two_epochs_go_in_commands_of_their_own() -> None:
    """A deletion belongs to one epoch, and a number of one says nothing in another."""
    line = Line()
    names = KeyNames().room("r")
    alone = Publication(KeyNames().room("another"), "another", say("a", "b"), NOTHING)
    first = Publication(names, "r", say("a", "b"), Known("old", 50, "1"))
    second = Publication(names, "r", say("a", "b"), Known("new", 3, "2"))
    third = Publication(names, "r", say("a", "b"), Known("new", 4, "3"))
    sent: list[Any] = []
    ask = line.ask

    def note(*commands: Any, **options: Any) -> list[Any]:
        sent.extend(commands)
        return ask(*commands, **options)

    line.ask = note  # type: ignore[method-assign]
    assert sorted(publish_together(line, [alone, first, second, third])) == [[1, 2], [1, 2], [1, 2], [3, 4]]
    knowledge = [command[command.index("publish") + 7 :][:3] for command in sent[1:]]
    assert sorted(knowledge) == [("new", 4, "3"), ("old", 50, "1")]


def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_pipeline, "MAX_BATCH", 2)
    line = Line()
    assert publish_together(line, publications(6)) == [[1, 2]] * 6
    assert line.batches == [1, 2, 2, 1]
    monkeypatch.setattr(publish_pipeline, "MAX_BATCH_BYTES", 10)
    line = Line()
    assert publish_together(line, publications(3, "x" * 1000)) == [[1, 2]] * 3
    assert line.batches == [1, 1, 1], "what is too large goes alone"


def test_a_failure_is_everybodys_and_nobody_waits_for_good() -> None:
    line = Line()
    line.failure = CommandError(ErrorCode.INTERNAL, "away")
    outcomes = publish_together(line, publications(4))
    assert [(error.code, error.reason) for error in outcomes] == [(ErrorCode.INTERNAL, "away")] * 4
    assert len(set(map(id, outcomes))) == 4, "each has an exception of its own"


def test_an_error_in_this_package_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    line.failure = ZeroDivisionError("a mistake")
    outcomes = publish_together(line, publications(2))
    assert [error.code for error in outcomes] == [ErrorCode.INTERNAL] * 2
    assert "publishing failed" in caplog.text


def test_a_closed_room_refuses_its_own_publications() -> None:
    line = Line()
    line.closed = True
    assert [str(error) for error in publish_together(line, publications(2))] == ["room r is closed"] * 2


def test_the_program_learns_where_redis_is_and_clients_do_not() -> None:
    address = f"127.0.0.1:{free_port()}"  # where nothing listens
    connection = RedisConnection(f"redis://:secret@{address}/0")
    with pytest.raises(CommandError) as away:
        connection.ask(("PING",))
    with pytest.raises(CommandError) as failed:
        connection.execute(("PING",))
    connection.close()
    assert f"Redis at {address} does not answer" in str(away.value)
    assert address in str(failed.value)
    assert away.value.reason == "the message store is away, try again later"
    assert failed.value.reason == "the message store failed, try again later"
    assert "secret" not in f"{away.value} {failed.value}"
