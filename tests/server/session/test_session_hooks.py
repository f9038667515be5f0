"""Tests of the hooks in sessions: what each dialect asks the application, when, and what comes of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.session_helpers import Json, Person, World, worlds
from tests.wire.helpers import PATIENCE
from threadchat.chat.log.events import Draft
from threadchat.errors import CommandError, Refuse
from threadchat.server.auth.hooks import SessionInfo
from threadchat.server.auth.users import User
from threadchat.server.protocol.encoding import BROADCAST_ROOM
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.wire.connection import ConnectionState

ANN = User(7, "ann")


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def fail(*arguments: object) -> Any:
    raise ValueError("the database is away")


def nobody(environ: object) -> None:
    """An application that knows its users, and this is none of them."""


def said(messages: list[Json]) -> list[str]:
    return [message["message"] for message in messages]


def hello(world: World, **options: Any) -> Person:
    person = world.connect(**options)
    person.welcome = person.ask("hello")
    return person


# -- who one is --------------------------------------------------------------------------------------


def test_a_known_user_need_not_choose_a_nickname(world: World) -> None:
    ann = hello(world, identity=ANN)
    assert (ann.welcome["user"], ann.welcome["nickname"]) == (7, "ann")
    assert ann.ask("join", room="r")["type"] == "ok"
    assert ann.next()["from"] == "ann"
    world.advance(world.config.profile_timeout)
    assert ann.ask("ping")["type"] == "ok"


def test_a_known_user_chooses_no_other_nickname(world: World) -> None:
    ann = world.connect(identity=ANN)
    assert ann.ask("hello", nickname="root")["nickname"] == "ann"
    refusal = ann.ask("profile", nickname="root")
    assert (refusal["code"], refusal["reason"]) == (103, "your nickname here is ann")
    assert ann.ask("profile", nickname="ann", about="me")["type"] == "ok"
    assert world.hub.about(7) == "me"


def test_a_known_user_without_a_name_chooses_one(world: World) -> None:
    ann = hello(world, identity=User(7))
    assert "nickname" not in ann.welcome
    assert ann.refused("join", room="r") == 103
    assert ann.ask("profile", nickname="ann")["type"] == "ok"
    assert ann.ask("profile", nickname="anna")["type"] == "ok"


def test_a_token_makes_nobody_else_of_a_known_user(world: World) -> None:
    eve = world.enter("eve")
    ann = world.connect(identity=ANN)
    reply = ann.ask("hello", resume=eve.welcome["resume"])
    assert (reply["user"], reply["nickname"]) == (7, "ann")


def test_a_token_is_no_login(world: World) -> None:
    world.hooks.set("authenticate", nobody)
    ann = hello(world, identity=ANN)
    thief = world.connect()
    assert thief.ask("hello", resume=ann.welcome["resume"])["user"] < 0
    back = world.connect()
    assert back.ask("hello", resume=thief.ask("profile", nickname="eve")["resume"])["user"] == -1


def test_two_sessions_of_a_known_user_are_one_person(world: World) -> None:
    first, second = hello(world, identity=ANN), hello(world, identity=ANN)
    first.ask("join", room="r")
    second.ask("join", room="r")
    assert [event["type"] for event in first.take(2)] == ["join", "add"]
    world.hub.direct(7, "hi")
    assert second.next()["type"] == "add"
    assert [person.next()["message"] for person in (first, second)] == ["hi", "hi"]


def test_known_users_on_the_direct_dialect_have_their_ids(world: World) -> None:
    world.hooks.set("authenticate", nobody)
    assert world.connect(DirectSession, identity=ANN).next() == {"id": 7}
    assert world.connect(DirectSession).next() == {"id": -1}


# -- on_connect, on_disconnect -----------------------------------------------------------------------


def test_the_hooks_of_one_connection_come_in_order_on_its_reader(world: World) -> None:
    calls: list[tuple[str, str]] = []

    def note(name: str) -> Any:
        def hook(*arguments: Any) -> Any:
            calls.append((name, threading.current_thread().name))
            return arguments[2] if name == "on_message" else True

        return hook

    for name in ("on_connect", "on_message", "on_disconnect", "authorize"):
        world.hooks.set(name, note(name))
    ann = world.connect()
    ann.send_together(
        {"type": "hello", "id": "h", "nickname": "ann"},
        {"type": "join", "id": "j", "room": "r"},
        {"type": "message", "id": "m", "room": "r", "message": "hi"},
    )
    ann.reply("m")
    ann.leave()
    assert [name for name, _ in calls] == [
        "on_connect",
        "authorize",
        "authorize",
        "on_message",
        "on_disconnect",
    ]
    assert {thread for _, thread in calls} == {"reader-1"}


def test_whoever_came_is_told_of_and_whoever_went(world: World) -> None:
    came: list[SessionInfo] = []
    went: list[Any] = []
    world.hooks.set("on_connect", came.append)
    world.hooks.set("on_disconnect", lambda *told: went.append(told))
    ann = world.enter("ann")
    info = SessionInfo(User(1, "ann"), ann.welcome["session"], 1, "127.0.0.1")
    assert came == [info]
    ann.ask("profile", nickname="anna")
    ann.client.close(1000, "bye")
    ann.wait_gone()
    assert went == [(info._replace(user=User(1, "anna")), 1000, "bye")]


def test_somebody_kicked_is_told_of_with_the_code(world: World) -> None:
    went: list[int] = []
    world.hooks.set("on_disconnect", lambda info, code, reason: went.append(code))
    ann = world.enter("ann")
    world.hub.disconnect(1)
    ann.wait_gone()
    assert went == [3503]


def test_nobody_who_said_no_hello_came_or_went(world: World) -> None:
    world.hooks.set("on_connect", lambda info: pytest.fail("came"))
    world.hooks.set("on_disconnect", lambda *told: pytest.fail("went"))
    world.connect().leave()


def test_when_they_went_they_are_in_no_room_and_not_online(world: World) -> None:
    seen: list[Any] = []

    def look(info: SessionInfo, code: int, reason: str) -> None:
        seen.append((world.hub.find("r").who(), world.hub.is_online(info.user.id)))

    world.hooks.set("on_disconnect", look)
    world.join("ann", "r").leave()
    assert seen == [([], False)]


def test_one_can_be_welcomed(world: World) -> None:
    world.hooks.set("on_connect", lambda info: world.hub.direct(info.user.id, "welcome"))
    ann = world.enter("ann")
    assert ann.next()["message"] == "welcome"


def test_a_refused_hello_may_be_said_again(world: World) -> None:
    names: list[str] = []

    def known_only(info: SessionInfo) -> None:
        names.append(info.user.nickname)
        if info.user.nickname != "ann":
            raise Refuse("who are you?")

    world.hooks.set("on_connect", known_only)
    ann = world.connect()
    refusal = ann.ask("hello", nickname="eve")
    assert (refusal["code"], refusal["reason"]) == (103, "who are you?")
    assert not world.hub.is_online(1)
    assert ann.refused("join", room="r") == 101
    assert ann.ask("hello", nickname="ann")["type"] == "ok"
    assert names == ["eve", "ann"]


def test_a_hook_that_fails_fails_the_hello_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.hooks.set("on_connect", fail)
    ann = world.connect()
    refusal = ann.ask("hello", nickname="ann")
    assert (refusal["code"], refusal["temporary"]) == (100, True)
    assert ann.ask("ping")["type"] == "ok"
    assert "connection 1 (user 1): the hook fail failed" in caplog.text
    assert "the database is away" in caplog.text
    ann.wait_until_idle()
    world.advance(world.config.hello_timeout)
    assert ann.wait_gone().code == 3502, "the time for a hello runs again"


def test_a_hook_may_take_longer_than_a_hello(world: World) -> None:
    world.hooks.set("on_connect", lambda info: world.advance(world.config.hello_timeout * 2))
    ann = world.enter("ann")
    assert ann.ask("ping")["type"] == "ok"


@pytest.mark.parametrize("error", [ValueError("the database is away"), SystemExit("enough")])
def test_a_farewell_that_fails_ends_nothing(
    world: World, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*told: object) -> None:
        raise error

    world.hooks.set("on_disconnect", fail)
    world.enter("ann").leave()
    assert "fail failed" in caplog.text
    assert world.enter("bob").ask("ping")["type"] == "ok"


@pytest.mark.parametrize(("hook", "code"), [(fail, 1011), (lambda info: refuse("no"), 3503)])
@pytest.mark.parametrize("dialect", [DirectSession, BroadcastSession])
def test_on_the_older_dialects_a_refusal_is_a_close(world: World, dialect: Any, hook: Any, code: int) -> None:
    world.hooks.set("on_connect", hook)
    world.hooks.set("on_disconnect", lambda *told: pytest.fail("they never came"))
    closed = world.connect(dialect).wait_gone()
    assert (closed.code, closed.reason) == (code, "no" if code == 3503 else "internal error")


def refuse(reason: str) -> None:
    raise Refuse(reason)


def test_the_older_dialects_tell_of_who_comes_and_goes(world: World) -> None:
    calls: list[Any] = []
    world.hooks.set("on_connect", lambda info: calls.append(("came", info.user)))
    world.hooks.set("on_disconnect", lambda info, code, reason: calls.append(("went", info.user)))
    for dialect, identity in ((DirectSession, None), (BroadcastSession, None), (BroadcastSession, ANN)):
        world.connect(dialect, identity=identity).leave()
    users = [User(1), User(0), ANN]
    assert calls == [(what, user) for user in users for what in ("came", "went")]


# -- authorize ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "fields", "asked"),
    [
        ("join", {"room": "r"}, ("join", "r")),
        ("subscribe", {"room": "r"}, ("subscribe", "r")),
        ("history", {"room": "r"}, ("history", "r")),
        ("count", {"room": "r"}, ("history", "r")),
        ("who", {"room": "r"}, ("who", "r")),
        ("message", {"room": "r", "message": "hi"}, ("message", "r")),
        ("direct", {"to": 1, "message": "hi"}, ("direct", 1)),
        ("typing_to", {"to": 1}, ("direct", 1)),
    ],
)
def test_what_is_forbidden_is_103_and_has_no_effect(
    world: World, command: str, fields: Json, asked: tuple[str, object]
) -> None:
    world.hub.publish("r", [Draft("message")])
    calls: list[Any] = []
    world.hooks.set("authorize", lambda *arguments: calls.append(arguments))
    ann = world.enter("ann")
    assert ann.refused(command, **fields) == 103
    assert calls == [(User(1, "ann"), *asked)]
    assert ann.unheard() == []
    assert world.hub.find("r").fanout.head.offset == 1
    assert world.hub.find("r").who() == []


def test_what_is_allowed_goes_on(world: World) -> None:
    world.hooks.set("authorize", lambda user, action, room: user.nickname == "ann")
    ann, bob = world.join("ann", "r"), world.enter("bob")
    assert ann.ask("message", room="r", message="hi")["type"] == "ok"
    assert bob.refused("join", room="r") == 103


def test_the_reserved_room_is_not_asked_about(world: World) -> None:
    world.hooks.set("authorize", lambda *asked: pytest.fail("asked"))
    assert world.enter("ann").refused("join", room=BROADCAST_ROOM) == 103


def test_an_authorize_that_fails_is_100(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.hooks.set("authorize", fail)
    ann = world.enter("ann")
    assert ann.refused("join", room="r") == 100
    assert ann.refused("message", room="r", message="hi") == 100
    assert ann.ask("ping")["type"] == "ok"


def test_the_broadcast_dialect_asks_too(world: World) -> None:
    calls: list[Any] = []

    def readers_only(*asked: Any) -> bool:
        calls.append(asked)
        return bool(asked[1] == "subscribe")

    world.hooks.set("authorize", readers_only)
    ann = world.connect(BroadcastSession)
    ann.send({"from": "ann", "message": "hi"})
    assert ann.next() == {"error": "you may not write in room /ws"}
    assert calls == [(User(0), "subscribe", BROADCAST_ROOM), (User(0), "message", BROADCAST_ROOM)]


def test_nobody_has_another_name_on_the_broadcast_dialect_than_the_one_given(world: World) -> None:
    ann = world.connect(BroadcastSession, identity=ANN)
    ann.send({"from": "bob", "message": "hi"})
    assert ann.next() == {"error": "your nickname here is ann"}
    ann.send({"from": "ann", "message": "hi"})
    assert ann.next() == {"from": "ann", "message": "hi"}


def test_whoever_may_not_listen_does_not(world: World) -> None:
    world.hooks.set("authorize", lambda *asked: False)
    assert world.connect(BroadcastSession).wait_gone().code == 3503


def test_the_direct_dialect_asks_too(world: World) -> None:
    calls: list[Any] = []
    world.hooks.set("authorize", lambda *asked: calls.append(asked))
    ann = world.connect(DirectSession)
    ann.next()
    ann.send({"to": 9, "message": "hi"})
    assert ann.next() == {"error": "you may not write to user 9"}
    assert calls == [(User(1), "direct", 9)]


# -- on_message --------------------------------------------------------------------------------------


def test_messages_may_be_changed_and_refused_in_order(world: World) -> None:
    def moderate(user: User, room: str, text: str) -> str | None:
        return None if "spam" in text else text.replace("darn", "****")

    world.hooks.set("on_message", moderate)
    ann = world.join("ann", "r")
    ann.send_together(
        *(
            {"type": "message", "id": f"m{i}", "room": "r", "message": m}
            for i, m in enumerate(["darn", "spam", "fine"])
        )
    )
    replies = [ann.reply(f"m{i}") for i in range(3)]
    assert [reply["type"] for reply in replies] == ["ok", "error", "ok"]
    assert replies[1]["code"] == 103
    assert said(ann.take(2)) == ["****", "fine"]


def test_a_refusal_in_the_applications_words(world: World) -> None:
    def slow_down(user: User, room: str, text: str) -> str:
        raise Refuse(f"not so fast, {user.nickname}")

    world.hooks.set("on_message", slow_down)
    reply = world.enter("ann").ask("message", room="r", message="hi")
    assert (reply["code"], reply["reason"]) == (103, "not so fast, ann")


def test_a_hook_that_fails_on_one_message_ends_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.hooks.set("on_message", lambda user, room, text: text if text != "bad" else fail())
    ann = world.join("ann", "r")
    with caplog.at_level(logging.ERROR):
        assert ann.refused("message", room="r", message="bad") == 100
    assert ann.ask("message", room="r", message="good")["type"] == "ok"
    assert said([ann.next()]) == ["good"]
    assert "connection 1 (user 1 'ann')" in caplog.text


def test_a_refusal_that_is_no_text_yet_ends_nothing(world: World) -> None:
    def refuse_later(user: User, room: str, text: str) -> str:
        raise Refuse(ValueError("no links"))

    world.hooks.set("on_message", refuse_later)
    ann = world.enter("ann")
    assert ann.ask("message", room="r", message="hi")["reason"] == "no links"
    assert ann.ask("ping")["type"] == "ok"


def test_what_has_passed_does_not_wait_for_the_next(world: World) -> None:
    """Two messages in one burst: the first is out while the hook still thinks about the second."""
    go = threading.Event()

    def think(user: User, room: str, text: str) -> str:
        if text == "second":
            assert go.wait(PATIENCE)
        return text

    world.hooks.set("on_message", think)
    bob = world.join("bob", "r")
    ann = world.enter("ann")
    ann.send_together(*({"type": "message", "room": "r", "message": m} for m in ("first", "second")))
    assert said([bob.next()]) == ["first"]
    go.set()
    assert said([bob.next()]) == ["second"]


def test_a_hook_that_blocks_holds_up_nobody_else(world: World) -> None:
    held, go = threading.Event(), threading.Event()

    def block(user: User, room: str, text: str) -> str:
        if user.nickname == "ann":
            held.set()
            assert go.wait(PATIENCE)
        return text

    world.hooks.set("on_message", block)
    ann, bob = world.enter("ann"), world.enter("bob")
    ann.send({"type": "message", "id": "m", "room": "r", "message": "late"})
    assert held.wait(PATIENCE)
    assert bob.ask("message", room="r", message="early")["offset"] == 1
    go.set()
    assert ann.reply("m")["offset"] == 2


def test_what_the_application_publishes_is_not_screened(world: World) -> None:
    world.hooks.set("on_message", lambda *said: pytest.fail("screened"))
    ann = world.join("ann", "r")
    world.hub.publish("r", [Draft("message", message="from the application")])
    assert said([ann.next()]) == ["from the application"]


def test_a_hook_may_publish(world: World) -> None:
    def echo(user: User, room: str, text: str) -> str:
        world.hub.publish(f"{room}-copy", [Draft("message", user.id, user.nickname, text)])
        return text

    world.hooks.set("on_message", echo)
    ann = world.join("ann", "r-copy")
    ann.ask("message", room="r", message="hi")
    assert said([ann.next()]) == ["hi"]


def test_broadcasts_are_screened_too(world: World) -> None:
    calls: list[Any] = []

    def shout(user: User, room: str, text: str) -> str | None:
        calls.append((user, room))
        return text.upper() if text != "quiet" else None

    world.hooks.set("on_message", shout)
    ann = world.connect(BroadcastSession, identity=ANN)
    ann.send({"from": "ann", "message": "hi"})
    assert ann.next() == {"from": "ann", "message": "HI"}
    ann.send({"from": "ann", "message": "quiet"})
    assert "error" in ann.next()
    assert calls == [(ANN, BROADCAST_ROOM)] * 2


def test_without_hooks_a_burst_is_published_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody looks at its messages: the price of hooks is paid by those who have some."""
    monkeypatch.setattr(
        "threadchat.server.auth.identity.Identity.screen_all", lambda *_: pytest.fail("looked")
    )
    sizes: list[int] = []
    publish = world.hub.publish

    def note(name: str, drafts: Any, *openers: Any) -> Any:
        sizes.append(len(drafts))
        return publish(name, drafts, *openers)

    ann = world.enter("ann")
    monkeypatch.setattr(world.hub, "publish", note)
    ann.send_together(*({"type": "message", "room": "r", "message": str(i)} for i in range(10)))
    assert ann.ask("ping")["type"] == "ok"
    assert sizes == [10]


def test_a_state_is_never_left_behind_by_a_refused_hello(world: World) -> None:
    world.hooks.set("on_connect", lambda info: refuse("no"))
    ann = world.connect()
    assert ann.refused("hello", nickname="ann") == 103
    assert ann.session.user is None
    with pytest.raises(CommandError):
        world.hub.direct(1, "hi")
    assert ann.connection.state is ConnectionState.CONNECTED
    assert ann.leave().code == 1000
