"""Tests of hello with a token, of its expiry and refresh, and of what it lets one do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Person, World, worlds
from tests.server.token_helpers import NOW, SECRET, Wall, token
from threadchat.config.settings import Config
from threadchat.errors import CloseCode
from threadchat.server.auth.admission import Admission
from threadchat.server.auth.tokens import Tokens
from threadchat.server.auth.users import User
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.version import __version__


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=86400) as world:
        world.admission = Admission(Tokens(Config(token_key=SECRET), clock=Wall()))
        yield world


@pytest.fixture
def closed_world() -> Iterator[World]:
    """Nobody comes in without a token."""
    with worlds(pong_timeout=86400) as world:
        world.admission = Admission(Tokens(Config(token_key=SECRET), clock=Wall()), anonymous=False)
        yield world


def hello(world: World, shown: str, **options: Any) -> Person:
    """Somebody who said hello with a token."""
    fields = {name: options.pop(name) for name in ("nickname", "resume") if name in options}
    person = world.connect(**options)
    person.welcome = person.ask("hello", token=shown, **fields)
    return person


def code_of_hello(world: World, shown: str, **options: Any) -> int:
    person = world.connect(**options)
    person.send({"type": "hello", "id": 1, "token": shown})
    code = person.close_code()
    assert person.heard_at_last() == []
    return code


def hello_as(world: World, user: User) -> Person:
    """Somebody whom the application knows, and who has no token."""
    person = world.connect(identity=user)
    person.welcome = person.ask("hello")
    return person


# -- hello -------------------------------------------------------------------------------------------


def test_a_token_says_who_one_is(world: World) -> None:
    ann = hello(world, token(nickname="ann"))
    assert (ann.welcome["user"], ann.welcome["nickname"]) == (7, "ann")
    assert ann.welcome["expires"] == NOW + 3600
    assert type(ann.welcome["expires"]) is int
    ann.ask("join", room="r")
    assert (ann.next()["from"], ann.refused("profile", nickname="root")) == ("ann", 103)


def test_whoever_has_no_name_in_the_token_chooses_one(world: World) -> None:
    ann = hello(world, token(), nickname="ann")
    assert "nickname" not in ann.welcome
    assert ann.ask("profile", nickname="anna")["type"] == "ok"


@pytest.mark.parametrize(
    "shown", ["", "x", token(exp=NOW), token("another-secret-0123456789-0123456789"), token(sub="0")]
)
def test_a_bad_token_closes_and_the_log_says_why_without_it(
    world: World, caplog: pytest.LogCaptureFixture, shown: str
) -> None:
    caplog.set_level(logging.INFO)
    assert code_of_hello(world, shown) == CloseCode.INVALID_TOKEN
    [record] = [record for record in caplog.records if "a token was refused: " in record.getMessage()]
    assert record.levelno == logging.INFO
    assert not any(len(part) > 3 and part in record.getMessage() for part in shown.split("."))


def test_strangers_and_the_known_never_meet(world: World) -> None:
    eve = world.enter("eve")
    assert eve.welcome["user"] < 0
    assert "expires" not in eve.welcome
    assert world.enter("eve", resume=eve.welcome["resume"]).welcome["user"] == eve.welcome["user"]


def test_a_resume_does_not_outlive_the_token(world: World) -> None:
    resume = hello(world, token(), nickname="ann").welcome["resume"]
    assert world.enter("ann", resume=resume).welcome["user"] < 0


def test_a_resume_gives_back_the_nickname_with_a_token_of_the_same_user_only(world: World) -> None:
    resume = hello(world, token(), nickname="ann").welcome["resume"]
    ann = hello(world, token(), resume=resume)
    assert (ann.welcome["user"], ann.session.nickname) == (7, "ann")
    assert (ann.welcome["known"], ann.welcome["resumed"]) == (True, True)
    bob = hello(world, token(sub=8), resume=resume)
    assert (bob.welcome["user"], bob.session.nickname) == (8, "")
    assert (bob.welcome["known"], "resumed" in bob.welcome) == (True, False)


# -- together with authenticate ----------------------------------------------------------------------


def test_what_the_application_says_comes_first_and_a_token_may_add_to_it(world: World) -> None:
    ann = hello(world, token(nickname="other", rooms=["lobby"]), identity=User(7, "ann"))
    assert (ann.welcome["nickname"], ann.welcome["expires"]) == ("ann", NOW + 3600)
    assert ann.refused("join", room="ops") == 103


def test_a_token_may_name_whom_the_application_only_numbers(world: World) -> None:
    assert hello(world, token(nickname="ann"), identity=User(7)).welcome["nickname"] == "ann"


def test_a_token_of_somebody_else_is_no_good(world: World) -> None:
    assert code_of_hello(world, token(sub=8), identity=User(7, "ann")) == CloseCode.INVALID_TOKEN


# -- nobody without a token --------------------------------------------------------------------------


def test_nobody_comes_in_without_a_token(closed_world: World) -> None:
    eve = closed_world.connect()
    refusal = eve.ask("hello", nickname="eve")
    assert (refusal["code"], "without a token" in refusal["reason"]) == (101, True)
    assert eve.refused("join", room="r") == 101
    assert eve.ask("hello", token=token(), nickname="ann")["user"] == 7  # there is still time
    mallory = closed_world.connect()
    mallory.refused("hello", nickname="eve")
    mallory.wait_until_idle()
    closed_world.advance(closed_world.config.hello_timeout)
    assert mallory.close_code() == CloseCode.STALE


def test_a_resume_is_no_token(closed_world: World) -> None:
    resume = hello(closed_world, token(), nickname="ann").welcome["resume"]
    assert closed_world.connect().refused("hello", resume=resume) == 101


# -- expiry ------------------------------------------------------------------------------------------


def test_the_end_of_a_token_ends_the_connection(world: World) -> None:
    ann = hello(world, token(exp=NOW + 60), nickname="ann")
    world.advance(59)
    assert ann.ask("ping")["type"] == "ok"
    world.advance(1)
    assert ann.close_code() == CloseCode.EXPIRED
    assert CloseCode.EXPIRED.reconnect


def test_max_age_ends_it_where_that_comes_first(world: World) -> None:
    ann = hello(world, token(exp=NOW + 1e9), nickname="ann")
    world.advance(world.config.max_age)
    assert ann.close_code() == CloseCode.EXPIRED


@pytest.mark.parametrize("dialect", [DirectSession, BroadcastSession])
def test_a_token_of_the_handshake_ends_with_it_too(world: World, dialect: Callable[..., Any]) -> None:
    assert world.admission.tokens is not None
    shown = world.admission.tokens.verify(token(exp=NOW + 60))
    ann = world.connect(dialect, identity=shown.user, shown=shown)
    if dialect is DirectSession:
        assert ann.next() == {"id": 7}
    world.advance(60)
    assert ann.close_code() == CloseCode.EXPIRED


# -- refresh -----------------------------------------------------------------------------------------


def test_a_refresh_moves_the_end_and_changes_what_one_may(world: World) -> None:
    world.hub.room("ops")  # to read there creates no room
    ann = hello(world, token(exp=NOW + 60, rooms={"lobby": "rw", "ops": "r"}), nickname="ann")
    for room in ("lobby", "ops"):
        ann.ask("join", room=room)
        ann.next()
    answer = ann.ask("refresh", token=token(exp=NOW + 120, rooms=["lobby"], nickname="other"))
    assert (answer["type"], answer["expires"]) == ("ok", NOW + 120)
    assert ann.refused("history", room="ops") == 103
    assert ann.ask("leave", room="ops")["type"] == "ok"  # where one is, one stays until then
    assert ann.session.nickname == "ann"
    world.advance(60)
    assert ann.ask("ping")["type"] == "ok"
    world.advance(60)
    assert ann.close_code() == CloseCode.EXPIRED


def test_a_refresh_may_take_permissions_away_that_were_not_limited(world: World) -> None:
    ann = hello(world, token(), nickname="ann")
    assert ann.ask("message", room="ops", message="hi")["offset"] == 1
    ann.ask("refresh", token=token(rooms=["lobby"]))
    assert ann.refused("message", room="ops", message="hi") == 103
    ann.ask("refresh", token=token())
    assert ann.ask("message", room="ops", message="hi")["offset"] == 2


def test_a_refused_refresh_changes_nothing(world: World) -> None:
    ann = hello(world, token(exp=NOW + 60), nickname="ann")
    assert ann.refused("refresh", token="nonsense") == 101
    assert ann.refused("refresh", token=token(exp=NOW)) == 101
    refusal = ann.ask("refresh", token=token(sub=8))
    assert (refusal["code"], "of user 8, and you are user 7" in refusal["reason"]) == (107, True)
    assert ann.refused("refresh") == 107
    assert ann.ask("message", room="r", message="hi")["offset"] == 1
    world.advance(60)
    assert ann.close_code() == CloseCode.EXPIRED


def test_refreshes_that_are_refused_count_as_errors(world: World) -> None:
    ann = hello(world, token(), nickname="ann")
    ann.send_together(*({"type": "refresh", "token": "nonsense"} for _ in range(64)))
    assert ann.close_code() == CloseCode.TOO_MANY_ERRORS


def test_a_stranger_becomes_nobody_else_by_a_refresh(world: World) -> None:
    eve = world.enter("eve")
    assert eve.welcome["user"] < 0
    assert eve.refused("refresh", token=token()) == 107


def test_a_refresh_needs_tokens() -> None:
    with worlds() as world:
        assert world.enter("ann").refused("refresh", token=token()) == 107
        ann = hello_as(world, User(7, "ann"))
        assert ann.refused("refresh", token=token()) == 101


# -- permissions -------------------------------------------------------------------------------------

ROOMS = {"lobby": "rw", "news": "r", "drop": "w", "*": ""}
COMMANDS: list[tuple[str, dict[str, Any], str]] = [
    ("join", {}, "r"),
    ("subscribe", {}, "r"),
    ("history", {}, "r"),
    ("count", {}, "r"),
    ("who", {}, "r"),
    ("message", {"message": "hi"}, "w"),
    ("typing", {}, "w"),
    ("react", {"event": 1, "emoji": "🎉"}, "w"),
    ("unreact", {"event": 1, "emoji": "🎉"}, "w"),
]


@pytest.mark.parametrize(("command", "fields", "letter"), COMMANDS)
def test_every_command_needs_its_letter(
    world: World, command: str, fields: dict[str, Any], letter: str
) -> None:
    bob = world.enter("bob")
    ann = hello(world, token(rooms=ROOMS), nickname="ann")
    for room, letters in {**ROOMS, "ops": ""}.items():
        bob.ask("message", room=room, message="hi")
        answer = ann.ask(command, room=room, **fields)
        if letter in letters:
            assert answer.get("code") in (None, 102), answer  # 102: nobody types where they are not
        else:
            assert (answer["code"], answer["reason"].endswith(f"room {room}")) == (103, True)


def test_a_burst_of_messages_is_looked_at_one_by_one(world: World) -> None:
    ann = hello(world, token(rooms=ROOMS), nickname="ann")
    ann.send_together(
        {"type": "message", "id": "a", "room": "lobby", "message": "1"},
        {"type": "message", "id": "b", "room": "news", "message": "2"},
        {"type": "message", "id": "c", "room": "lobby", "message": "3"},
    )
    assert ann.reply("a")["offset"] == 1
    assert ann.reply("b")["code"] == 103
    assert ann.reply("c")["offset"] == 2


def test_the_list_of_rooms_has_those_one_may_read(world: World) -> None:
    bob = world.enter("bob")
    for room in ("lobby", "news", "drop", "ops"):
        bob.ask("message", room=room, message="hi")
    ann = hello(world, token(rooms=ROOMS), nickname="ann")
    assert [room["name"] for room in ann.ask("rooms")["rooms"]] == ["lobby", "news"]
    assert len(bob.ask("rooms")["rooms"]) == 4


def test_the_hook_is_asked_after_the_token(world: World) -> None:
    asked: list[tuple[str, object]] = []
    world.hooks.set("authorize", lambda user, action, room: asked.append((action, room)) or room != "news")
    ann = hello(world, token(rooms=ROOMS), nickname="ann")
    assert ann.refused("join", room="ops") == 103
    assert ann.refused("join", room="news") == 103
    assert ann.ask("join", room="lobby")["type"] == "ok"
    assert asked == [("join", "news"), ("join", "lobby")]


def test_the_broadcast_room_has_permissions_too(world: World) -> None:
    assert world.admission.tokens is not None
    shown = world.admission.tokens.verify(token(rooms={"/ws": "r"}))
    ann = world.connect(BroadcastSession, identity=shown.user, shown=shown)
    ann.send({"from": "ann", "message": "hi"})
    assert ann.next() == {"error": "you may not write in room /ws"}
    shown = world.admission.tokens.verify(token(rooms=["lobby"]))
    bob = world.connect(BroadcastSession, identity=shown.user, shown=shown)
    assert bob.close_code() == CloseCode.FORCE_DISCONNECT


def test_only_who_is_known_is_told_the_version(world: World) -> None:
    assert hello(world, token(nickname="ann")).welcome["version"] == __version__
    assert "version" not in world.enter("bob").welcome
