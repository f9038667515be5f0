"""Tests of the moderators' commands, and of what bans and mutes keep people from in every dialect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Json, Person, World, worlds
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction
from threadchat.errors import CloseCode
from threadchat.server.auth.sanction_check import SanctionCheck
from threadchat.server.auth.users import User
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.native import NativeSession
from threadchat.server.session.session import Session

MODERATOR = 90
NOW = 1_800_000_000


@pytest.fixture
def world() -> Iterator[World]:
    """User 90 may moderate the lobby and, as 91, everything; nobody else may."""
    with worlds(pong_timeout=3600) as world:
        world.hub.sanctions.clock = lambda: NOW
        yield world


@pytest.fixture
def staffed(world: World) -> World:
    def moderates(user: User, room: str) -> bool:
        return user.id == 91 or (user.id == MODERATOR and room == "lobby")

    world.hooks.set("authenticate", lambda environ: None)
    world.hooks.set("moderates", moderates)
    return world


def known(world: World, user: int, nickname: str, *rooms: str, address: str = "192.0.2.1") -> Person:
    """Somebody with an account, in some rooms."""
    person = world.connect(identity=User(user, nickname), ready=at(address))
    assert person.ask("hello")["user"] == user
    for room in rooms:
        assert person.ask("join", room=room)["type"] == "ok"
    person.unheard()
    return person


def at(address: str) -> Callable[[Session], None]:
    """Has a session come from there."""

    def move(session: Session) -> None:
        session.identity.address = address
        session.sanction_check = SanctionCheck(session.hub.sanctions, address)

    return move


def error(answer: Json) -> tuple[int, str]:
    assert answer["type"] == "error", answer
    return answer["code"], answer["reason"]


def close_of(person: Person) -> tuple[int, str]:
    """The Close that the server sent."""
    code = person.close_code()
    return code, str(person.client.close_reason)


# -- who may -----------------------------------------------------------------------------------------


COMMANDS: list[tuple[str, Json]] = [
    ("kick", {"user": 7, "room": "lobby"}),
    ("ban", {"user": 7, "room": "lobby"}),
    ("unban", {"user": 7, "room": "lobby"}),
    ("mute", {"user": 7, "room": "lobby"}),
    ("unmute", {"user": 7, "room": "lobby"}),
    ("delete", {"event": 1, "room": "lobby"}),
    ("close", {"room": "lobby"}),
    ("sanctions", {"room": "lobby"}),
]


@pytest.mark.parametrize(("command", "fields"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_without_permission_nobody_moderates(world: World, command: str, fields: Json) -> None:
    """Neither where nobody is asked, nor where the one who is asked says no."""
    ann = world.join("ann", "lobby")
    assert ann.refused(command, **fields) == 103
    world.hooks.set("moderates", lambda user, room: False)
    assert known(world, 5, "eve").refused(command, **fields) == 103
    assert world.hub.sanctions.list() == []
    assert len(world.hub.room("lobby").who()) == 1


@pytest.mark.parametrize(("command", "fields"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_a_moderator_of_one_room_is_none_elsewhere(staffed: World, command: str, fields: Json) -> None:
    mod = known(staffed, MODERATOR, "mod", "lobby", "other")
    bob = known(staffed, 8, "bob", "lobby")
    bob.ask("message", room="lobby", message="hi")
    fields = {**fields, "event": 3} if "event" in fields else fields
    assert mod.refused(command, **{**fields, "room": "other"}) == 103
    if command not in ("delete", "close"):
        assert mod.refused(command, **{**fields, "room": ""}) == 103
    assert mod.ask(command, **fields)["type"] == "ok"


def test_nobody_moderates_themselves(staffed: World) -> None:
    boss = known(staffed, 91, "boss", address="192.0.2.1")
    staffed.hub.sanctions.impose(Sanction(MUTE, 91, "lobby"))
    for command in ("kick", "ban", "mute", "unban", "unmute"):
        code, reason = error(boss.ask(command, user=91, room="lobby"))
        assert (code, "another moderator" in reason) == (107, True)
    for command in ("ban", "mute", "unmute"):
        assert boss.refused(command, address="192.0.2.0/24") == 107
    assert boss.ask("ban", address="198.51.100.0/24")["type"] == "ok"
    assert boss.ask("ban", user=MODERATOR)["type"] == "ok", "moderators may moderate each other"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "either a user or an address"),
        ({"user": 7, "address": "192.0.2.7"}, "either a user or an address"),
        ({"user": 2**53}, "must be a user id"),
        ({"address": "nowhere"}, "use one such as"),
        ({"user": 7, "seconds": 0}, "must be above 0"),
        ({"user": 7, "seconds": 1e300}, "must be above 0"),
        ({"user": 7, "reason": "x" * 201}, "at most 200 characters"),
        ({"address": "192.0.2.7", "with_address": True}, "with_address needs a user"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(staffed: World, fields: Json, reason: str) -> None:
    boss = known(staffed, 91, "boss", address="203.0.113.1")
    code, said = error(boss.ask("ban", **fields))
    assert code == 107
    assert reason in said
    assert staffed.hub.sanctions.list() == []


# -- kick --------------------------------------------------------------------------------------------


def test_a_kick_out_of_a_room(staffed: World) -> None:
    mod, ann = known(staffed, MODERATOR, "mod", "lobby"), known(staffed, 7, "ann", "lobby", "other")
    assert mod.ask("kick", user=7, room="lobby", reason="calm down")["ended"] == 1
    reason = "you were kicked out of room lobby: calm down"
    assert ann.next() == {"type": "kicked", "chatroomId": "lobby", "reason": reason}
    assert ann.ask("message", room="other", message="still here")["type"] == "ok"
    assert ann.ask("join", room="lobby")["type"] == "ok"
    assert mod.ask("kick", user=99, room="lobby")["ended"] == 0


def test_a_kick_off_the_server(staffed: World) -> None:
    boss, ann = known(staffed, 91, "boss"), known(staffed, 7, "ann", "lobby")
    assert boss.ask("kick", user=7, reason="calm down")["ended"] == 1
    assert close_of(ann) == (CloseCode.FORCE_DISCONNECT, "kicked: calm down")
    assert known(staffed, 7, "ann").ask("ping")["type"] == "ok", "and may come back"


# -- bans --------------------------------------------------------------------------------------------


def test_a_ban_from_a_room(staffed: World) -> None:
    mod, ann = known(staffed, MODERATOR, "mod", "lobby"), known(staffed, 7, "ann", "lobby", "other")
    answer = mod.ask("ban", user=7, room="lobby", seconds=3600, reason="spam")
    sanction = {"kind": "ban", "user": 7, "room": "lobby", "until": NOW + 3600, "reason": "spam", "by": 90}
    assert answer["sanctions"] == [sanction]
    reason = "you are banned from room lobby until 2027-01-15 09:00:00 UTC: spam"
    assert ann.next() == {"type": "kicked", "chatroomId": "lobby", "reason": reason}
    for command, fields in (
        ("join", {}),
        ("subscribe", {}),
        ("message", {"message": "hi"}),
        ("history", {}),
        ("count", {}),
        ("who", {}),
        ("typing", {}),
    ):
        assert error(ann.ask(command, room="lobby", **fields)) == (103, reason), command
        if command != "typing":
            assert ann.ask(command, room="other", **fields).get("code") != 103
    listed = mod.ask("sanctions", room="lobby")
    assert (listed["sanctions"], listed["count"]) == ([sanction], 1)
    staffed.hub.sanctions.clock = lambda: NOW + 3600
    assert ann.ask("join", room="lobby")["type"] == "ok", "its time is over"


def test_a_ban_everywhere_ends_connections_and_refuses_hello(staffed: World) -> None:
    boss, ann = known(staffed, 91, "boss"), known(staffed, 7, "ann", "lobby")
    second = known(staffed, 7, "ann", address="192.0.2.99")
    boss.ask("ban", user=7, reason="spam")
    for person in (ann, second):
        assert close_of(person) == (CloseCode.FORCE_DISCONNECT, "you are banned: spam")
    again = staffed.connect(identity=User(7, "ann"), ready=at("192.0.2.1"))
    again.send({"type": "hello"})
    assert close_of(again) == (CloseCode.FORCE_DISCONNECT, "you are banned: spam")
    again.wait_gone()
    assert not staffed.hub.is_online(7)
    assert boss.ask("unban", user=7)["lifted"] is True
    assert boss.ask("unban", user=7)["lifted"] is False
    known(staffed, 7, "ann")


def test_a_resume_does_not_get_around_a_ban(world: World) -> None:
    ann = world.enter("ann")
    world.hub.sanctions.impose(Sanction(BAN, ann.welcome["user"]))
    ann.wait_gone()
    again = world.connect()
    again.send({"type": "hello", "resume": ann.welcome["resume"]})
    assert again.close_code() == CloseCode.FORCE_DISCONNECT
    assert world.enter("ann").welcome["user"] != ann.welcome["user"], "as somebody new one gets in"


def test_with_address_they_do_not_come_as_somebody_new(staffed: World) -> None:
    boss = known(staffed, 91, "boss", address="203.0.113.1")
    ann = staffed.connect(ready=at("192.0.2.7"))
    user = ann.ask("hello", nickname="ann")["user"]
    assert user < 0
    neighbour = staffed.connect(ready=at("192.0.2.7"))
    silent = staffed.connect(ready=at("192.0.2.7"))
    neighbour.ask("hello", nickname="bob")
    answer = boss.ask("ban", user=user, with_address=True, seconds=60)
    assert [item.get("user") or item["address"] for item in answer["sanctions"]] == [user, "192.0.2.7"]
    for person in (ann, neighbour, silent):
        assert person.close_code() == CloseCode.FORCE_DISCONNECT
    again = staffed.connect(ready=at("192.0.2.7"))
    assert close_of(again)[0] == CloseCode.FORCE_DISCONNECT
    staffed.connect(ready=at("192.0.2.8")).ask("hello", nickname="carl")


def test_the_moderators_own_address_is_not_banned_along(staffed: World) -> None:
    boss, ann = known(staffed, 91, "boss"), known(staffed, 7, "ann")
    answer = boss.ask("ban", user=7, with_address=True)
    assert [item["user"] for item in answer["sanctions"]] == [7]
    assert ann.close_code() == CloseCode.FORCE_DISCONNECT


@pytest.mark.parametrize("command", ["join", "subscribe"])
def test_a_ban_that_comes_while_one_joins_holds(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It was not in force when the command was looked at, and found no membership when it was carried out."""
    ann = world.enter("ann")
    in_room = world.hub.in_room

    def ban_first(name: str, action: Any, *openers: Any) -> Any:
        world.hub.sanctions.impose(Sanction(BAN, 1, "lobby"))
        return in_room(name, action, *openers)

    monkeypatch.setattr(world.hub, "in_room", ban_first)
    assert error(ann.ask(command, room="lobby")) == (103, "you are banned from room lobby")
    assert world.hub.room("lobby").who() == []
    assert ann.unheard() == []


