"""Tests of how many rooms there may be: which one goes for another, who is refused, and what is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chat.helpers import Clock, join, run, say
from tests.chat.test_hub import Schedule, make_hub
from threadchat.broker.memory import MemoryBroker
from threadchat.chat import room_registry
from threadchat.chat.delivery.listener import ListenerThread
from threadchat.chat.hub import Hub
from threadchat.chat.room import Room
from threadchat.chat.room_registry import PROBES
from threadchat.errors import CommandError, ErrorCode

MOST = 3


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(Clock())


@pytest.fixture
def hub(schedule: Schedule) -> Iterator[Hub]:
    hub = make_hub(schedule, max_rooms=MOST, reserved=("/ws",))
    yield hub
    hub.close()


def occupy(hub: Hub, *names: str) -> None:
    for name in names:
        hub.room(name).enter(1, f"session in {name}", "ann")


def refused(hub: Hub, name: str) -> CommandError:
    with pytest.raises(CommandError) as raised:
        hub.room(name)
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    return raised.value


def names(hub: Hub) -> set[str]:
    return {room.name for room in hub.rooms()}


def test_one_room_more_is_refused_where_all_are_in_use(hub: Hub) -> None:
    occupy(hub, "a", "b", "c")
    error = refused(hub, "d")
    assert error.temporary
    assert "3 rooms are open and in use" in error.reason
    assert "max_rooms" in error.reason
    with pytest.raises(CommandError):
        hub.publish("d", say("hi"))
    assert hub.publish("a", say("hi"))[0].offset == 2, "those that are there go on"
    assert names(hub) == {"a", "b", "c"}


def test_there_is_room_again_once_somebody_left(hub: Hub) -> None:
    occupy(hub, "a", "b", "c")
    refused(hub, "d")
    hub.room("b").leave(1, "session in b")
    occupy(hub, "d")
    assert names(hub) == {"a", "c", "d"}


def test_the_empty_room_that_is_there_longest_goes_first(hub: Hub) -> None:
    for name in "abc":
        hub.publish(name, say("hi"))
    for name in "de":
        hub.publish(name, say("hi"))
    assert names(hub) == {"c", "d", "e"}


def test_rooms_that_nobody_is_in_lock_nobody_out(hub: Hub) -> None:
    for number in range(100):
        hub.publish(f"junk {number}", say("junk"))
    occupy(hub, "a", "b", "c")
    assert names(hub) == {"a", "b", "c"}


def test_who_only_listens_keeps_a_room(hub: Hub) -> None:
    occupy(hub, "a", "b")
    sink: Any = object()
    subscription = hub.room("c").subscribe(sink, lambda records: records)
    refused(hub, "d")
    hub.room("c").fanout.drop(subscription)
    assert hub.room("d")


def test_a_listener_of_all_rooms_hears_the_first_word_in_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else finds the room as soon as it can be found, and speaks, before its maker goes on."""
    hub = make_hub()
    said, heard = ["second"], list[str]()
    hub.attach_listener(lambda event: heard.append(event.message))

    def listen(room: Room, listener: ListenerThread) -> None:
        if (found := hub._rooms.get("r")) is not None:
            found.message("bob", "first")
            said.append("first")
        real(room, listener)

    real = room_registry._listen
    monkeypatch.setattr(room_registry, "_listen", listen)
    hub.room("r").message("ann", "second")
    hub.close()
    assert sorted(heard) == sorted(["", *said])


def test_a_listener_of_all_rooms_keeps_none(hub: Hub) -> None:
    hub.attach_listener(lambda event: None)
    for name in "abcdef":
        hub.publish(name, say("hi"))
    assert names(hub) == {"d", "e", "f"}


def test_reserved_rooms_are_always_there_and_do_not_count(hub: Hub) -> None:
    occupy(hub, "a", "b", "c")
    assert hub.publish("/ws", say("hi"))[0].offset == 1
    refused(hub, "d")
    hub.room("a").leave(1, "session in a")
    occupy(hub, "d")
    assert hub.publish("/ws", say("hi"))[0].offset == 2, "it is empty, and went for nobody"
    refused(hub, "e")


def test_a_room_that_was_closed_leaves_its_place(hub: Hub, schedule: Schedule) -> None:
    occupy(hub, "a", "b", "c")
    hub.close_room("a")
    occupy(hub, "d")
    refused(hub, "a")
    hub.close_room("d")
    occupy(hub, "d")
    assert names(hub) == {"b", "c", "d"}
    assert len(schedule) == MOST, "one timer for each place, however often rooms come and go"


def test_timers_are_as_many_as_places(hub: Hub, schedule: Schedule) -> None:
    for number in range(500):
        hub.publish(f"room {number}", say("hi"))
    assert len(schedule) == MOST
    schedule.advance(300)
    assert names(hub) == set()
    assert len(schedule) == 0
    hub.publish("again", say("hi"))
    assert len(schedule) == 1
    schedule.advance(300)
    assert len(hub._rooms) == len(schedule) == 0


def test_a_room_that_took_a_place_over_has_all_its_time(hub: Hub, schedule: Schedule) -> None:
    for name in "abc":
        hub.publish(name, say("hi"))
    schedule.advance(200)
    hub.publish("d", say("hi"))
    schedule.advance(100)
    assert names(hub) == {"d"}
    schedule.advance(199)
    assert names(hub) == {"d"}
    schedule.advance(1)
    assert names(hub) == set()


def test_a_timer_that_goes_off_between_two_rooms_is_set_again(
    hub: Hub, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        hub.publish(name, say("hi"))
    make = hub._rooms._make

    def slowly(name: str) -> Any:
        schedule.advance(300)  # the place is free, and its timer goes off
        return make(name)

    monkeypatch.setattr(hub._rooms, "_make", slowly)
    hub.publish("d", say("hi"))
    assert names(hub) == {"d"}
    assert len(schedule) == 1
    schedule.advance(300)
    assert len(hub._rooms) == len(schedule) == 0


def test_a_room_that_cannot_be_made_costs_no_place(
    hub: Hub, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        hub.publish(name, say("hi"))

    def fail(name: str) -> Any:
        raise OSError("a broker that is away")

    with monkeypatch.context() as patch:
        patch.setattr(hub._rooms, "_make", fail)
        with pytest.raises(OSError):
            hub.room("d")
    schedule.advance(300)
    assert len(hub._rooms) == len(schedule) == 0
    occupy(hub, "a", "b", "c")
    refused(hub, "d")


def test_whoever_asks_looks_at_a_few_rooms_only() -> None:
    hub = make_hub(max_rooms=PROBES * 3)
    for number in range(PROBES * 3 - 1):
        occupy(hub, str(number))
    hub.publish("empty", say("hi"))
    refused(hub, "more")
    refused(hub, "more")
    assert hub.room("more"), "the third looks at the rest"
    hub.close()


def test_many_at_once_are_no_more_than_there_may_be() -> None:
    hub = Hub(MemoryBroker(), max_rooms=8)
    barrier = threading.Barrier(16)
    codes: list[ErrorCode] = []

    def come(number: int) -> None:
        barrier.wait()
        try:
            hub.in_room(str(number), lambda room: room.enter(number, "a session", "ann"))
        except CommandError as error:
            codes.append(error.code)

    join(run(*[lambda number=number: come(number) for number in range(16)]))
    assert [room.people for room in hub.rooms()] == [1] * 8
    assert codes == [ErrorCode.LIMIT_EXCEEDED] * 8
    hub.close()
