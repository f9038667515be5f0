"""`chat/room.py` as a library, its people, and its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.chat.helpers import (
    PATIENCE,
    Clock,
    RecordingSink,
    Watched,
    ids_of,
    join,
    producers,
    run,
    say,
    texts,
)
from tests.wire.helpers import short_of_threads
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Event, Position
from threadchat.chat.log.sequencer import KEY_TTL, Page, Sequencer
from threadchat.chat.room import Occupant, Room
from threadchat.errors import CommandError, ErrorCode, RoomClosed, SlowConsumer
from threadchat.wire.outbox import Answer


def code_of(function: Callable[..., object], *args: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(*args)
    return caught.value.code


def logged(room: Room) -> list[tuple[str, object, str]]:
    """All that happened: type, user, and session or text."""
    events = [item.event for item in room.history(limit=10_000).records]
    return [(event.type, event.user, event.session or event.message) for event in events]


class Slow(Sequencer):
    """Stops every publication of one type at a door, so that a test decides what happens meanwhile."""

    def __init__(self, stops: str) -> None:
        super().__init__("r")
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._stops = stops

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        if drafts[0].type == self._stops:
            self.arrived.release()
            assert self.go_on.wait(PATIENCE)
        return super().publish(drafts)


class Full(Sequencer):
    """Its log takes nothing, as on a full disk."""

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        raise CommandError(ErrorCode.INTERNAL, "the disk is full", temporary=True)


# -- as a library ------------------------------------------------------------------------------------


def test_the_example() -> None:
    room = Room("GoChat", request_buffer=1024, history_size=1024)
    seen: list[Event] = []
    listener = room.attach_listener(seen.append)
    stream = room.add("ann", "laptop")
    assert room.message("ann", "hello") == Position(2, room.fanout.head.epoch)
    room.remove("ann", "laptop")
    assert texts(stream)[:2] in (["join", "hello"], ["join"], [])  # it ends where it was left
    room.close()
    join([listener.thread])
    assert texts(seen) == ["join", "hello", "leave", "close"]
    assert [item.event for item in room.history().records] == seen
    assert [event.id for event in seen] == [1, 2, 3, 4]


def test_a_stream_has_its_own_coming_and_ends_with_the_room() -> None:
    room = Room("r")
    ann, bob = room.add("ann", "laptop"), room.add("bob", "phone", nickname="Bob")
    room.message("ann", "hello")
    room.message("bob", "hi", nickname="Bob")
    room.close()
    events = list(ann)
    assert texts(events) == ["join", "join", "hello", "hi", "close"]
    assert [event.nickname for event in events] == ["ann", "Bob", "ann", "Bob", ""]
    assert {event.room for event in events} == {"r"}
    assert texts(bob) == ["join", "hello", "hi", "close"]


def test_a_stream_may_be_read_from_any_thread() -> None:
    room = Room("r")
    stream = room.add("ann", "laptop")
    seen: list[str] = []
    threads = run(lambda: seen.extend(texts(stream)))
    for number in range(200):
        room.message("ann", str(number))
    room.close()
    join(threads)
    assert seen == ["join", *map(str, range(200)), "close"]


def test_a_key_says_it_once() -> None:
    clock = Clock()
    room = Room("r", clock=clock)
    first = room.message("ann", "hello", key="k")
    assert room.message("ann", "hello", key="k") == first
    assert room.message("bob", "hello", key="k") != first
    clock.now += KEY_TTL
    assert room.message("ann", "hello", key="k") == Position(3, room.fanout.head.epoch)


def test_history_and_count() -> None:
    room = Room("r", history_size=5)
    for number in range(8):
        room.message("ann" if number % 2 else "bob", str(number))
    page = room.history(limit=2)
    assert isinstance(page, Page)
    assert texts(item.event for item in page.records) == ["6", "7"]
    assert page.head == room.fanout.head
    assert texts(item.event for item in room.history(reverse=True, limit=2).records) == ["7", "6"]
    since = Position(4, page.head.epoch)
    assert ids_of(room.history(since).records) == [5, 6, 7, 8]
    assert code_of(room.history, Position(1, page.head.epoch)) == ErrorCode.UNRECOVERABLE_POSITION
    assert room.count() == 5
    assert room.count(Filter(users=["ann"])) == 3


def test_a_room_may_use_a_channel_of_somebody_else() -> None:
    channel = Sequencer("r")
    channel.publish(say("before"))
    room = Room("r", channel=channel)
    stream = room.add("ann", "laptop")
    room.close()
    assert [(event.id, event.type) for event in stream] == [(2, "join"), (3, "close")]


def test_repr() -> None:
    room = Room("r")
    room.add("ann", "laptop")
    assert repr(room) == "<Room r people=1 offset=1>"


# -- people ------------------------------------------------------------------------------------------


def test_comings_and_goings() -> None:
    room = Room("r")
    for session in ("1", "2", "3"):
        room.enter("ann", session, "Ann")
    for session in ("2", "1", "3"):
        room.leave("ann", session)
    assert logged(room) == [
        ("join", "ann", "1"),
        ("add", "ann", "2"),
        ("add", "ann", "3"),
        ("remove", "ann", "2"),
        ("remove", "ann", "1"),
        ("leave", "ann", "3"),
    ]
    assert room.who() == []


def test_who_has_and_rename() -> None:
    room = Room("r")
    room.enter(1, "a", "Ann")
    room.enter(1, "b", "Ann")
    room.enter(2, "c", "Bob")
    room.rename(1, "Anna")
    room.rename(3, "nobody")
    assert room.who() == [Occupant(1, "Anna", frozenset("ab")), Occupant(2, "Bob", frozenset("c"))]
    assert room.has(1, "a")
    assert not room.has(1, "c")
    assert not room.has(None, "a")
    assert not room.has(3, "a")
    room.leave(1, "a")
    last = room.history(limit=1).records[0].event
    assert (last.type, last.nickname) == ("remove", "Anna")


def test_a_new_nickname_is_told_and_the_same_one_is_not() -> None:
    room = Room("r", announce_limit=2)
    room.enter(1, "a", "Ann")
    room.rename(1, "Ann", "likes tea")
    room.rename(1, "Anna")
    room.rename(2, "nobody")
    events = [item.event for item in room.history().records]
    assert [(event.type, event.user, event.nickname, event.was) for event in events] == [
        ("join", 1, "Ann", ""),
        ("rename", 1, "Anna", "Ann"),
    ]
    room.enter(2, "b", "Bob")
    room.enter(3, "c", "Cid")
    room.rename(1, "Annie")
    assert room.history(limit=1)[0].type == "join", "in a crowd nobody is announced"


def test_a_session_enters_once_and_leaves_once() -> None:
    room = Room("r")
    stream = room.add("ann", "laptop")
    assert code_of(room.add, "ann", "laptop") == ErrorCode.ALREADY
    assert code_of(room.enter, "ann", "laptop", "Ann") == ErrorCode.ALREADY
    assert code_of(room.remove, "ann", "phone") == ErrorCode.UNKNOWN_ROOM
    assert code_of(room.remove, "bob", "laptop") == ErrorCode.UNKNOWN_ROOM
    assert code_of(room.leave, "bob", "laptop") == ErrorCode.UNKNOWN_ROOM
    room.message("ann", "still here")
    assert room.fanout._attended == 1, "what was refused listens no more"
    room.remove("ann", "laptop")
    assert code_of(room.remove, "ann", "laptop") == ErrorCode.UNKNOWN_ROOM
    assert room.fanout._attended == 0
    assert [kind for kind, *_ in logged(room)] == ["join", "message", "leave"]
    list(stream)


def test_one_who_was_removed_gets_nothing_more() -> None:
    room = Room("r")
    ann, bob = room.add("ann", "1"), room.add("bob", "1")
    assert texts([ann.get(PATIENCE), bob.get(PATIENCE)]) == ["join", "join"]  # type: ignore[list-item]
    assert texts([ann.get(PATIENCE)]) == ["join"]  # type: ignore[list-item]
    room.remove("ann", "1")
    room.message("bob", "is she gone?")
    assert list(ann) == []
    room.close()
    assert texts(bob) == ["leave", "is she gone?", "close"]


def test_a_closed_stream_leaves_its_owner_a_member() -> None:
    room = Room("r")
    room.add("ann", "1").close()
    assert room.has("ann", "1")
    room.message("bob", "hi")
    room.remove("ann", "1")
    assert [kind for kind, *_ in logged(room)] == ["join", "message", "leave"]


def test_a_decision_and_its_event_are_one_step() -> None:
    """A second session that enters while the first one's join is on its way is announced after it."""
    channel = Slow("join")
    room = Room("r", channel=channel)
    first = run(lambda: room.enter("ann", "1", "Ann"))
    assert channel.arrived.acquire(timeout=PATIENCE)
    room._announcing = Watching(room._announcing)  # type: ignore[assignment]
    second = run(lambda: room.enter("ann", "2", "Ann"))
    assert room._announcing.wanted.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]
    assert logged(room) == []
    channel.go_on.set()
    join(first + second)
    assert logged(room) == [("join", "ann", "1"), ("add", "ann", "2")]


