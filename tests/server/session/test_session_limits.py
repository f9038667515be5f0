"""Tests of what one session may ask for: how fast, how many rooms, which names, how much is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Dialect, Json, Person, World, burst, until, worlds
from tests.wire.helpers import client_frame
from threadchat.server.auth.users import User
from threadchat.server.protocol.commands import MAX_EPOCH, MAX_USERS
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.native import NativeSession
from threadchat.server.session.pacing import CONTROL_BURST
from threadchat.server.session.session import MAX_ERRORS
from threadchat.wire.protocol.frames import PING, PONG

DIALECTS: list[Dialect] = [NativeSession, DirectSession, BroadcastSession]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def ping(dialect: Dialect) -> Json:
    """Something harmless that is answered."""
    if dialect is NativeSession:
        return {"type": "ping", "id": 7}
    return {"to": 1, "message": "x"} if dialect is DirectSession else {"from": "ann", "message": "x"}


def connect(world: World, dialect: Dialect) -> Person:
    person = world.connect(dialect)
    if dialect is DirectSession:
        assert set(person.next()) == {"id"}
    return person


def flood(person: Person, opcode: int, count: int) -> None:
    """Sends so many empty control frames at once, and waits until they were dealt with."""
    before = person.connection._transport.controls
    person.client.socket.sendall(client_frame(opcode) * count)
    until(lambda: person.connection._transport.controls >= before + count)


# -- how fast ----------------------------------------------------------------------------------------


@every_dialect
def test_what_is_too_fast_is_refused_and_the_connection_lives(dialect: Dialect) -> None:
    with worlds(message_rate=2, message_burst=5, pong_timeout=3600, hello_timeout=3600) as world:
        ann = connect(world, dialect)
        ann.send_together(*[ping(dialect)] * 8)
        answers = ann.take(8)
        assert not any("too many requests" in str(answer) or "code" in answer for answer in answers[:5])
        for answer in answers[5:]:
            if dialect is NativeSession:
                reason = answer.pop("reason")
                assert answer == {"type": "error", "re": 7, "code": 111, "temporary": True}
            else:
                reason = answer["error"]
                assert reason.startswith("too many requests: ")
            assert "at most 2 messages a second, and 5 at once" in reason
        world.advance(1)
        ann.send_together(*[ping(dialect)] * 2)
        assert not any("error" in answer or "code" in answer for answer in ann.take(2))


@every_dialect
def test_who_goes_on_is_sent_away(dialect: Dialect) -> None:
    with worlds(message_rate=2, message_burst=5) as world:
        ann = connect(world, dialect)
        ann.send_together(*[ping(dialect)] * 11)
        assert ann.close_code() == 3013
        assert len(ann.heard_at_last()) == 10, "five were done, and five refused"
        assert ann.wait_gone().reason == "too many requests"


@every_dialect
@pytest.mark.parametrize(("opcode"), [PING, PONG])
def test_pings_and_pongs_count_as_messages(dialect: Dialect, opcode: int) -> None:
    with worlds(message_rate=2, message_burst=5) as world:
        ann = connect(world, dialect)
        flood(ann, opcode, 10)
        ann.send_together(ping(dialect))
        assert ann.close_code() == 3013, "five were taken, five too many could be borne, and one was not"


@every_dialect
def test_a_flood_of_pings_ends_where_messages_have_no_limit_too(dialect: Dialect) -> None:
    with worlds() as world:
        ann, bob = connect(world, dialect), connect(world, dialect)
        flood(bob, PING, CONTROL_BURST)
        flood(ann, PING, 2 * CONTROL_BURST)
        assert ann.connection.closed is None
        flood(ann, PING, 1)
        assert ann.close_code() == 3013
        assert ann.wait_gone().reason == "too many requests"
        assert bob.connection.closed is None


def test_refusals_for_haste_are_no_errors() -> None:
    most = MAX_ERRORS * 2
    with worlds(message_rate=1, message_burst=most, hello_timeout=3600) as world:
        ann = world.connect()
        ann.send_together(*[{"type": "ping"}] * (most * 2))
        assert len(ann.take(most)) == most, "those that were done are not answered without an id"
        assert ann.connection.closed is None


def test_what_came_before_the_excess_is_done_first() -> None:
    with worlds(message_rate=1, message_burst=4) as world:
        ann = world.join("ann", "r")
        say: Json = {"type": "message", "room": "r", "message": "hi"}
        ann.send_together(*[{**say, "id": f"{i}"} for i in range(4)])
        answers = [answer for answer in ann.take(6) if "re" in answer]
        assert [(answer["re"], answer["type"]) for answer in answers] == [
            ("0", "ok"),
            ("1", "ok"),
            ("2", "error"),
            ("3", "error"),
        ]
        assert world.hub.find("r").fanout.head.offset == 3


def test_a_refusal_names_the_id_as_far_as_it_can_be_read() -> None:
    with worlds(message_rate=1, message_burst=1) as world:
        ann = world.connect()
        ann.send({"type": "ping", "id": 0})
        ann.send('{"id": "x", "type": 5}')
        assert [ann.next().get("re") for _ in range(2)] == [0, "x"]
    for text in ("not JSON", "[" * 1000, '{"id": [1]}', "{}"):
        with worlds(message_rate=1, message_burst=1) as world:
            ann = world.connect()
            ann.send({"type": "ping", "id": 0})
            ann.next()
            ann.send(text)
            answer = ann.next()
            assert (answer["code"], "re" in answer) == (111, False)


def test_binary_in_the_excess_is_not_answered_as_text() -> None:
    with worlds(message_rate=1, message_burst=1) as world:
        ann = world.connect()
        ann.send({"type": "ping", "id": 0})
        ann.next()
        ann.send(b"\x00")
        ann.send(b"\x00")
        assert ann.close_code() == 3013
        assert ann.heard_at_last() == []


def test_without_a_rate_nobody_counts(world: World) -> None:
    ann = world.connect(trailing=burst(*[{"type": "ping", "id": i} for i in range(500)]))
    assert [answer["re"] for answer in ann.take(500)] == list(range(500))
    assert ann.session._rate_limit is None


# -- how many rooms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["join", "subscribe"])
def test_a_connection_may_be_in_so_many_rooms(command: str) -> None:
    with worlds(rooms_per_connection=3) as world:
        ann, bob = world.enter("ann"), world.enter("bob")
        for room, way in (("a", "join"), ("b", "subscribe"), ("c", "join")):
            assert ann.ask(way, room=room)["type"] == "ok"
        answer = ann.ask(command, room="d")
        assert (answer["code"], answer["temporary"]) == (106, False)
        assert "in 3 rooms already" in answer["reason"]
        assert "rooms_per_connection" in answer["reason"]
        assert ann.refused("join", room="a") == 105
        assert ann.ask("message", room="d", message="one need not be there")["type"] == "ok"
        assert bob.ask(command, room="d")["type"] == "ok", "each has their own"
        assert ann.ask("unsubscribe", room="b")["type"] == "ok"
        assert ann.ask(command, room="d")["type"] == "ok"


def test_a_room_that_was_closed_leaves_its_place_to_the_next() -> None:
    with worlds(rooms_per_connection=1) as world:
        ann = world.join("ann", "r")
        world.hub.close_room("r")
        assert ann.ask("join", room="r")["type"] == "ok"
        assert ann.refused("join", room="s") == 106


@pytest.mark.parametrize("command", ["join", "subscribe", "message"])
def test_there_are_so_many_rooms(command: str) -> None:
    with worlds(max_rooms=2) as world:
        ann, bob = world.join("ann", "a", "b"), world.enter("bob")
        fields = {"message": "hi"} if command == "message" else {}
        answer = bob.ask(command, room="c", **fields)
        assert (answer["code"], answer["temporary"]) == (106, True)
        assert "2 rooms are open and in use" in answer["reason"]
        assert bob.ask(command, room="a", **fields)["type"] == "ok"
        ann.ask("leave", room="b")
        assert bob.ask(command, room="c", **fields)["type"] == "ok"


def test_the_broadcast_room_needs_no_place() -> None:
    with worlds(max_rooms=1) as world:
        world.join("ann", "a")
        listener = world.connect(BroadcastSession)
        listener.send({"from": "bob", "message": "hi"})
        assert listener.next() == {"from": "bob", "message": "hi"}


# -- which names -------------------------------------------------------------------------------------

ROOM_COMMANDS: list[tuple[str, Json]] = [
    ("join", {}),
    ("subscribe", {}),
    ("message", {"message": "hi"}),
    ("leave", {}),
    ("unsubscribe", {}),
    ("typing", {}),
    ("who", {}),
    ("count", {}),
    ("history", {}),
    ("edit", {"event": 1, "message": "hi"}),
    ("delete", {"event": 1}),
    ("react", {"event": 1, "emoji": "🎉"}),
    ("unreact", {"event": 1, "emoji": "🎉"}),
    ("read", {"event": 1, "epoch": "e"}),
]


@pytest.mark.parametrize(("command", "fields"), ROOM_COMMANDS)
def test_a_room_has_a_name_that_can_be_seen(world: World, command: str, fields: Json) -> None:
    ann = world.enter("ann")
    for name in ("\u202elobby", "two\nlines", " lobby", "\u200d"):
        answer = ann.ask(command, room=name, **fields)
        assert answer["code"] == 107
        assert "a room's name is printable" in answer["reason"]
    assert world.hub.rooms() == []


@pytest.mark.parametrize(("command", "fields"), ROOM_COMMANDS)
def test_a_pattern_holds_for_rooms(command: str, fields: Json) -> None:
    with worlds(room_pattern="[a-z]+") as world:
        ann = world.enter("ann")
        answer = ann.ask(command, room="Lobby", **fields)
        assert answer["code"] == 107
        assert "must match [a-z]+" in answer["reason"]
        assert ann.ask("join", room="lobby")["type"] == "ok"
        assert ann.ask("message", room="lobby", message="hi")["type"] == "ok"


def test_a_name_that_was_right_once_does_not_make_the_next_one_right(world: World) -> None:
    ann = world.enter("ann")
    say: Json = {"type": "message", "message": "hi"}
    ann.send_together(*[{**say, "room": name, "id": name} for name in ("a", "a", " a", "a", "b\n", "b")])
    codes = {answer["re"]: answer.get("code") for answer in ann.take(6)}
    assert codes == {"a": None, " a": 107, "b\n": 107, "b": None}
    assert world.hub.find("a").fanout.head.offset == 3


@pytest.mark.parametrize("command", ["hello", "profile"])
def test_a_nickname_can_be_seen(world: World, command: str) -> None:
    ann = world.connect()
    if command == "profile":
        ann.ask("hello")
    for name in ("\u202enna", "ann\t", " ann", "\u3164"):
        answer = ann.ask(command, nickname=name)
        assert answer["code"] == 107
        assert "a nickname is printable" in answer["reason"]
    assert ann.ask(command, nickname="ann")["type"] == "ok"


def test_a_pattern_holds_for_nicknames_on_all_dialects() -> None:
    with worlds(nickname_pattern="[a-z]+") as world:
        ann = world.connect()
        assert ann.refused("hello", nickname="Ann") == 107
        assert ann.ask("hello", nickname="ann")["type"] == "ok"
        assert ann.refused("profile", nickname="ann 2") == 107
        classic = world.connect(BroadcastSession)
        classic.send({"from": "Ann", "message": "hi"})
        assert "must match [a-z]+" in classic.next()["error"]
        classic.send({"from": "ann", "message": "hi"})
        assert classic.next() == {"from": "ann", "message": "hi"}


def test_what_the_application_calls_somebody_is_its_own_to_say() -> None:
    with worlds(nickname_pattern="[a-z]+") as world:
        ann = world.connect(identity=User(7, "Ann B."))
        assert ann.ask("hello", nickname="\u202e")["nickname"] == "Ann B."
        assert ann.ask("profile", nickname="Ann B.")["type"] == "ok"


# -- how much is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["join", "subscribe", "count"])
def test_a_filter_has_an_end(world: World, command: str) -> None:
    world.join("bob", "lobby")
    ann = world.enter("ann")
    assert ann.refused(command, room="lobby", users=list(range(MAX_USERS + 1))) == 107
    assert ann.refused(command, room="lobby", users=[10**400]) == 107
    assert ann.refused(command, room="lobby", users=["u" * 129]) == 107
    assert ann.ask(command, room="lobby", users=list(range(MAX_USERS)))["type"] == "ok"


def test_types_are_kept_once_however_often_they_are_given(world: World) -> None:
    ann = world.enter("ann")
    assert ann.ask("subscribe", room="r", types=["message"] * 20_000)["type"] == "ok"
    fanout = world.hub.find("r").fanout
    (subscription,) = {*fanout._audience, *fanout._behind}
    assert len(subscription.wanted._types or ()) == 1


@pytest.mark.parametrize("command", ["join", "subscribe", "history"])
def test_an_epoch_has_an_end(world: World, command: str) -> None:
    ann = world.join("ann", "r")
    since = {"offset": 0, "epoch": "e" * (MAX_EPOCH + 1)}
    answer = ann.ask(command, room="r", since=since)
    assert answer["code"] == 107
    assert "128" in answer["reason"]


def test_a_direct_message_to_nobody_is_kept_nowhere(world: World) -> None:
    ann = world.enter("ann")
    for to in range(1000, 1010):
        assert ann.refused("direct", to=to, message="x" * 1000) == 108
    assert set(world.hub._sessions._sessions) == {ann.welcome["user"]}


# -- deep and huge -----------------------------------------------------------------------------------

SIZE = 512_000
DEEP = {
    "arrays": "[" * SIZE,
    "objects": '{"a":' * (SIZE // 5),
    "a deep type": '{"type":' * (SIZE // 8),
    "a deep id": '{"type":"ping","id":' + "[" * (SIZE - 20),
    "a deep field": '{"type":"ping","x":' + "[" * 250_000 + "]" * 250_000 + "}",
    "a deep list of users": '{"type":"join","room":"r","users":' + "[" * (SIZE - 40),
    "a deep to": '{"to":' * (SIZE // 6),
    "a deep from": '{"from":' * (SIZE // 8),
    "wide": "[" + "{}," * 170_000 + "{}]",
    "one string that does not end": '{"type":"ping","id":"' + '\\"' * (SIZE // 2 - 20),
    "brackets behind it": '"' + '\\"' * 100_000 + "[" * 300_000,
    "a number": '{"type":"ping","id":' + "9" * (SIZE - 21) + "}",
}


@every_dialect
@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP.keys())
def test_what_is_deep_or_huge_is_refused_and_nothing_else_happens(
    world: World, dialect: Dialect, text: str
) -> None:
    assert len(text) <= SIZE
    ann = connect(world, dialect)
    ann.send(text)
    answer: Any = ann.next()
    if dialect is NativeSession:
        assert answer["code"] == 107
        assert len(answer["reason"]) < 500
    else:
        assert list(answer) == ["error"]
        assert len(answer["error"]) < 500
    ann.send(ping(dialect))
    assert "error" not in str(ann.next())


def test_brackets_in_what_is_said_are_no_depth(world: World) -> None:
    ann = world.join("ann", "r")
    text = '[{"' * 20_000 + "\\" * 7
    assert ann.ask("message", room="r", message=text)["offset"] == 2
    assert ann.next()["message"] == text
    classic = world.connect(BroadcastSession)
    until(lambda: world.hub.find("/ws").fanout._attended)
    classic.send({"from": "ann", "message": text})
    assert classic.next()["message"] == text
    assert json.loads(json.dumps(text)) == text
