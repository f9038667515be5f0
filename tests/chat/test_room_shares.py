"""Tests of who created the open rooms: nobody has too many, and whose room goes for another one of theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chat.helpers import Clock, say
from tests.chat.test_hub import Schedule, make_hub
from threadchat.chat.hub import Hub
from threadchat.chat.room_shares import Opener, RoomShares
from threadchat.errors import CommandError

MOST = 20
EVE = (Opener("eve", 4, "all connections from 192.0.2.66 together", "rooms_per_address"),)
BOB = (Opener("bob", 100, "you", "half of rooms_per_address"),)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = make_hub(Schedule(Clock()), max_rooms=MOST, logs_bytes=1 << 20)
    yield hub
    hub.close()


def occupy(hub: Hub, openers: tuple[Opener, ...], *names: str) -> None:
    for name in names:
        hub.room(name, openers).enter(1, f"session in {name}", "ann")


def names(hub: Hub) -> set[str]:
    return {room.name for room in hub.rooms()}


def test_who_has_created_enough_is_refused_while_all_are_in_use(hub: Hub) -> None:
    occupy(hub, EVE, "a", "b", "c", "d")
    with pytest.raises(CommandError) as raised:
        hub.room("e", EVE)
    assert raised.value.temporary
    assert raised.value.reason == (
        "all connections from 192.0.2.66 together may have created at most 4 rooms in use (rooms_per_address)"
    )
    assert hub.room("a", EVE).people == 1
    hub.room("b").leave(1, "session in b")
    occupy(hub, EVE, "e")
    assert names(hub) == {"a", "c", "d", "e"}, "the empty one went"


def test_only_their_own_empty_rooms_go_for_it(hub: Hub) -> None:
    hub.publish("precious", say("hi"))
    for number in range(100):
        hub.publish(f"flood {number}", say("x"), EVE)
    assert len(names(hub)) == 5
    assert "precious" in names(hub)


def test_a_room_of_somebody_else_costs_nothing(hub: Hub) -> None:
    occupy(hub, (), *"abcdefgh")
    for name in "abcdefgh":
        hub.publish(name, say("x"), EVE)
    occupy(hub, EVE, "mine")


def test_nobody_has_more_than_what_is_left(hub: Hub) -> None:
    occupy(hub, BOB, *[f"r{number}" for number in range(MOST // 2)])
    with pytest.raises(CommandError, match="people who created fewer"):
        occupy(hub, BOB, "one more")
    occupy(hub, EVE, *[f"e{number}" for number in range(4)])
    occupy(hub, (), "the application's")
    hub.publish("r1", say("x"), BOB)


def test_an_empty_room_goes_for_one_beyond_the_half(hub: Hub) -> None:
    hub.publish("empty", say("x"))
    occupy(hub, BOB, *[f"r{number}" for number in range(MOST // 2 + 1)])
    assert "empty" not in names(hub)


def test_a_room_that_cannot_be_made_does_not_count(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hub.broker, "open", lambda name: 1 // 0)
        for number in range(9):
            with pytest.raises(ZeroDivisionError):
                hub.room(f"r{number}", EVE)
    occupy(hub, EVE, "a", "b", "c", "d")


def test_closed_rooms_do_not_count(hub: Hub) -> None:
    for _ in range(3):
        occupy(hub, EVE, "a", "b", "c", "d")
        for name in "abcd":
            hub.close_room(name)
    for number in range(20):
        occupy(hub, EVE, f"r{number}")
        hub.close_room(f"r{number}")


def test_counts() -> None:
    shares = RoomShares()
    assert (shares.full(EVE), shares.largest(EVE), shares.next_of(EVE[0])) == (None, 0, "")
    for name in "abcd":
        shares.add(name, EVE + BOB)
    assert shares.full(EVE + BOB) == EVE[0]
    assert [shares.next_of(EVE[0]) for _ in range(5)] == ["a", "b", "c", "d", "a"]
    shares.add("a", BOB)
    assert (shares.count(EVE[0]), shares.largest(EVE + BOB)) == (3, 4)
    for name in "abcdz":
        shares.remove(name)
    assert shares.by_opener() == []