def test_a_leave_waits_for_the_join_that_is_on_its_way() -> None:
    channel = Slow("join")
    room = Room("r", channel=channel)
    first = run(lambda: room.enter("ann", "1", "Ann"))
    assert channel.arrived.acquire(timeout=PATIENCE)
    room._announcing = Watching(room._announcing)  # type: ignore[assignment]
    second = run(lambda: room.leave("ann", "1"))
    assert room._announcing.wanted.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]
    channel.go_on.set()
    join(first + second)
    assert logged(room) == [("join", "ann", "1"), ("leave", "ann", "1")]


def test_nobody_who_only_speaks_or_looks_waits_for_an_announcement() -> None:
    channel = Slow("join")
    room = Room("r", channel=channel)
    threads = run(lambda: room.enter("ann", "1", "Ann"))
    assert channel.arrived.acquire(timeout=PATIENCE)
    assert room.message("bob", "hi") is not None
    assert [occupant.user for occupant in room.who()] == ["ann"]
    assert room.history().head.offset == 1
    sink = RecordingSink()
    room.subscribe(sink, ids_of).start()
    channel.go_on.set()
    join(threads)
    assert sink.got == [2]


class Watching:
    """A lock that tells when somebody comes for it."""

    def __init__(self, lock: threading.Lock) -> None:
        self.wanted = threading.Semaphore(0)
        self._lock = lock

    def __enter__(self) -> None:
        self.wanted.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("attempt", range(10))
