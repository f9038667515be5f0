"""Tests of the hub: rooms by name, people by id, listeners of everything, and the end of all that."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chat.helpers import (
    PATIENCE,
    Clock,
    Peer,
    RecordingSink,
    WithoutInbox,
    frames_of,
    ids_of,
    join,
    run,
    say,
)
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.eventlog.json_lines import JsonLines
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Direct, Draft, Event, Position, UserId, record
from threadchat.chat.room import Room
from threadchat.chat.routing import make_routing
from threadchat.errors import CloseCode, CommandError, ErrorCode, RoomClosed
from threadchat.wire.outbox import Answer
from threadchat.wire.turnstile import Turnstile


class Schedule:
    """Calls what is due, when the test lets time pass."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, action: Callable[[], None]) -> None:
        """See Schedule of the hub."""
        self._due.append((self.clock.now + seconds, action))

    def advance(self, seconds: float) -> None:
        """Lets time pass in one step."""
        self.clock.now += seconds
        due = [action for when, action in self._due if when <= self.clock.now]
        self._due = [item for item in self._due if item[0] > self.clock.now]
        for action in due:
            action()

    def __len__(self) -> int:
        return len(self._due)


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(Clock())


def make_hub(schedule: Schedule | None = None, routing: str = "directory", **options: Any) -> Hub:
    if schedule is not None:
        options["clock"] = schedule.clock
    return Hub(MemoryBroker(), routing=make_routing(routing, 1024, PATIENCE), schedule=schedule, **options)


@pytest.fixture(params=["directory", "router"])
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    hub = make_hub(routing=request.param)
    yield hub
    hub.close()


def speak(hub: Hub, name: str, *texts: str) -> list[int]:
    return [position.offset for position in hub.publish(name, say(*texts))]


def refused(action: Callable[[], object]) -> ErrorCode:
    with pytest.raises(CommandError) as raised:
        action()
    return raised.value.code


# -- rooms -------------------------------------------------------------------------------------------


def test_a_room_comes_with_its_first_use(hub: Hub) -> None:
    assert refused(lambda: hub.find("r")) is ErrorCode.UNKNOWN_ROOM
    room = hub.room("r")
    assert hub.room("r") is hub.find("r") is room
    assert speak(hub, "s", "hi") == [1]
    assert [room.name for room in hub.rooms()] == ["r", "s"]


def test_many_who_come_at_once_get_one_room(hub: Hub) -> None:
    barrier = threading.Barrier(8)
    rooms: list[Room] = []

    def come() -> None:
        barrier.wait(PATIENCE)
        rooms.append(hub.room("r"))

    join(run(*[come] * 8))
    assert set(rooms) == {hub.find("r")}


def test_a_room_has_one_timer_however_many_come_for_it_at_once() -> None:
    timers: list[float] = []
    hub = Hub(MemoryBroker(), schedule=lambda seconds, action: timers.append(seconds))
    barrier = threading.Barrier(8)

    def come() -> None:
        barrier.wait(PATIENCE)
        hub.room("r")

    join(run(*[come] * 8))
    assert len(timers) == 1


def test_a_message_is_deleted_for_those_who_come_later_and_told_to_those_who_are_there(hub: Hub) -> None:
    stream = hub.room("r").add("ann", "laptop")
    assert hub.publish("r", say("secret", "fine"))[-1].offset == 3
    assert hub.delete("r", 2, user=9, nickname="mod").offset == 4
    events = [event for _, event in zip(range(4), stream, strict=False)]
    assert [(event.type, event.message, event.target) for event in events] == [
        ("join", "", 0),
        ("message", "secret", 0),
        ("message", "fine", 0),
        ("delete", "", 2),
    ]
    late = [item.event for item in hub.room("r").history().records]
    assert [(event.message, event.deleted) for event in late] == [
        ("", False),
        ("", True),
        ("fine", False),
        ("", False),
    ]


@pytest.mark.parametrize(
    "event", [-1, 0, 1, 2, 4, 99], ids=["below", "none", "join", "twice", "delete", "future"]
)
def test_only_a_message_can_be_deleted_and_only_once(hub: Hub, event: int) -> None:
    hub.room("r").enter("ann", "laptop", "ann")
    hub.publish("r", say("secret", "fine"))
    hub.delete("r", 2)
    with pytest.raises(CommandError, match=f"event {event} of room r is not a message") as refused:
        hub.delete("r", event)
    assert refused.value.code == ErrorCode.BAD_REQUEST
    with pytest.raises(CommandError) as unknown:
        hub.delete("nowhere", 1)
    assert unknown.value.code == ErrorCode.UNKNOWN_ROOM


