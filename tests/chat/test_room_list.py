"""Covers chat/room_list.py: who makes the list of rooms, and for how long it serves others."""

from __future__ import annotations

import threading

import pytest

from tests.chat.helpers import Clock, join, run
from tests.wire.helpers import PATIENCE
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.broker_interface import RoomInfo
from threadchat.chat.hub import Hub
from threadchat.chat.room_list import SHORT, RoomList, RoomListing
from threadchat.server.protocol.commands import Rooms
from threadchat.server.session import queries

LONG = [RoomInfo(f"room {number}", 0, 0) for number in range(SHORT + 1)]


class Maker:
    """Makes a list in half a second of the fake clock, and waits for the test where it is told to."""

    def __init__(self, clock: Clock, rooms: list[RoomInfo]) -> None:
        self.clock, self.rooms, self.made = clock, rooms, 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def __call__(self) -> list[RoomInfo]:
        self.made += 1
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        self.clock.advance(0.5)
        return self.rooms


def test_a_long_list_is_made_once_for_all_who_ask() -> None:
    clock = Clock()
    maker = Maker(clock, LONG)
    maker.may_end.clear()
    room_list = RoomList(maker, clock)
    got: list[RoomListing] = []
    threads = run(lambda: got.append(room_list.get()))
    assert maker.begun.wait(PATIENCE)
    threads += run(*[lambda: got.append(room_list.get())] * 5)
    maker.may_end.set()
    join(threads)
    assert maker.made == 1
    assert [listing.rooms for listing in got] == [LONG] * 6
    clock.advance(4.9)
    room_list.get()
    assert maker.made == 1, "half a second of work serves five"
    clock.advance(0.2)
    room_list.get()
    assert maker.made == 2


def test_a_short_list_is_made_for_everybody_who_asks_after_it() -> None:
    clock = Clock()
    maker = Maker(clock, LONG[:SHORT])
    room_list = RoomList(maker, clock)
    for number in range(1, 4):
        clock.advance(0.001)
        assert room_list.get().rooms == LONG[:SHORT]
        assert maker.made == number


def test_who_cannot_make_the_list_does_not_stop_the_next() -> None:
    clock = Clock()
    fails = [True]

    def make() -> list[RoomInfo]:
        if fails.pop():
            fails.append(False)
            raise OSError("not now")
        return LONG

    room_list = RoomList(make, clock)
    with pytest.raises(OSError, match="not now"):
        room_list.get()
    assert room_list.get().rooms == LONG


def test_the_reply_is_made_once_a_list_but_for_who_sees_a_part() -> None:
    hub = Hub(MemoryBroker())
    for number in range(SHORT + 1):
        hub.room(f"room {number}")
    listing = hub.list_rooms()
    listing.reply = {"rooms": ["as it was made"]}
    hub._list._stale_at = float("inf")
    assert queries.rooms(hub, Rooms()) == {"rooms": ["as it was made"]}
    assert len(queries.rooms(hub, Rooms(prefix="room 1"))["rooms"]) == 11
    assert len(queries.rooms(hub, Rooms(), lambda room: room == "room 7")["rooms"]) == 1
    assert queries.rooms(hub, Rooms()) == {"rooms": ["as it was made"]}
    hub.close()
