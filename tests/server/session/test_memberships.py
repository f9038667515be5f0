"""Tests of memberships: joining, listening, positions, and what becomes of both when rooms go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chat.helpers import join, run
from tests.server.session_helpers import Json, Person, World, history_of, standstill, until, worlds
from tests.wire.helpers import PATIENCE
from threadchat.chat.room import Room
from threadchat.errors import CloseCode
from threadchat.server.protocol import encoding
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text
from threadchat.wire.turnstile import Turnstile


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
    typing = encoding.typing_text("lobby", 2, "bob")
    world.hub._pass_on("lobby", typing.frame, 2)
    assert {"type": "typing", "chatroomId": "lobby", "userId": 2, "from": "bob"} in ann.unheard()
    assert all(message["type"] != "typing" for message in bob.unheard())


# -- eviction ----------------------------------------------------------------------------------------


KICKED = {"type": "kicked", "chatroomId": "lobby", "reason": "out"}


def comings(world: World, room: str = "lobby") -> list[tuple[str, int]]:
    """All comings and goings of a room, as its log has them."""
    records = world.hub.room(room).history(limit=1000).records
    return [(item.event.type, int(item.event.user or 0)) for item in records if item.event.session]


class Held:
    """A method of Room that stops at its beginning until the test lets it go on; counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        real = getattr(Room, name)

        def stop(room: Room, *arguments: Any, **options: Any) -> Any:
            self.calls += 1
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
            return real(room, *arguments, **options)

        monkeypatch.setattr(Room, name, stop)

    def wait(self) -> None:
        assert self.begun.wait(PATIENCE)


def evicting(world: World, *users: int) -> list[threading.Thread]:
    return run(*[lambda user=user: world.hub.kick(user, "lobby", "out") for user in users])


@pytest.mark.parametrize("command", ["join", "subscribe"])
def test_one_is_thrown_out_told_so_and_hears_nothing_more(world: World, command: str) -> None:
    bob, ann = world.join("bob", "lobby"), world.enter("ann")
    ann.ask(command, room="lobby")
    ann.unheard()
    assert world.hub.kick(2, "lobby", "out") == 1
    bob.ask("message", room="lobby", message="she is gone")
    assert ann.unheard() == [KICKED]
    assert [occupant.user for occupant in world.hub.room("lobby").who()] == [1]
    assert ann.refused("leave" if command == "join" else "unsubscribe", room="lobby") == 102
    assert world.hub.kick(2, "lobby", "out") == 0
    assert ann.ask(command, room="lobby")["type"] == "ok", "one may come back"
    assert world.hub.kick(2, "elsewhere", "out") == world.hub.kick(99, "lobby", "out") == 0


def test_everybody_sees_an_eviction_as_a_going(world: World) -> None:
    world.join("ann", "lobby")
    world.hub.kick(1, "lobby", "out")
    assert comings(world) == [("join", 1), ("leave", 1)]


def test_one_who_is_on_the_way_in_gets_in_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.enter("ann")
    enter = Held(monkeypatch, "enter")
    ann.send({"type": "join", "id": "j", "room": "lobby"})
    enter.wait()
    assert world.hub.kick(1, "lobby", "out") == 1, "it does not wait for the reader"
    enter.go_on.set()
    assert ann.reply("j")["type"] == "ok"
    heard = ann.unheard()
    assert heard[-1] == KICKED
    assert [message["type"] for message in heard[:-1]] in ([], ["join"])
    assert comings(world) == [("join", 1), ("leave", 1)]
    assert ann.refused("leave", room="lobby") == 102


def test_who_is_thrown_out_while_opening_by_two_goes_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = world.enter("ann")
    enter = Held(monkeypatch, "enter")
    ann.send({"type": "join", "id": "j", "room": "lobby"})
    enter.wait()
    join(evicting(world, 1, 1))
    enter.go_on.set()
    ann.reply("j")
    assert ann.unheard().count(KICKED) == 1
    assert comings(world) == [("join", 1), ("leave", 1)]