def test_a_deletion_is_for_the_log_in_which_the_message_was_read(hub: Hub) -> None:
    old = hub.publish("r", say("old", "older"))[0]
    hub.close_room("r")
    new = hub.publish("r", say("new"))[0]
    with pytest.raises(CommandError, match="event 1 was in an earlier log") as refused:
        hub.delete("r", 1, epoch=old.epoch)
    assert refused.value.code == ErrorCode.UNRECOVERABLE_POSITION
    assert [item.event.message for item in hub.room("r").history().records] == ["new"]
    assert hub.delete("r", 1, epoch=new.epoch) == Position(2, new.epoch)


def test_a_room_that_begins_anew_while_a_message_is_deleted_keeps_its_own(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was found; before its deletion is published, the room is closed and another one begins."""
    hub.publish("r", say("old"))

    publish = hub.publish

    def close_first(name: str, drafts: Sequence[Draft]) -> list[Position]:
        monkeypatch.undo()
        hub.close_room("r")
        publish("r", say("new"))
        return publish(name, drafts)

    monkeypatch.setattr(hub, "publish", close_first)
    with pytest.raises(CommandError) as refused:
        hub.delete("r", 1)
    assert refused.value.code == ErrorCode.UNRECOVERABLE_POSITION
    assert [item.event.message for item in hub.room("r").history().records] == ["new"]


def test_a_direct_message_that_fails_at_one_session_leaves_no_other_listed() -> None:
    hub, peer = make_hub(), Peer(Turnstile())

    class Healthy:
        user, about = 7, ""

        def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
            return peer.offer(frames_of([record(Draft("message"), 1, "r", 0)]), listed)

        def close(self, code: int) -> None:
            pytest.fail("nobody closes it")

    class Failing(Healthy):
        def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
            raise ValueError("cannot be encoded")

    hub.arrive(Healthy())
    hub.arrive(Failing())
    with pytest.raises(ValueError, match="cannot be encoded"):
        hub.direct(7, "hi")
    assert peer.offsets_up_to(1) == [1]
    peer.hang_up()


def test_the_router_announces_too() -> None:
    hub = make_hub(routing="router")
    threads: list[str] = []

    def encode(items: Any) -> list[int]:
        threads.append(threading.current_thread().name)
        return ids_of(items)

    sink = RecordingSink()
    room = hub.room("r")
    room.subscribe(sink, encode).start()
    room.enter(1, "a", "ann")
    assert sink.got == [1]
    assert threads == ["router"]
    assert hub.close(PATIENCE)


def test_a_closed_room_is_unknown_and_its_name_is_free(hub: Hub) -> None:
    room = hub.room("r")
    sink = RecordingSink()
    room.subscribe(sink, ids_of).start()
    speak(hub, "r", "hi")
    hub.close_room("r")
    assert sink.got == [1, 2]
    assert refused(lambda: hub.find("r")) is ErrorCode.UNKNOWN_ROOM
    assert refused(lambda: hub.close_room("r")) is ErrorCode.UNKNOWN_ROOM
    assert hub.rooms() == []
    assert speak(hub, "r", "anew") == [1]
    assert hub.find("r") is not room


def test_what_meets_a_room_that_just_went_is_done_in_a_new_one(hub: Hub) -> None:
    tried: list[Room] = []

    def action(room: Room) -> str:
        tried.append(room)
        if len(tried) < 3:
            room.close()  # as another thread might, between look-up and use
            raise RoomClosed("gone")
        return "done"

    assert hub.in_room("r", action) == "done"
    assert len(set(tried)) == 3


def test_a_refusal_of_an_open_room_is_not_tried_again(hub: Hub) -> None:
    def action(room: Room) -> None:
        raise RoomClosed("the router is closed")

    with pytest.raises(RoomClosed):
        hub.in_room("r", action)


def test_rooms_do_not_share_their_numbers(hub: Hub) -> None:
    assert [speak(hub, name, "hi") for name in "abab"] == [[1], [1], [2], [2]]


# -- forgetting --------------------------------------------------------------------------------------


def test_an_empty_room_is_forgotten_and_comes_back_with_a_new_epoch(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=300)
    (before,) = hub.publish("r", say("hi"))
    schedule.advance(299)
    assert hub.find("r")
    schedule.advance(1)
    assert refused(lambda: hub.find("r")) is ErrorCode.UNKNOWN_ROOM
    assert len(hub._rooms) == 0
    (after,) = hub.publish("r", say("hi"))
    assert after.offset == 1
    assert after.epoch != before.epoch
    hub.close()


def test_whatever_happens_in_a_room_keeps_it(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=300)
    speak(hub, "r", "one")
    schedule.advance(200)
    speak(hub, "r", "two")
    schedule.advance(100)
    assert hub.find("r").fanout.head.offset == 2
    schedule.advance(199)
    assert hub.find("r")
    schedule.advance(1)
    assert hub.rooms() == []
    hub.close()


@pytest.mark.parametrize("how", ["subscriber", "member"])
def test_whoever_is_in_a_room_keeps_it(schedule: Schedule, how: str) -> None:
    hub = make_hub(schedule, room_ttl=300)
    room = hub.room("r")
    subscription = room.subscribe(RecordingSink(), ids_of) if how == "subscriber" else None
    if how == "member":
        room.enter("ann", "laptop", "ann")
    for _ in range(5):
        schedule.advance(300)
    assert hub.find("r") is room
    if subscription is not None:
        subscription.stop()
    else:
        room.leave("ann", "laptop")
    schedule.advance(299)
    assert hub.find("r") is room
    schedule.advance(300)
    assert hub.rooms() == []
    hub.close()


def test_a_listener_of_everything_keeps_no_room(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=300)
    hub.attach_listener(lambda event: None)
    speak(hub, "r", "hi")
    schedule.advance(300)
    assert hub.rooms() == []
    hub.close()


def test_a_room_that_was_closed_leaves_nothing_behind(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=300)
    hub.room("r")
    hub.close_room("r")
    schedule.advance(300)
    assert len(hub._rooms) == 0
    assert len(schedule) == 0
    hub.close()


def test_the_end_of_a_former_room_does_not_take_its_successor(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=300)
    hub.room("r")
    hub.close_room("r")
    schedule.advance(150)
    successor = hub.room("r")
    schedule.advance(150)
    assert hub.find("r") is successor
    hub.close()


def test_publishers_and_forgetting_meet_without_a_loss(schedule: Schedule) -> None:
    hub = make_hub(schedule, room_ttl=0)
    seen: list[Event] = []
    hub.attach_listener(seen.append)
    places: list[tuple[str, int]] = []

    def talk() -> None:
        for i in range(300):
            (position,) = hub.publish("r", say(str(i)))
            places.append((position.epoch, position.offset))

    threads = run(talk, talk)
    while any(thread.is_alive() for thread in threads):
        schedule.advance(1)
    join(threads)
    assert len(set(places)) == 600, "no place was given twice"
    assert hub.close()
    assert len([event for event in seen if event.type == "message"]) == 600, "all of them were seen"


# -- people ------------------------------------------------------------------------------------------


class Someone(WithoutInbox):
    """A session that answers as it is told, and keeps what it got."""

    def __init__(self, user: UserId | None, about: str = "", answer: Answer = Answer.YES) -> None:
        self.user = user
        self.about = about
        self.address = ""
        self.answer = answer
        self.got: list[Direct] = []
        self.closed: list[int] = []
        self.told: list[str | None] = []
        self.evicted: list[tuple[str, str]] = []

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """See Session of the hub."""
        if self.answer is not Answer.NO:
            self.got.append(direct)
        return self.answer

    def close(self, code: int, reason: str | None = None) -> None:
        """See Session of the hub."""
        self.closed.append(code)
        self.told.append(reason)

    def evict(self, room: str, reason: str) -> bool:
        """See Session of the hub."""
        self.evicted.append((room, reason))
        return True


def test_one_is_online_from_the_first_session_to_the_last(hub: Hub) -> None:
    first, second = Someone(1), Someone(1)
    assert not hub.is_online(1)
    hub.arrive(first)
    hub.arrive(second)
    hub.depart(first)
    assert hub.is_online(1)
    hub.depart(first)
    assert hub.is_online(1)
    hub.depart(second)
    assert not hub.is_online(1)
    assert not hub._sessions


def test_who_never_arrived_may_depart(hub: Hub) -> None:
    hub.depart(Someone(None))
    hub.depart(Someone(1))


def test_a_direct_message_reaches_every_session(hub: Hub) -> None:
    sessions = [Someone(2), Someone(2), Someone(3)]
    for session in sessions:
        hub.arrive(session)
    hub.direct(2, "hi", sender=1, nickname="ann")
    assert [len(session.got) for session in sessions] == [1, 1, 0]
    (direct,) = sessions[0].got
    assert (direct.sender, direct.to, direct.nickname, direct.message) == (1, 2, "ann", "hi")
    assert direct.time > 0


def test_a_direct_message_needs_somebody_who_takes_it(hub: Hub) -> None:
    assert refused(lambda: hub.direct(2, "hi")) is ErrorCode.NOT_AVAILABLE
    full, high = Someone(2, answer=Answer.NO), Someone(2, answer=Answer.HIGH)
    hub.arrive(full)
    assert refused(lambda: hub.direct(2, "hi")) is ErrorCode.TOO_MANY_REQUESTS
    hub.arrive(high)
    hub.direct(2, "hi")
    assert len(high.got) == 1
    hub.depart(full)
    hub.depart(high)
    assert refused(lambda: hub.direct(2, "hi")) is ErrorCode.NOT_AVAILABLE


def test_a_kick_ends_every_session_of_one_person(hub: Hub) -> None:
    sessions = [Someone(1), Someone(1), Someone(2)]
    for session in sessions:
        hub.arrive(session)
    assert hub.disconnect(1) == 2
    assert [session.closed for session in sessions] == [[CloseCode.FORCE_DISCONNECT]] * 2 + [[]]
    assert hub.disconnect(2, CloseCode.EXPIRED) == 1
    assert sessions[2].closed == [3005]
    assert hub.disconnect(99) == 0


def test_a_ban_ends_what_it_concerns_and_nothing_else(hub: Hub) -> None:
    ann, second, bob, guest = Someone(1), Someone(1), Someone(2), Someone(None)
    for session, address in zip((ann, second, bob, guest), ("1", "2", "3", "3"), strict=True):
        session.address = f"192.0.2.{address}"
        hub.attend(session)
        if session.user is not None:
            hub.arrive(session)
    hub.sanctions.impose(Sanction(MUTE, 1))
    hub.sanctions.impose(Sanction(BAN, 1, "r", reason="spam"))
    assert ann.evicted == second.evicted == [("r", "you are banned from room r: spam")]
    hub.sanctions.impose(Sanction(BAN, "192.0.2.3"))
    assert bob.closed == guest.closed == [CloseCode.FORCE_DISCONNECT]
    assert guest.told == ["you are banned"]
    hub.depart(second)
    hub.sanctions.impose(Sanction(BAN, 1))
    assert ann.closed == [CloseCode.FORCE_DISCONNECT]
    assert (second.closed, bob.evicted) == ([], [])
    for session in (ann, bob, guest):
        hub.depart(session)
    hub.sanctions.impose(Sanction(BAN, "192.0.2.0/24"))
    assert len(ann.closed) == len(bob.closed) == len(guest.closed) == 1, "nobody is there any more"


def test_about_is_what_was_said_last(hub: Hub) -> None:
    assert hub.about(1) == ""
    for about in ("first", "second", ""):
        hub.arrive(Someone(1, about))
    assert hub.about(1) == "second"


def test_people_come_and_go_from_many_threads(hub: Hub) -> None:
    def visit() -> None:
        for _ in range(200):
            session = Someone(1)
            hub.arrive(session)
            hub.direct(1, "hi")
            hub.depart(session)

    join(run(*[visit] * 4))
    assert not hub._sessions


# -- listeners ---------------------------------------------------------------------------------------


def test_a_listener_sees_all_rooms_each_in_order(hub: Hub) -> None:
    speak(hub, "old", "before")
    seen: list[Event] = []
    hub.attach_listener(seen.append)

    def talk(name: str) -> Callable[[], object]:
        return lambda: [speak(hub, name, str(i)) for i in range(100)]

    join(run(talk("old"), talk("old"), talk("new"), talk("another")))
    assert hub.close()
    for name, first, last in (("old", 2, 202), ("new", 1, 101), ("another", 1, 101)):
        assert [event.id for event in seen if event.room == name] == list(range(first, last + 1))


def test_the_event_log_has_all_rooms_in_order(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    hub.attach_listener(JsonLines(str(path)))
    for i in range(50):
        speak(hub, "r", str(i))
        speak(hub, "s", str(i))
    assert hub.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for room in "rs":
        assert [line["id"] for line in lines if line["chatroomId"] == room] == list(range(1, 52))


def test_a_listener_sees_the_end_of_more_rooms_than_it_has_places() -> None:
    hub = make_hub(request_buffer=4, send_timeout=PATIENCE)
    seen: list[Event] = []
    hub.attach_listener(seen.append)
    for number in range(100):
        hub.room(str(number))
    assert hub.close()
    assert sorted(event.room for event in seen) == sorted(str(number) for number in range(100))


def test_listeners_fail_for_themselves_alone(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    hub.attach_listener(lambda event: 1 // 0)
    hub.attach_listener(seen.append)
    speak(hub, "r", "a", "b")
    assert hub.close()
    assert [event.id for event in seen] == [1, 2, 3]
    assert "a listener failed" in caplog.text


def test_a_listener_that_hangs_is_not_waited_for_and_said_so() -> None:
    hub = make_hub(send_timeout=0)
    go = threading.Event()
    hub.attach_listener(lambda event: go.wait(PATIENCE) and None)
    speak(hub, "r", "hi")
    assert not hub.close()
    go.set()


def test_a_closed_hub_takes_no_listener(hub: Hub) -> None:
    hub.close()
    with pytest.raises(RoomClosed):
        hub.attach_listener(lambda event: None)


def test_listeners_that_come_beside_the_end_end_too() -> None:
    for _ in range(20):
        hub = make_hub()
        started = threading.Barrier(2)

        def attach(hub: Hub = hub, started: threading.Barrier = started) -> None:
            started.wait(PATIENCE)
            try:
                hub.attach_listener(lambda event: None)
            except RoomClosed:
                pass

        threads = run(attach)
        started.wait(PATIENCE)
        hub.close()
        join(threads)


# -- the end -----------------------------------------------------------------------------------------


def test_a_closed_hub_has_no_rooms_and_makes_none(hub: Hub) -> None:
    room = hub.room("r")
    stream = EventStream()
    room.subscribe(stream, lambda records: tuple(item.event for item in records)).start()
    assert hub.close()
    assert [event.type for event in stream] == ["close"]
    assert hub.rooms() == []
    for name in ("r", "s"):
        with pytest.raises(RoomClosed):
            hub.room(name)
        with pytest.raises(RoomClosed):
            speak(hub, name, "hi")
    assert hub.close(), "a second time does no harm"


def test_a_hub_closes_while_many_publish(hub: Hub) -> None:
    seen: list[Event] = []
    hub.attach_listener(seen.append)
    started = threading.Barrier(5)
    accepted: list[tuple[str, int]] = []

    def talk(name: str) -> Callable[[], None]:
        def body() -> None:
            started.wait(PATIENCE)
            try:
                for i in range(1000):
                    accepted.extend((name, offset) for offset in speak(hub, name, str(i)))
            except RoomClosed:
                pass

        return body

    threads = run(talk("r"), talk("r"), talk("s"), talk("s"))
    started.wait(PATIENCE)
    assert hub.close()
    join(threads)
    said = {(event.room, event.id) for event in seen if event.type == "message"}
    assert said == set(accepted), "all that was acknowledged was seen, and nothing else"


def test_whoever_falls_behind_is_told_of(schedule: Schedule) -> None:
    counts: list[int] = []
    hub = make_hub(schedule, fell_behind=counts.append)
    slow, quick = RecordingSink(), RecordingSink()
    for sink in (slow, quick):
        hub.room("r").subscribe(sink, ids_of).start()
    speak(hub, "r", "a")
    assert counts == []
    slow.answer = Answer.NO
    speak(hub, "r", "b")
    slow.wait_for(lambda sink: sink.got == [1, 2])
    assert counts == [1]
    assert hub.close()