def test_sessions_of_one_person_come_and_go_at_once(attempt: int) -> None:
    room, together = Room("r"), threading.Barrier(6)

    def come_and_go(session: str) -> None:
        together.wait(PATIENCE)
        for _ in range(10):
            room.enter("ann", session, "Ann")
            room.leave("ann", session)

    join(run(*(lambda session=session: come_and_go(session) for session in "abcdef")))
    here: set[str] = set()
    for kind, _, session in logged(room):
        if kind in ("join", "add"):
            assert kind == ("add" if here else "join")
            here.add(session)
        else:
            here.remove(session)
            assert kind == ("remove" if here else "leave")
    assert len(logged(room)) == 120
    assert room.who() == []


def test_one_session_that_two_threads_add_is_added_once() -> None:
    room, together = Room("r"), threading.Barrier(4)
    outcomes: list[object] = []

    def add() -> None:
        together.wait(PATIENCE)
        try:
            outcomes.append(room.add("ann", "1"))
        except CommandError as error:
            outcomes.append(error.code)

    join(run(*[add] * 4))
    assert outcomes.count(ErrorCode.ALREADY) == 3
    assert logged(room) == [("join", "ann", "1")]
    (stream,) = (outcome for outcome in outcomes if isinstance(outcome, EventStream))
    room.close()
    assert texts(stream) == ["join", "close"]


def test_above_the_limit_comings_and_goings_are_no_events() -> None:
    room = Room("r", announce_limit=3)
    for user in range(5):
        room.enter(user, "a", str(user))
    room.enter(0, "b", "0")
    assert logged(room) == [("join", user, "a") for user in range(3)]
    assert len(room.who()) == 5
    room.leave(0, "b")
    room.leave(4, "a")
    room.leave(3, "a")
    assert len(logged(room)) == 3
    room.leave(2, "a")
    assert logged(room)[3:] == [("leave", 2, "a")]


# -- the end -----------------------------------------------------------------------------------------


def test_a_closed_room() -> None:
    room = Room("r")
    stream = room.add("ann", "1")
    assert not room.closed
    room.close()
    room.close()
    assert room.closed
    assert room.message("ann", "anybody?") is None
    with pytest.raises(RoomClosed):
        room.publish(say("anybody?"))
    with pytest.raises(RoomClosed):
        room.try_publish(say("anybody?"))
    with pytest.raises(RoomClosed):
        room.add("bob", "1")
    with pytest.raises(RoomClosed):
        room.enter("bob", "1", "Bob")
    with pytest.raises(RoomClosed):
        room.subscribe(RecordingSink(), ids_of)
    with pytest.raises(RoomClosed):
        room.attach_listener(print)
    assert texts(stream) == ["join", "close"]
    assert texts(item.event for item in room.history().records) == ["join", "close"]
    assert not room.has("bob", "1")


def test_one_may_leave_a_closed_room(caplog: pytest.LogCaptureFixture) -> None:
    room = Room("r")
    room.add("ann", "1")
    room.close()
    with caplog.at_level(logging.INFO):
        room.remove("ann", "1")
    assert caplog.records == []
    assert room.who() == []
    assert code_of(room.remove, "ann", "1") == ErrorCode.UNKNOWN_ROOM


