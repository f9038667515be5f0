"""Tests of seats: joining, listening, positions, and what becomes of both when rooms go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Json, World, history_of, worlds
from threadchat.server import protocol


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def ids(messages: list[Json]) -> list[int]:
    return [message["id"] for message in messages]


def said(messages: list[Json]) -> list[str]:
    return [message["message"] for message in messages]


# -- join and subscribe ------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["join", "subscribe"])
@pytest.mark.parametrize("second", ["join", "subscribe"])
def test_a_second_subscription_of_a_room_is_refused(world: World, first: str, second: str) -> None:
    ann = world.enter("ann")
    assert ann.ask(first, room="lobby")["type"] == "ok"
    assert ann.refused(second, room="lobby") == 105
    assert ann.ask(second, room="another")["type"] == "ok"


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        (None, "leave", 102),
        (None, "unsubscribe", 102),
        (None, "typing", 102),
        ("subscribe", "leave", 102),
        ("subscribe", "typing", 102),
        ("join", "unsubscribe", 102),
    ],
)
def test_what_one_has_not_one_cannot_end(world: World, first: str | None, then: str, code: int) -> None:
    world.join("bob", "lobby")
    ann = world.enter("ann")
    if first:
        ann.ask(first, room="lobby")
    assert ann.refused(then, room="lobby") == code


@pytest.mark.parametrize(("begin", "end"), [("join", "leave"), ("subscribe", "unsubscribe")])
def test_one_may_come_back(world: World, begin: str, end: str) -> None:
    ann = world.enter("ann")
    for _ in range(3):
        assert ann.ask(begin, room="lobby")["type"] == "ok"
        assert ann.ask(end, room="lobby")["type"] == "ok"
    assert ann.refused(end, room="lobby") == 102


def test_who_listens_only_is_no_member_and_needs_no_name(world: World) -> None:
    bob = world.join("bob", "lobby")
    ann = world.connect()
    ann.ask("hello")
    assert ann.ask("subscribe", room="lobby")["offset"] == 1
    assert ann.next() == {"type": "live", "chatroomId": "lobby"}
    assert bob.unheard() == []
    assert bob.ask("who", room="lobby")["users"] == [{"id": 1, "nickname": "bob", "sessions": 1}]


@pytest.mark.parametrize("command", ["join", "subscribe"])
def test_filters_choose_by_type_and_user(world: World, command: str) -> None:
    bob, eve = world.join("bob", "lobby"), world.enter("eve")
    ann = world.enter("ann")
    ann.ask(command, room="lobby", types=["message"], users=[1])
    ann.unheard()
    eve.ask("message", room="lobby", message="from eve")
    eve.ask("join", room="lobby")
    bob.ask("message", room="lobby", message="from bob")
    assert said(ann.unheard()) == ["from bob"]


@pytest.mark.parametrize("command", ["join", "subscribe", "count"])
@pytest.mark.parametrize("types", [["nonsense"], ["message", ""], ["live"]])
def test_an_unknown_event_type_is_refused(world: World, command: str, types: list[str]) -> None:
    world.join("bob", "lobby")
    ann = world.enter("ann")
    assert ann.refused(command, room="lobby", types=types) == 107
    assert ann.refused("unsubscribe", room="lobby") == 102


def test_a_member_has_as_many_rooms_as_one_likes(world: World) -> None:
    ann = world.join("ann", *[f"room {i}" for i in range(50)])
    assert len(ann.ask("rooms")["rooms"]) == 50
    ann.leave()
    assert not any(room.who() for room in world.hub.rooms())


# -- since, recovered, live --------------------------------------------------------------------------


LIVE = {"type": "live", "chatroomId": "lobby"}


def test_subscribe_without_since_begins_now_and_says_so(world: World) -> None:
    history_of(world, 3)
    ann = world.enter("ann")
    reply = ann.ask("subscribe", room="lobby")
    assert set(reply) == {"type", "re", "offset", "epoch"}
    assert reply["offset"] == 3
    assert ann.unheard() == [LIVE]


def test_join_without_since_has_no_marker(world: World) -> None:
    history_of(world, 3)
    ann = world.enter("ann")
    reply = ann.ask("join", room="lobby")
    assert "recovered" not in reply
    assert ids(ann.unheard()) == [4]


@pytest.mark.parametrize("since", [0, 1, 39, 40])
def test_subscribe_since_replays_then_says_live_then_goes_on(world: World, since: int) -> None:
    bob, epoch = history_of(world, 40)
    ann = world.enter("ann")
    reply = ann.ask("subscribe", room="lobby", since={"offset": since, "epoch": epoch})
    assert (reply["offset"], reply["epoch"], reply["recovered"]) == (since, epoch, True)
    replayed = ann.take(40 - since)
    assert ids(replayed) == list(range(since + 1, 41))
    assert ann.next() == LIVE
    bob.ask("message", room="lobby", message="now")
    assert ids(ann.unheard()) == [41]


def test_join_since_replays_and_says_live_once(world: World) -> None:
    _, epoch = history_of(world, 40)
    ann = world.enter("ann")
    reply = ann.ask("join", room="lobby", since={"offset": 10, "epoch": epoch})
    assert (reply["offset"], reply["recovered"]) == (10, True)
    got = ann.take(32)
    got += ann.unheard()
    assert [message["id"] for message in got if message["type"] != "live"] == list(range(11, 42))
    assert got.count(LIVE) == 1
    assert got.index(LIVE) >= 30, "the marker follows all that was there when one came"


@pytest.mark.parametrize("command", ["join", "subscribe"])
@pytest.mark.parametrize(
    "since",
    [
        {"offset": 3, "epoch": "another"},
        {"offset": 3, "epoch": ""},
        {"offset": 51, "epoch": None},
        {"offset": 10**30, "epoch": None},
        {"offset": 9, "epoch": None},
        {"offset": 0, "epoch": None},
    ],
    ids=["another epoch", "no epoch", "future", "far future", "hole", "beginning"],
)
def test_a_position_out_of_reach_is_not_recovered_and_nothing_comes_in_part(
    command: str, since: Json
) -> None:
    with World(history_size=40) as world:
        bob, epoch = history_of(world, 50)
        since = {"offset": since["offset"], "epoch": epoch if since["epoch"] is None else since["epoch"]}
        ann = world.enter("ann")
        reply = ann.ask(command, room="lobby", since=since)
        assert (reply["offset"], reply["epoch"], reply["recovered"]) == (50, epoch, False)
        bob.ask("message", room="lobby", message="now")
        got = ann.unheard()
        assert got[0] == LIVE
        assert ids(got[1:]) == ([51, 52] if command == "join" else [51])


@pytest.mark.parametrize("command", ["join", "subscribe", "history"])
@pytest.mark.parametrize(
    "since",
    [{}, {"offset": 1}, {"epoch": "e"}, {"offset": -1, "epoch": "e"}, {"offset": "1", "epoch": "e"}, 1],
)
def test_half_a_position_is_refused(world: World, command: str, since: Any) -> None:
    ann = world.join("ann", "lobby")
    assert ann.refused(command, room="lobby", since=since) == 107


def test_since_null_is_as_good_as_none(world: World) -> None:
    ann = world.enter("ann")
    assert "recovered" not in ann.ask("join", room="lobby", since=None)


def test_a_filter_holds_for_the_replay_too(world: World) -> None:
    bob, epoch = history_of(world, 30)
    bob.ask("join", room="lobby")
    ann = world.enter("ann")
    ann.ask("subscribe", room="lobby", types=["join"], since={"offset": 0, "epoch": epoch})
    assert ids(ann.take(1)) == [31]
    assert ann.next() == LIVE


# -- rooms come and go -------------------------------------------------------------------------------


def test_an_empty_room_goes_and_comes_back_with_a_new_epoch(world: World) -> None:
    ann = world.join("ann", "r")
    before = ann.ask("history", room="r")
    ann.ask("leave", room="r")
    world.advance(world.config.room_ttl)
    assert ann.refused("history", room="r") == 102
    assert ann.ask("rooms")["rooms"] == []
    reply = ann.ask("join", room="r", since={"offset": before["offset"], "epoch": before["epoch"]})
    assert (reply["offset"], reply["recovered"]) == (0, False)
    assert reply["epoch"] != before["epoch"]


def test_a_room_that_was_closed_can_be_joined_anew(world: World) -> None:
    ann = world.join("ann", "r")
    world.hub.close_room("r")
    assert ann.next()["type"] == "close"
    assert ann.refused("history", room="r") == 102
    assert ann.ask("join", room="r")["offset"] == 0
    assert ann.next()["type"] == "join"


# -- other nodes -------------------------------------------------------------------------------------


def test_what_is_typed_on_another_node_reaches_members_but_the_typist(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    typing = protocol.typing_text("lobby", 2, "bob")
    world.hub._pass_on("lobby", typing.frame, 2)
    assert {"type": "typing", "chatroomId": "lobby", "userId": 2, "from": "bob"} in ann.unheard()
    assert all(message["type"] != "typing" for message in bob.unheard())