def test_one_comes_back_only_after_one_has_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.join("ann", "lobby")
    leave = Held(monkeypatch, "leave")
    evictor = evicting(world, 1)
    leave.wait()
    ann.send({"type": "join", "id": "j", "room": "lobby"})
    leave.go_on.set()
    assert ann.next() == KICKED, "before the reply of the next join"
    assert ann.reply("j")["type"] == "ok"
    join(evictor)
    assert leave.calls == 1
    ann.unheard()
    assert comings(world) == [("join", 1), ("leave", 1), ("join", 1)]


def test_who_leaves_already_is_not_thrown_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.join("ann", "lobby")
    leave = Held(monkeypatch, "leave")
    ann.send({"type": "leave", "id": "l", "room": "lobby"})
    leave.wait()
    assert world.hub.kick(1, "lobby", "out") == 0
    leave.go_on.set()
    assert ann.reply("l")["type"] == "ok"
    assert ann.unheard() == []
    assert leave.calls == 1


def test_who_is_thrown_out_already_cannot_leave(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.join("ann", "lobby")
    leave = Held(monkeypatch, "leave")
    evictor = evicting(world, 1)
    leave.wait()
    assert ann.refused("leave", room="lobby") == 102
    leave.go_on.set()
    join(evictor)
    assert ann.unheard() == [KICKED]
    assert leave.calls == 1


def test_a_membership_given_up_while_somebody_evicts_has_ended_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = world.join("ann", "lobby")
    memberships = ann.session._memberships  # type: ignore[attr-defined]
    membership = memberships.find("lobby", member=True)
    leave = Held(monkeypatch, "leave")
    evictor = evicting(world, 1)
    leave.wait()
    ended: list[int] = []

    def give_up() -> None:
        memberships.close(membership)
        ended.append(len(memberships))

    giving_up = run(give_up)
    assert ended == []
    leave.go_on.set()
    join([*evictor, *giving_up])
    assert ended == [0]
    assert leave.calls == 1


def test_a_session_has_left_every_room_before_it_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    over: list[bool] = []
    world.hooks.set("on_connect", lambda info: None)
    world.hooks.set("on_disconnect", lambda *_: over.append(bool(world.hub.room("lobby").who())))
    ann = world.join("ann", "lobby", "another")
    leave = Held(monkeypatch, "leave")
    evictor = evicting(world, 1)
    leave.wait()
    ann.reset()
    until(lambda: ann.connection.closed)
    leave.go_on.set()
    join(evictor)
    ann.wait_gone()
    assert over == [False]
    assert leave.calls == 2, "each room once"


def test_who_is_too_slow_to_be_told_comes_back(world: World) -> None:
    turnstile = Turnstile()
    ann = world.connect(turnstile=turnstile)
    ann.ask("hello", nickname="ann")
    ann.ask("join", room="lobby")
    with standstill(turnstile):
        listed: list[Any] = []
        while ann.connection.offer(Text(b"\x81\x02{}"), listed) is not Answer.NO:
            pass
        assert world.hub.kick(1, "lobby", "out") == 1
        assert ann.connection.closed is not None
        assert ann.connection.closed.code == CloseCode.INSUFFICIENT_STATE
        turnstile.enter(listed)


def test_whatever_races_each_coming_has_one_going(world: World) -> None:
    """Readers join and leave, others evict, and in the end the peers go in the middle of it."""
    people = [world.enter(f"p{i}") for i in range(3)]
    barrier = threading.Barrier(6)
    rounds = 20  # so few that the log keeps every coming and going

    def identity(person: Person) -> None:
        barrier.wait(PATIENCE)
        for i in range(rounds):
            person.send({"type": "join", "room": "lobby"})
            if i % 3:
                person.send({"type": "leave", "room": "lobby"})
        if person is people[0]:
            person.reset()

    def evict(user: int) -> None:
        barrier.wait(PATIENCE)
        for _ in range(rounds):
            world.hub.kick(user, "lobby", "out")

    bodies = [lambda person=person: identity(person) for person in people]
    bodies += [lambda user=user: evict(user) for user in (1, 2, 3)]
    join(run(*bodies))
    for person in people:
        person.leave() if person is not people[0] else person.wait_gone()
    for user in (1, 2, 3):
        mine = [kind for kind, who in comings(world) if who == user]
        assert mine[::2] == ["join"] * (len(mine) // 2)
        assert mine[1::2] == ["leave"] * (len(mine) // 2)
    assert world.hub.room("lobby").who() == []
    assert not world.hub.room("lobby").fanout._attended