@pytest.mark.parametrize("attempt", range(20))
def test_closing_in_the_middle_of_everything(attempt: int) -> None:
    """Whatever was accepted is in the log before the close event; streams end with it, and only with it."""
    room, together = Room("r", send_timeout=PATIENCE), threading.Barrier(7)
    streams = [room.add(f"early{number}", "1") for number in range(2)]
    accepted: list[int] = []

    def publish() -> None:
        together.wait(PATIENCE)
        for _ in range(100):
            position = room.message("ann", "x")
            if position is None:
                return
            accepted.append(position.offset)

    def add(name: str) -> None:
        together.wait(PATIENCE)
        for number in range(20):
            try:
                streams.append(room.add(name, str(number)))
            except RoomClosed:
                return

    def close() -> None:
        together.wait(PATIENCE)
        room.close()

    threads = run(publish, publish, publish, lambda: add("bob"), lambda: add("eve"), close, close)
    join(threads)
    events = [item.event for item in room.history(limit=1000).records]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.id for event in events if event.type == "close"] == [len(events)]
    assert sorted(accepted) == [event.id for event in events if event.type == "message"]
    for stream in streams:
        got = list(stream)
        assert got == events[len(events) - len(got) :]
        assert got[-1].type == "close"


def test_closing_lets_publishers_at_the_gate_go() -> None:
    room = Room("r")
    sink = RecordingSink(Answer.HIGH)
    room.subscribe(sink, ids_of).start()
    room.message("ann", "a")
    answers: list[object] = []
    threads = run(lambda: answers.append(room.message("ann", "b")))
    (ticket,) = sink.line.given
    assert ticket.waiting.acquire(timeout=PATIENCE)
    room.close()
    assert sink.got == [1, 2], "the close event waits for nobody"
    ticket.let_pass()
    join(threads)
    assert answers == [None]


# -- slow streams, listeners -------------------------------------------------------------------------


def settle(stream: EventStream) -> None:
    """Takes one's own coming, and waits until the stream is live."""
    assert texts(stream.take(1, PATIENCE)) == ["join"]
    join(producers("r-1"))


def test_a_gate_may_be_handed_back_instead_of_waited_at() -> None:
    room = Room("r")
    sink = RecordingSink(Answer.HIGH)
    room.subscribe(sink, ids_of).start()
    room.message("ann", "a")
    gate = room.try_publish(say("b"))
    assert isinstance(gate, Gate)
    assert sink.got == [1]
    sink.line.given[0].let_pass()
    assert room.try_publish(say("b")) == [Position(2, room.fanout.head.epoch)]


def test_a_slow_stream_holds_publishers_until_its_consumer_takes() -> None:
    room = Room("r", request_buffer=8, send_timeout=PATIENCE)
    stream = room.add("ann", "1")
    settle(stream)
    for number in range(7):
        room.message("ann", str(number))
    stream._changed = condition = Watched(stream._changed._lock)  # type: ignore[attr-defined]
    threads = run(lambda: room.message("ann", "7"), lambda: room.message("ann", "8"))
    for _ in threads:
        assert condition.waiting.acquire(timeout=PATIENCE)
    assert room.fanout.head.offset == 8
    assert texts(stream.take(4)) == ["0", "1", "2", "3"]
    join(threads)
    room.close()
    assert sorted(texts(stream)) == ["4", "5", "6", "7", "8", "close"]


def test_a_slow_stream_ends_while_others_go_on() -> None:
    room = Room("r", request_buffer=8, send_timeout=0)
    slow = room.add("ann", "1")
    settle(slow)
    sink = RecordingSink()
    room.subscribe(sink, ids_of).start()
    for number in range(50):
        room.message("ann", str(number))
    assert sink.got == list(range(2, 52))
    assert texts(slow.take()) == [str(number) for number in range(7)], "what it had is given out"
    with pytest.raises(SlowConsumer):
        slow.take()
    assert room.fanout._attended == 1, "its subscription ended with it"


def test_a_stream_that_ended_may_still_be_removed() -> None:
    room = Room("r", request_buffer=8, send_timeout=0)
    slow = room.add("ann", "1")
    settle(slow)
    for number in range(50):
        room.message("ann", str(number))
    room.remove("ann", "1")
    assert room.who() == []


