"""Comings and goings push no messages out of a room's log, on every broker; those who listen hear of all."""

from __future__ import annotations

from itertools import islice

from tests.broker.brokers import Kind, Make
from threadchat.chat.comings import LEAST, SHARE, Comings
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import JOIN, LEAVE, MESSAGE, Draft, Event
from threadchat.chat.room import Room

SIZE = 256


def hub_over(make: Make) -> Hub:
    return Hub(make(history_size=SIZE), history_size=SIZE)


def say(room: Room, count: int) -> None:
    room.publish([Draft(MESSAGE, 7, "ann", str(number)) for number in range(count)])


def come_and_go(room: Room, times: int) -> None:
    for _ in range(times):
        room.enter(66, "s", "eve")
        room.leave(66, "s")


def types(room: Room) -> list[str]:
    return [event.type for event in room.history(None, SIZE)]


def test_one_strangers_joins_wipe_no_history(make: Make) -> None:
    hub = hub_over(make)
    room = hub.room("r")
    say(room, SIZE - LEAST)
    come_and_go(room, SIZE)
    assert types(room).count(MESSAGE) == SIZE - LEAST
    assert types(room).count(JOIN) == types(room).count(LEAVE) == LEAST // 2
    hub.close()


def test_who_listens_hears_of_all_of_them(make: Make) -> None:
    hub = hub_over(make)
    room = hub.room("r")
    stream = EventStream(1000, 60.0)
    room.subscribe(stream, events_of).start()
    come_and_go(room, LEAST)
    heard: list[Event] = list(islice(iter(stream), 2 * LEAST))
    assert [event.type for event in heard] == [JOIN, LEAVE] * LEAST
    assert [event.id for event in heard] == [*range(1, LEAST + 1), *[0] * LEAST]
    assert (heard[-1].user, heard[-1].nickname, heard[-1].session, heard[-1].room) == (66, "eve", "s", "r")
    assert heard[-1].time > 1_700_000_000
    hub.close()


def test_messages_make_room_for_more(make: Make) -> None:
    hub = hub_over(make)
    room = hub.room("r")
    come_and_go(room, LEAST)
    say(room, 4 * (SHARE - 1))
    come_and_go(room, LEAST)
    kept = [kind for kind in types(room) if kind != MESSAGE]
    assert len(kept) == LEAST + 4
    hub.close()


def test_a_room_that_is_opened_again_does_not_begin_anew(make: Make, kind: Kind) -> None:
    hub = hub_over(make)
    room = hub.room("r")
    say(room, 10)
    come_and_go(room, LEAST)
    assert room.retire(0.0)
    hub._rooms._expire(hub._rooms._slots["r"])
    again = hub.room("r")
    assert again is not room
    come_and_go(again, LEAST)
    if kind.lasting:
        assert len(types(again)) in (10 + LEAST, 10 + LEAST + 1)
    hub.close()


def test_a_library_s_room_keeps_all() -> None:
    room = Room("r", history_size=SIZE)
    come_and_go(room, 100)
    assert len(room.history(None, SIZE)) == 200


def test_the_share_of_a_log() -> None:
    comings = Comings(1024)
    kept = [comings.may_keep(head) for head in range(129)]
    assert kept == [True] * 128 + [False]
    assert not comings.may_keep(128 + 6)
    assert comings.may_keep(128 + 7)
    assert not comings.may_keep(128 + 8)
    assert comings.may_keep(10_000)
    assert not Comings(1024, 500, 128).may_keep(500)
    assert Comings(1024, 500, 127).may_keep(500)
    assert comings.may_keep(0), "a new log"
