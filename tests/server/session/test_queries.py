"""Tests of what may be asked about rooms: count, history, who, rooms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Json, World, history_of, worlds
from threadchat.server.protocol.commands import MAX_LISTED


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def ids(messages: list[Json]) -> list[int]:
    return [message["id"] for message in messages]


def test_count_counts_what_passes_the_filter(world: World) -> None:
    ann, bob = world.join("ann", "r"), world.join("bob", "r")
    ann.ask("message", room="r", message="hi")
    assert bob.ask("count", room="r")["count"] == 3
    assert bob.ask("count", room="r", types=["message"])["count"] == 1
    assert bob.ask("count", room="r", users=[2])["count"] == 1
    assert bob.ask("count", room="r", types=["join"], users=[1])["count"] == 1
    assert bob.ask("count", room="r", types=[])["count"] == 0
    assert bob.refused("count", room="unknown") == 102


def test_history_gives_the_newest_ascending(world: World) -> None:
    bob, epoch = history_of(world, 150)
    page = bob.ask("history", room="lobby")
    assert ids(page["events"]) == list(range(51, 151))
    assert (page["offset"], page["epoch"]) == (150, epoch)
    assert ids(bob.ask("history", room="lobby", limit=2)["events"]) == [149, 150]
    assert ids(bob.ask("history", room="lobby", limit=1000)["events"]) == list(range(1, 151))
    assert ids(bob.ask("history", room="lobby", limit=2, reverse=True)["events"]) == [150, 149]


def test_history_goes_on_from_a_position_both_ways(world: World) -> None:
    bob, epoch = history_of(world, 20)
    since = {"offset": 10, "epoch": epoch}
    page = bob.ask("history", room="lobby", since=since, limit=3)
    assert (ids(page["events"]), page["offset"]) == ([11, 12, 13], 20)
    assert ids(bob.ask("history", room="lobby", since=since, limit=3, reverse=True)["events"]) == [9, 8, 7]
    head = {"offset": 20, "epoch": epoch}
    assert bob.ask("history", room="lobby", since=head)["events"] == []


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30, 1.5, "1", None])
def test_a_limit_out_of_range_is_refused(world: World, limit: Any) -> None:
    assert world.join("ann", "r").refused("history", room="r", limit=limit) == 107


def test_history_is_bounded_in_bytes(world: World) -> None:
    ann = world.enter("ann")
    for _ in range(4):
        ann.ask("message", room="r", message="x" * 200_000)
    assert ids(ann.ask("history", room="r")["events"]) == [3, 4]
    assert ids(ann.ask("history", room="r", reverse=True)["events"]) == [4, 3]


def test_history_out_of_reach_is_unrecoverable() -> None:
    with World(history_size=10) as world:
        bob, epoch = history_of(world, 30)
        assert bob.refused("history", room="lobby", since={"offset": 19, "epoch": epoch}) == 112
        assert ids(bob.ask("history", room="lobby", since={"offset": 20, "epoch": epoch})["events"])[0] == 21
        assert bob.refused("history", room="lobby", since={"offset": 25, "epoch": "another"}) == 112
        assert bob.refused("history", room="unknown") == 102


def test_who_and_rooms_count_people_and_their_sessions(world: World) -> None:
    ann, bob = world.join("ann", "r", "s"), world.join("bob", "r")
    again = world.connect()
    again.ask("hello", resume=ann.welcome["resume"])
    again.ask("join", room="r")
    users = bob.ask("who", room="r")["users"]
    assert users == [
        {"id": 1, "nickname": "ann", "sessions": 2},
        {"id": 2, "nickname": "bob", "sessions": 1},
    ]
    assert bob.ask("rooms")["rooms"] == [
        {"name": "r", "people": 2, "offset": 3},
        {"name": "s", "people": 1, "offset": 1},
    ]
    assert bob.refused("who", room="unknown") == 102


def test_what_people_say_of_themselves_is_known_of_those_on_other_nodes_too(world: World) -> None:
    ann = world.join("ann", "r")
    ann.ask("profile", nickname="ann", about="from here")
    world.hub.room("r").enter(99, "s", "eve", "from elsewhere")  # no session of hers is here
    users = ann.ask("who", room="r")["users"]
    world.hub.room("r").leave(99, "s")
    assert [(user["nickname"], user["about"]) for user in users] == [
        ("ann", "from here"),
        ("eve", "from elsewhere"),
    ]


def names(reply: Json) -> list[str]:
    return [room["name"] for room in reply["rooms"]]


def test_many_rooms_are_answered_with_the_fullest_and_that_there_are_more(world: World) -> None:
    ann = world.join("ann", "b-lobby")
    for number in range(MAX_LISTED - 1):
        world.hub.room(f"room {number:04}")
    whole = ann.ask("rooms")
    assert len(whole["rooms"]) == MAX_LISTED
    assert "more" not in whole
    world.hub.room("z-lobby").enter(8, "s", "bob")
    world.hub.room("z-lobby").enter(9, "s", "cid")
    part = ann.ask("rooms")
    assert part["more"] is True
    assert len(part["rooms"]) == MAX_LISTED
    assert names(part)[:3] == ["z-lobby", "b-lobby", "room 0000"]
    assert names(part)[-1] == "room 0997"
    for user in (8, 9):
        world.hub.room("z-lobby").leave(user, "s")


def test_rooms_are_found_by_how_their_names_begin(world: World) -> None:
    ann = world.join("ann", "a/1", "a/2", "b")
    assert names(ann.ask("rooms", prefix="a/")) == ["a/1", "a/2"]
    assert names(ann.ask("rooms", prefix="a/2")) == ["a/2"]
    assert names(ann.ask("rooms", prefix="A")) == []
    assert ann.refused("rooms", prefix="x" * 129) == 107
    assert ann.refused("rooms", prefix=7) == 107


def test_many_people_are_answered_part_by_part(world: World) -> None:
    ann = world.join("ann", "r")
    room = world.hub.room("r")
    users = [*range(-1200, 0), *range(2, 1100)]
    for user in reversed(users):
        room.enter(user, "s", "eve")
    found: list[int] = []
    reply = ann.ask("who", room="r")
    while True:
        part = [user["id"] for user in reply["users"]]
        found += part
        if "more" not in reply:
            break
        assert len(part) == MAX_LISTED
        reply = ann.ask("who", room="r", after=part[-1])
    assert found == sorted([1, *users])
    assert ann.ask("who", room="r", after=1099)["users"] == []
    for user in users:
        room.leave(user, "s")


def test_one_answer_is_bounded_in_bytes_too(world: World) -> None:
    ann = world.join("ann", "r")
    room = world.hub.room("r")
    for user in range(2, 1000):
        room.enter(user, "s", "eve", "\x01" * 1024)  # six bytes each, in JSON
    reply = ann.ask("who", room="r")
    assert reply["more"] is True
    assert 80 < len(reply["users"]) < 90
    for user in range(2, 1000):
        room.leave(user, "s")


def test_people_whom_an_application_calls_by_names_come_last(world: World) -> None:
    ann = world.join("ann", "r")
    room = world.hub.room("r")
    for user in ("zoe", "eve"):
        room.enter(user, "s", user)
    assert [user["id"] for user in ann.ask("who", room="r")["users"]] == [1, "eve", "zoe"]
    assert [user["id"] for user in ann.ask("who", room="r", after="eve")["users"]] == ["zoe"]
    for user in ("zoe", "eve"):
        room.leave(user, "s")


def test_ping_is_always_answered(world: World) -> None:
    ann = world.connect()
    assert ann.ask("ping") == {"type": "ok", "re": 1}
    ann.ask("hello")
    assert ann.ask("ping") == {"type": "ok", "re": 3}