def test_a_small_buffer_holds_even_what_was_said_before_the_start() -> None:
    """A stream that is born behind gets steps larger than its buffer."""

    class Busy(Sequencer):
        def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
            if drafts[0].type == "join":
                super().publish(say(*["x"] * 100))
            return super().publish(drafts)

    room = Room("r", request_buffer=4, send_timeout=PATIENCE, channel=Busy("r"))
    stream = room.add("ann", "1")
    room.close()
    assert texts(stream) == [*["x"] * 100, "join", "close"]


def test_listeners_do_not_disturb_each_other(caplog: pytest.LogCaptureFixture) -> None:
    room = Room("r")
    seen: list[Event] = []

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    listeners = [room.attach_listener(fail), room.attach_listener(seen.append)]
    room.message("ann", "a")
    room.message("ann", "b")
    room.close()
    join([listener.thread for listener in listeners])
    assert texts(seen) == ["a", "b", "close"]
    assert len(caplog.records) == 3
    assert "ZeroDivisionError" in caplog.text
    assert {listener.thread.name for listener in listeners} == {"listener-r"}


def test_a_slow_listener_ends_and_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    room = Room("r", request_buffer=8, send_timeout=0, clock=clock)
    inside, go_on = threading.Event(), threading.Event()

    def wait(event: Event) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    listener = room.attach_listener(wait)
    room.message("ann", "first")
    assert inside.wait(PATIENCE)
    for number in range(20):
        assert room.message("ann", str(number)) is not None
    go_on.set()
    join([listener.thread])
    assert "listener-r ended: the stream's consumer did not keep up" in caplog.text
    clock.now += 300
    assert room.retire(300)


def test_closing_a_listeners_stream_ends_its_thread() -> None:
    room = Room("r")
    seen: list[Event] = []
    listener = room.attach_listener(seen.append)
    room.message("ann", "a")
    listener.stream.close()
    room.message("ann", "b")
    join([listener.thread])
    assert texts(seen) == ["a"]


# -- retiring ----------------------------------------------------------------------------------------


def test_a_room_retires_when_it_is_empty_and_idle() -> None:
    clock = Clock()
    room = Room("r", clock=clock)
    stream = room.add("ann", "1")
    clock.now += 1_000
    assert room.idle_for() == 0
    assert not room.retire(300)
    stream.close()
    clock.now += 1_000
    assert room.idle_for() == 0
    assert not room.retire(300), "a member is there"
    room.remove("ann", "1")
    clock.now += 299
    assert room.idle_for() == 299
    assert not room.retire(300)
    clock.now += 1
    assert room.retire(300)
    assert room.closed
    assert not room.retire(300)
    assert room.message("ann", "hi") is None
    with pytest.raises(RoomClosed):
        room.add("ann", "1")
    assert [kind for kind, *_ in logged(room)] == ["join", "leave"], "it was forgotten, not closed"


def test_a_listener_of_the_room_keeps_it() -> None:
    clock = Clock()
    room = Room("r", clock=clock)
    listener = room.attach_listener(lambda event: None)
    clock.now += 300
    assert not room.retire(300)
    listener.stream.close()
    clock.now += 300
    assert room.retire(300)


@pytest.mark.parametrize("attempt", range(20))
def test_one_enters_or_the_room_retires(attempt: int) -> None:
    clock, together = Clock(), threading.Barrier(2)
    room = Room("r", clock=clock)
    clock.now += 300
    outcomes: list[bool] = []

    def enter() -> None:
        together.wait(PATIENCE)
        try:
            room.enter("ann", "1", "Ann")
            outcomes.append(True)
        except RoomClosed:
            outcomes.append(False)

    def retire() -> None:
        together.wait(PATIENCE)
        outcomes.append(not room.retire(300))

    join(run(enter, retire))
    entered = room.has("ann", "1")
    assert outcomes == [entered, entered]


def test_who_comes_while_the_log_takes_nothing_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room("r", channel=Full("r"))
    room.enter("ann", "laptop", "ann")
    assert [occupant.user for occupant in room.who()] == ["ann"]
    room.leave("ann", "laptop")
    assert room.who() == []
    assert [record.message for record in caplog.records] == [
        "room r: join of ann is not announced: the disk is full",
        "room r: leave of ann is not announced: the disk is full",
    ]


def test_a_listener_whose_thread_cannot_start_listens_to_nothing() -> None:
    room = Room("r")
    heard: list[Event] = []
    with short_of_threads("listener-r"):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            room.attach_listener(heard.append)
        assert room.fanout._behind == set()
        listener = room.attach_listener(heard.append)
    room.message("ann", "a")
    room.close()
    join([listener.thread])
    assert [event.message for event in heard] == ["a", ""]