def test_a_ban_that_comes_while_one_says_hello_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive = world.hub.arrive

    def ban_first(session: Any) -> None:
        world.hub.sanctions.impose(Sanction(BAN, session.user))
        arrive(session)

    monkeypatch.setattr(world.hub, "arrive", ban_first)
    ann = world.connect()
    ann.send({"type": "hello", "nickname": "ann"})
    assert ann.close_code() == CloseCode.FORCE_DISCONNECT


def test_a_ban_of_an_address_throws_out_whoever_has_it(staffed: World) -> None:
    boss = known(staffed, 91, "boss", "lobby", address="203.0.113.1")
    ann, bob = known(staffed, 7, "ann", "lobby", address="2001:db8::7"), known(staffed, 8, "bob", "lobby")
    ann.unheard()
    boss.ask("ban", address="2001:db8::/64", room="lobby")
    assert ann.next()["type"] == "kicked"
    assert ann.refused("join", room="lobby") == 103
    assert all(message["type"] != "kicked" for message in bob.unheard())


# -- mutes -------------------------------------------------------------------------------------------


def test_a_mute_in_a_room(staffed: World) -> None:
    mod = known(staffed, MODERATOR, "mod", "lobby")
    ann, bob = known(staffed, 7, "ann", "lobby"), known(staffed, 8, "bob", "lobby")
    mod.ask("mute", user=7, room="lobby", seconds=60, reason="noise")
    reason = "you are muted in room lobby until 2027-01-15 08:01:00 UTC: noise"
    assert error(ann.ask("message", room="lobby", message="hi")) == (103, reason)
    assert error(ann.ask("typing", room="lobby")) == (103, reason)
    assert ann.ask("message", room="other", message="hi")["type"] == "ok"
    assert ann.ask("direct", to=8, message="hi")["type"] == "ok"
    assert bob.next()["type"] == "direct"
    bob.ask("message", room="lobby", message="hello")
    assert ann.unheard()[-1]["message"] == "hello", "one still listens"
    staffed.hub.sanctions.clock = lambda: NOW + 60
    assert ann.ask("message", room="lobby", message="hi")["type"] == "ok"
    mod.ask("mute", user=7, room="lobby")
    assert ann.refused("message", room="lobby", message="hi") == 103
    assert mod.ask("unmute", user=7, room="lobby")["lifted"] is True
    assert ann.ask("message", room="lobby", message="hi")["type"] == "ok"


def test_a_mute_everywhere(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    ann.unheard()
    world.hub.room("another")  # where one may not write, one creates no room
    world.hub.sanctions.impose(Sanction(MUTE, 1))
    for command, fields in (("message", {"room": "lobby"}), ("direct", {"to": 2})):
        assert error(ann.ask(command, message="hi", **fields)) == (103, "you are muted")
    assert ann.refused("typing", room="lobby") == 103
    assert ann.refused("typing_to", to=2) == 103
    assert ann.ask("join", room="another")["type"] == "ok"
    assert all(message["type"] == "add" or message["type"] == "join" for message in bob.unheard())


def test_what_is_said_in_one_burst_stops_at_a_mute(world: World) -> None:
    ann = world.join("ann", "lobby")
    ann.ask("message", room="lobby", message="before")
    world.hub.sanctions.impose(Sanction(MUTE, 1, "lobby"))
    ann.send_together(
        *[{"type": "message", "id": i, "room": "lobby", "message": "x"} for i in range(200, 205)]
    )
    assert [ann.reply(i)["code"] for i in range(200, 205)] == [103] * 5
    assert world.hub.room("lobby").fanout.head.offset == 2


# -- the older dialects ------------------------------------------------------------------------------


def test_the_direct_dialect_heeds_bans_and_mutes(world: World) -> None:
    ann = world.connect(DirectSession)
    assert ann.next() == {"id": 1}
    world.hub.sanctions.impose(Sanction(MUTE, 1, reason="noise"))
    ann.send({"to": 1, "message": "hi"})
    assert ann.next() == {"error": "you are muted: noise"}
    world.hub.sanctions.impose(Sanction(BAN, 1))
    assert ann.close_code() == CloseCode.FORCE_DISCONNECT
    ann.wait_gone()
    again = world.connect(DirectSession, identity=User(1))
    assert again.close_code() == CloseCode.FORCE_DISCONNECT


def test_the_broadcast_dialect_heeds_those_of_addresses(world: World) -> None:
    ann, bob = (world.connect(BroadcastSession, ready=at(f"192.0.2.{i}")) for i in (7, 8))
    for person in (ann, bob):
        person.send({"from": "x", "message": "hi"})
        person.next()
    world.hub.sanctions.impose(Sanction(MUTE, "192.0.2.7"))
    ann.send({"from": "ann", "message": "hi"})
    while "error" not in (said := ann.next()):
        pass
    assert said == {"error": "you are muted"}
    world.hub.sanctions.impose(Sanction(BAN, "192.0.2.7", "lobby"))
    assert ann.connection.closed is None
    world.hub.sanctions.impose(Sanction(BAN, "192.0.2.7", "/ws"))
    assert ann.close_code() == CloseCode.FORCE_DISCONNECT
    again = world.connect(BroadcastSession, ready=at("192.0.2.7"))
    assert again.close_code() == CloseCode.FORCE_DISCONNECT
    assert bob.connection.closed is None


def test_the_broadcast_dialect_heeds_those_of_people_whom_the_application_knows(world: World) -> None:
    ann, eve = (world.connect(BroadcastSession, identity=User(7), ready=at("192.0.2.7")) for _ in range(2))
    bob = world.connect(BroadcastSession)
    for person in (ann, eve, bob):
        person.send({"from": "x", "message": "hi"})
        person.next()
    world.hub.sanctions.impose(Sanction(MUTE, 7, reason="noise"))
    ann.send({"from": "ann", "message": "hi"})
    while "error" not in (said := ann.next()):
        pass
    assert said == {"error": "you are muted: noise"}
    assert world.hub.addresses(7) == {"192.0.2.7"}
    assert world.hub.kick(7, "/ws", "calm down") == 2
    for person in (ann, eve):
        assert close_of(person) == (CloseCode.FORCE_DISCONNECT, "calm down")
        person.wait_gone()
    back = world.connect(BroadcastSession, identity=User(7))
    back.send({"from": "x", "message": "hi"})
    back.next()
    world.hub.sanctions.impose(Sanction(BAN, 7, reason="spam"))
    assert close_of(back) == (CloseCode.FORCE_DISCONNECT, "you are banned: spam")
    again = world.connect(BroadcastSession, identity=User(7))
    assert close_of(again) == (CloseCode.FORCE_DISCONNECT, "you are banned: spam")
    assert bob.connection.closed is None


def test_a_ban_from_the_broadcast_room_is_told_with_its_reason(world: World) -> None:
    world.hub.sanctions.impose(Sanction(BAN, 7, "/ws", reason="spam"))
    ann = world.connect(BroadcastSession, identity=User(7))
    assert close_of(ann) == (CloseCode.FORCE_DISCONNECT, "you are banned from room /ws: spam")
    assert not world.hub.is_online(7)


def test_who_only_broadcasts_is_not_online_for_private_messages(world: World) -> None:
    listener = world.connect(BroadcastSession, identity=User(7))
    listener.send({"from": "ann", "message": "hi"})
    listener.next()
    bob = world.enter("bob")
    assert bob.refused("direct", to=7, message="psst") == 108
    ann = known(world, 7, "ann")
    assert bob.ask("direct", to=7, message="psst")["type"] == "ok"
    assert ann.next()["message"] == "psst"


# -- messages and rooms ------------------------------------------------------------------------------


def test_a_message_is_deleted(staffed: World) -> None:
    mod, ann = known(staffed, MODERATOR, "mod", "lobby"), known(staffed, 7, "ann", "lobby")
    offset = ann.ask("message", room="lobby", message="secret")["offset"]
    mod.unheard()
    place = mod.ask("delete", room="lobby", event=offset)["offset"]
    told = ann.unheard()[-1]
    assert (told["id"], told["type"], told["userId"], told["from"]) == (place, "delete", MODERATOR, "mod")
    assert "secret" not in str(ann.ask("history", room="lobby"))
    assert mod.refused("delete", room="lobby", event=offset) == 107
    assert mod.refused("delete", room="lobby", event=10**30) == 107
    epoch = ann.ask("history", room="lobby")["epoch"]
    assert mod.refused("delete", room="lobby", event=offset, epoch="another") == 112
    assert mod.refused("delete", room="lobby", event=offset, epoch=epoch) == 107


def test_a_room_is_closed(staffed: World) -> None:
    boss, ann = known(staffed, 91, "boss"), known(staffed, 7, "ann", "lobby")
    assert boss.ask("close", room="lobby")["type"] == "ok"
    assert ann.next()["type"] == "close"
    assert boss.refused("close", room="lobby") == 102


# -- lists and logs ----------------------------------------------------------------------------------


def test_a_list_is_bounded_and_says_how_many_there_are(
    staffed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.server.session.moderation.MAX_LISTED", 2)
    boss = known(staffed, 91, "boss")
    for user in (1, 2, 3):
        boss.ask("ban", user=user, room="lobby")
    boss.ask("mute", user=4)
    answer = boss.ask("sanctions")
    assert ([item["user"] for item in answer["sanctions"]], answer["count"]) == ([3, 4], 4)
    answer = boss.ask("sanctions", room="lobby")
    assert ([item["user"] for item in answer["sanctions"]], answer["count"]) == ([2, 3], 3)


def test_every_action_is_in_the_log(staffed: World, caplog: pytest.LogCaptureFixture) -> None:
    boss, ann = known(staffed, 91, "boss", address="203.0.113.1"), known(staffed, 7, "ann", "lobby")
    offset = ann.ask("message", room="lobby", message="secret")["offset"]
    with caplog.at_level(logging.INFO, "threadchat.server"):
        boss.ask("kick", user=7, room="lobby", reason="calm\ndown")
        boss.ask("mute", user=7, room="lobby", seconds=60, reason="noise")
        boss.ask("unmute", user=7, room="lobby")
        boss.ask("ban", address="198.51.100.0/24")
        boss.ask("delete", room="lobby", event=offset)
        boss.ask("close", room="lobby")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("threadchat.server.")]
    assert said == [
        "user 91 kicked user 7 in room 'lobby' (1): 'calm down'",
        "user 91 muted user 7 in room 'lobby' for 60 s: 'noise'",
        "user 91 lifted the mute of user 7 in room 'lobby'",
        "user 91 banned address 198.51.100.0/24 everywhere for good: ''",
        f"user 91 deleted message {offset} of room 'lobby'",
        "user 91 closed room 'lobby'",
    ]


def test_a_session_with_nothing_against_it_looks_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    real = world.hub.sanctions.concerning

    def concerning(*whom: Any) -> Any:
        looked.append(whom)
        return real(*whom)

    monkeypatch.setattr(world.hub.sanctions, "concerning", concerning)
    ann = world.join("ann", "lobby")
    before = len(looked)
    for _ in range(5):
        ann.ask("message", room="lobby", message="hi")
    assert len(looked) == before
    world.hub.sanctions.impose(Sanction(BAN, 99))
    for _ in range(5):
        ann.ask("message", room="lobby", message="hi")
    assert len(looked) == before + 1, "once for each change of the table"
    assert isinstance(ann.session, NativeSession)
