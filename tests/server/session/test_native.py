"""Tests of the native dialect: every command, success and refusal, and every rule of the protocol."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence

import pytest

from tests.server.session_helpers import Json, Person, World, burst, standstill, until, worlds
from tests.wire.helpers import PATIENCE
from threadchat.chat.log.events import Draft, Position
from threadchat.chat.room_shares import Openers
from threadchat.config.settings import Config
from threadchat.errors import CloseCode, CommandError, ErrorCode
from threadchat.server.session.hello import RENAMINGS, RENAMINGS_WINDOW
from threadchat.server.session.publishing import publish
from threadchat.wire.connection import ConnectionState
from threadchat.wire.turnstile import Turnstile


@pytest.fixture(params=["directory", "router"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worlds(routing=request.param) as world:
        yield world


@pytest.fixture
def plain() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def ids(messages: list[Json]) -> list[int]:
    return [message["id"] for message in messages]


def said(messages: list[Json]) -> list[str]:
    return [message["message"] for message in messages]


# -- hello, profile ----------------------------------------------------------------------------------


def test_hello_says_who_one_is_now(plain: World) -> None:
    ann, bob = plain.enter("ann"), plain.enter("bob")
    assert set(ann.welcome) == {"type", "re", "user", "session", "resume"}
    assert (ann.welcome["user"], bob.welcome["user"]) == (1, 2)
    assert ann.welcome["session"] != bob.welcome["session"]


def test_hello_with_a_nickname_is_hello_and_profile(plain: World) -> None:
    ann = plain.enter("ann")
    assert ann.connection.state is ConnectionState.IN_CHAT
    assert ann.ask("message", room="lobby", message="hi")["offset"] == 1


def test_hello_without_a_nickname_needs_a_profile(plain: World) -> None:
    ann = plain.connect()
    ann.ask("hello")
    assert ann.refused("join", room="lobby") == 103
    assert ConnectionState.IN_CHAT not in ann.connection.states
    assert set(ann.ask("profile", nickname="ann")) == {"type", "re", "resume"}
    assert ConnectionState.IN_CHAT in ann.connection.states
    assert ann.ask("join", room="lobby")["type"] == "ok"


def test_a_second_hello_is_refused_and_changes_nothing(plain: World) -> None:
    ann = plain.enter("ann")
    assert ann.refused("hello", nickname="eve") == 105
    ann.ask("join", room="lobby")
    assert ann.next()["from"] == "ann"


def test_a_hello_that_was_refused_may_be_said_again(plain: World) -> None:
    ann = plain.connect()
    assert ann.refused("hello", nickname="n" * 65) == 107
    assert ann.ask("hello", nickname="n" * 64)["type"] == "ok"


@pytest.mark.parametrize("token", ["x", ""])
def test_a_token_is_refused_with_a_close(plain: World, token: str) -> None:
    ann = plain.connect()
    ann.send({"type": "hello", "id": 1, "token": token, "nickname": "ann"})
    assert ann.close_code() == 3500
    assert ann.heard_at_last() == []


BEFORE_HELLO: list[tuple[str, Json]] = [
    ("profile", {"nickname": "ann"}),
    ("join", {"room": "r"}),
    ("leave", {"room": "r"}),
    ("message", {"room": "r", "message": "hi"}),
    ("direct", {"to": 1, "message": "hi"}),
    ("subscribe", {"room": "r"}),
    ("unsubscribe", {"room": "r"}),
    ("count", {"room": "r"}),
    ("history", {"room": "r"}),
    ("who", {"room": "r"}),
    ("rooms", {}),
    ("typing", {"room": "r"}),
    ("typing_to", {"to": 1}),
]


@pytest.mark.parametrize(("command", "fields"), BEFORE_HELLO)
def test_before_hello_everything_but_ping_is_unauthorized(plain: World, command: str, fields: Json) -> None:
    ann = plain.connect()
    assert ann.refused(command, **fields) == 101
    assert ann.unheard() == []


@pytest.mark.parametrize(("command", "fields"), BEFORE_HELLO[1:])
def test_before_profile_one_may_listen_and_ask_but_not_speak(
    plain: World, command: str, fields: Json
) -> None:
    ann = plain.connect()
    ann.ask("hello")
    answer = ann.ask(command, **fields)
    if command in ("join", "message", "direct", "typing", "typing_to"):
        assert answer["code"] == 103
    elif command in ("subscribe", "rooms"):
        assert answer["type"] == "ok"
    else:
        assert answer["code"] == 102


def test_a_profile_renames_and_its_resume_carries_the_new_name(plain: World) -> None:
    ann, bob = plain.join("ann", "lobby"), plain.enter("bob")
    resume = ann.ask("profile", nickname="anna", about="likes tea")["resume"]
    assert bob.ask("who", room="lobby")["users"] == [
        {"id": 1, "nickname": "anna", "sessions": 1, "about": "likes tea"}
    ]
    ann.ask("message", room="lobby", message="hi")
    assert ann.next()["type"] == "rename"
    assert ann.next()["from"] == "anna"
    again = plain.connect()
    assert again.ask("hello", resume=resume)["user"] == 1
    again.ask("join", room="lobby")
    assert ann.next()["from"] == "anna"


def test_a_rename_is_told_in_each_room_that_one_has_joined(plain: World) -> None:
    ann = plain.join("ann", "lobby", "den")
    ann.ask("subscribe", room="attic")
    bob = plain.join("bob", "lobby", "den", "attic")
    ann.unheard()
    ann.ask("profile", nickname="anna")
    ann.ask("profile", nickname="anna", about="likes tea")
    told = bob.unheard()
    assert [(it["type"], it["chatroomId"], it["from"], it["was"]) for it in told] == [
        ("rename", "lobby", "anna", "ann"),
        ("rename", "den", "anna", "ann"),
    ]
    assert told[0]["userId"] == ann.welcome["user"]


def test_a_nickname_changes_so_often_and_no_more(plain: World) -> None:
    ann = plain.join("ann", "lobby")
    for number in range(RENAMINGS):
        assert ann.ask("profile", nickname=f"ann {number}")["type"] == "ok"
    assert ann.refused("profile", nickname="one too many") == 111
    assert ann.ask("profile", nickname=f"ann {RENAMINGS - 1}", about="the same name")["type"] == "ok"
    plain.advance(RENAMINGS_WINDOW / RENAMINGS)
    assert ann.ask("profile", nickname="later")["type"] == "ok"


def test_a_profile_without_about_keeps_what_was_said_before(plain: World) -> None:
    ann = plain.join("ann", "lobby")
    ann.ask("profile", nickname="ann", about="likes tea")
    ann.ask("profile", nickname="anna")
    (user,) = ann.ask("who", room="lobby")["users"]
    assert (user["nickname"], user["about"]) == ("anna", "likes tea")
    ann.ask("profile", nickname="anna", about="")
    (user,) = ann.ask("who", room="lobby")["users"]
    assert "about" not in user


def test_nicknames_are_not_unique(plain: World) -> None:
    assert plain.enter("ann").welcome["user"] != plain.enter("ann").welcome["user"]


# -- resume ------------------------------------------------------------------------------------------


def test_resume_after_a_reset_makes_one_the_same_person(plain: World) -> None:
    ann = plain.enter("ann")
    ann.reset()
    ann.wait_gone()
    again = plain.connect()
    welcome = again.ask("hello", resume=ann.welcome["resume"])
    assert welcome["user"] == ann.welcome["user"]
    assert welcome["session"] != ann.welcome["session"]
    assert welcome["resumed"] is True
    assert "known" not in welcome
    assert again.session.nickname == "ann"
    assert again.connection.state is ConnectionState.IN_CHAT


def test_resume_while_active_adds_a_session(plain: World) -> None:
    ann = plain.join("ann", "lobby")
    second = plain.connect()
    session = second.ask("hello", resume=ann.welcome["resume"])["session"]
    second.ask("join", room="lobby")
    event = ann.next()
    assert (event["type"], event["userId"], event["from"], event["sessionId"]) == ("add", 1, "ann", session)
    assert second.ask("who", room="lobby")["users"] == [{"id": 1, "nickname": "ann", "sessions": 2}]
    assert second.ask("rooms")["rooms"] == [{"name": "lobby", "people": 1, "offset": 2}]
    second.leave()
    assert ann.next()["type"] == "remove"


def test_resume_with_another_nickname_is_the_same_person_renamed(plain: World) -> None:
    ann = plain.enter("ann")
    again = plain.connect()
    assert again.ask("hello", resume=ann.welcome["resume"], nickname="anna")["user"] == 1
    assert again.session.nickname == "anna"


def test_resume_without_a_profile_still_needs_one(plain: World) -> None:
    ann = plain.connect()
    resume = ann.ask("hello")["resume"]
    again = plain.connect()
    assert again.ask("hello", resume=resume)["user"] == 1
    assert again.refused("join", room="lobby") == 103


@pytest.mark.parametrize("resume", ["", "garbage", "a.b", "....", "é.ü", "x" * 100_000])
def test_a_bad_resume_means_a_fresh_user(plain: World, resume: str) -> None:
    plain.enter("ann")
    other = plain.connect()
    welcome = other.ask("hello", resume=resume, nickname="eve")
    assert (welcome["user"], "resumed" in welcome) == (2, False)


def test_an_expired_resume_means_a_fresh_user(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = plain.enter("ann")
    monkeypatch.setattr("threadchat.server.auth.resume.RESUME_TTL", -1.0)
    ann.ask("profile", nickname="ann")
    expired = ann.ask("profile", nickname="ann")["resume"]
    assert plain.connect().ask("hello", resume=expired)["user"] == 2


# -- ids and order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command_id", [0, -1, 2**63, 10**30, "", "a", "ü\u2028", "x" * 1000])
def test_a_reply_carries_the_id_as_re(plain: World, command_id: int | str) -> None:
    ann = plain.connect()
    ann.send({"type": "ping", "id": command_id})
    assert ann.next() == {"type": "ok", "re": command_id}
    ann.send({"type": "rooms", "id": command_id})
    assert ann.next()["re"] == command_id
    ann.send({"type": "nonsense", "id": command_id})
    assert ann.next()["re"] == command_id


WITHOUT_ID: list[Json] = [
    {"type": "hello", "nickname": "ann"},
    {"type": "profile", "nickname": "ann"},
    {"type": "join", "room": "r", "types": []},
    {"type": "subscribe", "room": "s", "types": []},
    {"type": "message", "room": "q", "message": "hi"},
    {"type": "typing", "room": "r"},
    {"type": "leave", "room": "r"},
    {"type": "count", "room": "q"},
    {"type": "history", "room": "q"},
    {"type": "who", "room": "q"},
    {"type": "rooms"},
    {"type": "ping"},
    {"type": "ping", "id": None},
]


def test_success_without_an_id_is_unanswered(plain: World) -> None:
    ann = plain.connect(trailing=burst(*WITHOUT_ID))
    assert ann.unheard() == [{"type": "live", "chatroomId": "s"}]
    assert ann.ask("count", room="q")["count"] == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "leave", "room": "r"}, 102),
        ({"type": "message", "room": "/ws", "message": "hi"}, 103),
        ({"type": "nonsense"}, 104),
        ({"type": "hello"}, 105),
        ({"type": "message", "room": "r"}, 107),
        ({"type": "direct", "to": 99, "message": "hi"}, 108),
        ("not JSON", 107),
    ],
)
def test_an_error_without_an_id_is_answered_without_re(plain: World, message: str | Json, code: int) -> None:
    ann = plain.enter("ann")
    ann.send(message)
    (answer,) = ann.unheard()
    assert answer.pop("reason")
    assert answer == {"type": "error", "code": code, "temporary": False}


@pytest.mark.parametrize(
    "text",
    [
        r'{"type": "message", "id": "m", "room": "r", "message": "cut \ud83d"}',
        r'{"id": "m", "type": "message", "room": "\udc00", "message": "hi"}',
        '{"type": "message", "id": "m", "room": ' + "[" * 600,
    ],
)
def test_a_command_that_is_no_json_is_answered_by_its_id(plain: World, text: str) -> None:
    ann = plain.enter("ann")
    ann.send(text)
    assert ann.reply("m")["code"] == 107


def test_join_replies_before_the_events_and_one_hears_oneself_come(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.enter("bob")
    bob.send({"type": "join", "id": 1, "room": "lobby"})
    reply, event = bob.take(2)
    assert reply.pop("epoch")
    assert reply == {"type": "ok", "re": 1, "offset": 1}
    assert event.pop("unixTime")
    assert event == {
        "id": 2,
        "chatroomId": "lobby",
        "type": "join",
        "userId": 2,
        "from": "bob",
        "sessionId": bob.session.session,  # type: ignore[attr-defined]
    }
    assert ann.next()["id"] == 2


def test_a_leaver_hears_nothing_after_the_reply(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    ann.next()
    bob.send({"type": "leave", "id": "x", "room": "lobby"})
    assert bob.next() == {"type": "ok", "re": "x"}
    ann.ask("message", room="lobby", message="gone?")
    assert bob.unheard() == []
    left, message = ann.take(2)
    assert (left["type"], left["userId"], left["id"]) == ("leave", 2, 3)
    assert message["id"] == 4


def test_nothing_follows_the_reply_to_unsubscribe(world: World) -> None:
    ann, bob = world.enter("ann"), world.enter("bob")
    assert ann.ask("subscribe", room="lobby")["offset"] == 0
    bob.ask("message", room="lobby", message="one")
    assert ann.take(2)[1]["message"] == "one"
    assert set(ann.ask("unsubscribe", room="lobby")) == {"type", "re"}
    bob.ask("message", room="lobby", message="two")
    assert ann.unheard() == []


# -- messages ----------------------------------------------------------------------------------------


def test_a_message_reaches_everybody_with_its_offset_and_the_sender_too(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    ann.next()
    assert ann.ask("message", room="lobby", message="hi \u2028 <b>") == {
        "type": "ok",
        "re": 2 + 1,
        "offset": 3,
    }
    for person in (ann, bob):
        (event,) = person.unheard()
        assert event.pop("unixTime")
        assert event == {
            "id": 3,
            "chatroomId": "lobby",
            "type": "message",
            "userId": 1,
            "from": "ann",
            "message": "hi \u2028 <b>",
        }


def test_a_message_needs_no_membership_and_makes_the_room(plain: World) -> None:
    ann = plain.enter("ann")
    assert ann.refused("history", room="new") == 102
    assert ann.ask("message", room="new", message="hi")["offset"] == 1
    assert ann.ask("who", room="new")["users"] == []


@pytest.mark.parametrize(("command", "fields"), [("message", {"room": "r"}), ("direct", {"to": 1})])
def test_nobody_says_nothing(plain: World, command: str, fields: Json) -> None:
    """As the application's `publish` and `direct` cannot either; so no hook is asked about it."""
    asked: list[str] = []
    plain.hooks.on_message = lambda user, room, text: asked.append(text) or text
    ann = plain.enter("ann")
    answer = ann.ask(command, message="", **fields)
    assert (answer["type"], answer["code"]) == ("error", 107)
    assert asked == []


def test_the_same_key_says_it_once_within_five_minutes(plain: World) -> None:
    ann, bob = plain.join("ann", "lobby"), plain.enter("bob")
    first = ann.ask("message", room="lobby", message="one", key="k")["offset"]
    assert ann.ask("message", room="lobby", message="again", key="k")["offset"] == first
    assert bob.ask("message", room="lobby", message="mine", key="k")["offset"] == first + 1
    assert ann.ask("message", room="other", message="there", key="k")["offset"] == 1
    assert ann.ask("message", room="lobby", message="no key")["offset"] == first + 2
    plain.advance(299)
    assert ann.ask("message", room="lobby", message="again", key="k")["offset"] == first
    plain.advance(1)
    assert ann.ask("message", room="lobby", message="anew", key="k")["offset"] == first + 3
    assert said(ann.unheard()) == ["one", "mine", "no key", "anew"]


def test_a_client_cannot_take_a_key_that_the_application_uses_for_it(plain: World) -> None:
    ann = plain.join("ann", "lobby")
    assert ann.ask("message", room="lobby", message="mine", key="order-17")["type"] == "ok"
    assert plain.hub.is_online(1)
    for _ in range(2):
        publish(plain.hub, Config(), "lobby", "shipped", user=1, nickname="shop", key="order-17")
    assert said(ann.unheard()) == ["mine", "shipped"]


def test_an_application_cannot_take_a_key_that_a_client_has(plain: World) -> None:
    ann = plain.join("ann", "lobby")
    assert ann.ask("message", room="lobby", message="mine", key="k")["type"] == "ok"
    room = plain.hub.room("lobby")
    for say in (
        lambda: publish(plain.hub, Config(), "lobby", "x", user=1, nickname="shop", key="\0k"),
        lambda: room.message(1, "x", key="\0k"),
    ):
        with pytest.raises(CommandError) as refused:
            say()
        assert refused.value.code == ErrorCode.BAD_REQUEST


def test_the_same_key_twice_in_one_burst_says_it_once(plain: World) -> None:
    command = {"type": "message", "room": "r", "message": "x", "key": "k"}
    ann = plain.connect(
        trailing=burst(
            {"type": "hello", "nickname": "ann"}, *[{**command, "id": i} for i in range(3)], {"type": "rooms"}
        )
    )
    assert [ann.next()["offset"] for _ in range(3)] == [1, 1, 1]
    assert ann.ask("count", room="r")["count"] == 1


class Spy:
    """Notes how many messages a hub is given at a time, and to which room."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        publish = world.hub.publish

        def spied(name: str, drafts: Sequence[Draft], *openers: Openers) -> list[Position]:
            self.batches.append((name, [draft.message for draft in drafts]))
            return publish(name, drafts, *openers)

        monkeypatch.setattr(world.hub, "publish", spied)


def test_a_burst_is_published_in_batches_and_answered_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(world, monkeypatch)
    bob = world.join("bob", "r")
    messages = [{"type": "message", "id": i, "room": "r", "message": str(i)} for i in range(60)]
    ann = world.connect(trailing=burst({"type": "hello", "nickname": "ann"}, *messages))
    replies = ann.take(60)
    assert [(reply["re"], reply["offset"]) for reply in replies] == [(i, i + 2) for i in range(60)]
    assert [len(batch) for _, batch in spy.batches] == [25, 25, 10]
    assert said(bob.take(60)) == [str(i) for i in range(60)]


def test_a_burst_on_the_wire_is_answered_in_order(world: World) -> None:
    ann = world.join("ann", "r")
    ann.send_together(
        *[{"type": "message", "id": i, "room": "r", "message": str(i)} for i in range(200, 260)]
    )
    got = ann.take(120)
    assert [(m["re"], m["offset"]) for m in got if "re" in m] == [(i, i - 198) for i in range(200, 260)]
    assert said([m for m in got if "re" not in m]) == [str(i) for i in range(200, 260)]


def test_messages_to_two_rooms_keep_their_order(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(plain, monkeypatch)
    rooms = ["a", "a", "b", "a", "b", "b"]
    messages = [{"type": "message", "id": i, "room": room, "message": str(i)} for i, room in enumerate(rooms)]
    ann = plain.connect(trailing=burst({"type": "hello", "nickname": "ann"}, *messages))
    assert [(m["re"], m["offset"]) for m in ann.take(6)] == [(0, 1), (1, 2), (2, 1), (3, 3), (4, 2), (5, 3)]
    assert spy.batches == [("a", ["0", "1"]), ("b", ["2"]), ("a", ["3"]), ("b", ["4", "5"])]


def test_commands_and_errors_within_a_burst_keep_their_places(plain: World) -> None:
    def message(command_id: int) -> Json:
        return {"type": "message", "id": command_id, "room": "r", "message": str(command_id)}

    ann = plain.connect(
        trailing=burst(
            message(1),
            {"type": "hello", "id": 2, "nickname": "ann"},
            message(3),
            "not JSON",
            message(4),
            {"type": "count", "id": 5, "room": "r"},
            message(6),
            {"type": "message", "id": 7, "room": "/ws", "message": "no"},
            message(8),
            {"type": "leave", "id": 9, "room": "r"},
        )
    )
    got = ann.take(10)
    assert [m.get("re") for m in got] == [1, 2, 3, None, 4, 5, 6, 7, 8, 9]
    assert [m.get("code") for m in got] == [101, None, None, 107, None, None, None, 103, None, 102]
    assert got[5]["count"] == 2


def test_a_batch_is_bounded_in_bytes_too(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(plain, monkeypatch)
    large = "x" * (plain.config.outbox_bytes // 8 + 1)
    messages = [{"type": "message", "id": i, "room": "r", "message": large} for i in range(4)]
    ann = plain.connect(trailing=burst({"type": "hello", "nickname": "ann"}, *messages))
    assert [m["offset"] for m in ann.take(4)] == [1, 2, 3, 4]
    assert [len(batch) for _, batch in spy.batches] == [1, 1, 1, 1]


def test_messages_before_a_binary_frame_are_published(plain: World) -> None:
    ann = plain.enter("ann")
    bob = plain.join("bob", "r")
    ann.send({"type": "message", "id": "m", "room": "r", "message": "last words"})
    ann.send(b"\x00")
    assert ann.close_code() == CloseCode.UNSUPPORTED_DATA
    assert ann.heard_at_last() == [{"type": "ok", "re": "m", "offset": 2}]
    assert bob.next()["message"] == "last words"


def test_the_reserved_room_is_out_of_reach(plain: World) -> None:
    ann = plain.enter("ann")
    for command, fields in BEFORE_HELLO:
        if "room" in fields:
            assert ann.refused(command, **{**fields, "room": "/ws"}) == 103
    assert ann.ask("rooms")["rooms"] == []


def test_a_publication_that_fails_is_answered_and_the_connection_lives(
    plain: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, drafts: Sequence[Draft], *openers: Openers) -> list[Position]:
        raise OSError("the disk is full")

    ann = plain.join("ann", "r")
    with monkeypatch.context() as patch:
        patch.setattr(plain.hub, "publish", fail)
        answer = ann.ask("message", room="r", message="hi")
    assert (answer["code"], answer["temporary"]) == (100, True)
    assert "the disk is full" not in answer["reason"]
    assert ann.ask("message", room="r", message="hi")["offset"] == 2
    assert "the disk is full" in caplog.text


def test_a_command_that_fails_is_answered_and_the_connection_lives(
    plain: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann = plain.enter("ann")
    with monkeypatch.context() as patch:
        patch.setattr(plain.hub, "rooms", lambda: 1 // 0)
        assert ann.refused("rooms") == 100
    assert ann.ask("rooms")["rooms"] == []
    assert "ZeroDivisionError" in caplog.text


# -- direct ------------------------------------------------------------------------------------------


def test_a_direct_message_reaches_every_session_and_comes_not_back(world: World) -> None:
    ann, bob = world.enter("ann"), world.enter("bob")
    bob2 = world.connect()
    bob2.ask("hello", resume=bob.welcome["resume"])
    assert set(ann.ask("direct", to=2, message="hi")) == {"type", "re"}
    for session in (bob, bob2):
        (direct,) = session.unheard()
        assert direct.pop("unixTime")
        assert direct == {"type": "direct", "from": 1, "to": 2, "nickname": "ann", "message": "hi"}
    assert ann.unheard() == []


@pytest.mark.parametrize("to", [99, 2**53, -1, "bob", ""])
def test_a_direct_message_to_nobody_online_is_refused(plain: World, to: int | str) -> None:
    ann = plain.enter("ann")
    assert ann.refused("direct", to=to, message="hi") == 108


@pytest.mark.parametrize("to", [10**30, "x" * 129])
def test_a_direct_message_to_what_can_be_no_id_is_a_bad_one(plain: World, to: int | str) -> None:
    """It would be named in the reply, and to other nodes, however long."""
    assert plain.enter("ann").refused("direct", to=to, message="hi") == 107


def test_who_left_is_not_online(plain: World) -> None:
    ann, bob = plain.enter("ann"), plain.enter("bob")
    bob.leave()
    assert ann.refused("direct", to=2, message="hi") == 108


def test_a_direct_message_to_full_outboxes_is_refused_as_temporary(world: World) -> None:
    ann = world.enter("ann")
    bob = world.connect(turnstile=Turnstile())
    user = bob.ask("hello", nickname="bob")["user"]
    with standstill(bob.turnstile):
        for i in range(world.config.outbox_messages):
            assert ann.ask("direct", to=user, message=str(i))["type"] == "ok"
        answer = ann.ask("direct", to=user, message="too much")
        assert (answer["code"], answer["temporary"]) == (111, True)
    assert said(bob.unheard()) == [str(i) for i in range(world.config.outbox_messages)]


def test_a_direct_message_is_sent_when_one_session_takes_it(world: World) -> None:
    ann, bob = world.enter("ann"), world.connect(turnstile=Turnstile())
    welcome = bob.ask("hello", nickname="bob")
    with standstill(bob.turnstile):
        for i in range(world.config.outbox_messages):
            ann.ask("direct", to=welcome["user"], message=str(i))
        second = world.connect()
        second.ask("hello", resume=welcome["resume"])
        assert ann.ask("direct", to=welcome["user"], message="for one")["type"] == "ok"
    assert said(second.unheard()) == ["for one"]
    assert "for one" not in said(bob.unheard())


# -- typing ------------------------------------------------------------------------------------------


def test_typing_reaches_members_but_not_oneself_and_is_in_no_log(plain: World) -> None:
    ann, bob, eve = plain.join("ann", "r"), plain.join("bob", "r"), plain.enter("eve")
    eve.ask("subscribe", room="r")
    again = plain.connect()
    again.ask("hello", resume=ann.welcome["resume"])
    again.ask("join", room="r")
    for person in (ann, bob, eve, again):
        person.unheard()
    assert set(ann.ask("typing", room="r")) == {"type", "re"}
    assert bob.unheard() == [{"type": "typing", "chatroomId": "r", "userId": 1, "from": "ann"}]
    assert ann.unheard() == again.unheard() == eve.unheard() == []
    assert bob.ask("count", room="r")["count"] == 3


def test_typing_to_somebody_reaches_all_their_sessions_and_nobody_else(plain: World) -> None:
    ann, bob, cy = (plain.enter(name) for name in ("ann", "bob", "cy"))
    assert set(ann.ask("typing_to", to=2)) == {"type", "re"}
    [told] = bob.unheard()
    assert told.pop("unixTime") > 0
    assert told == {"type": "typing", "userId": 1, "from": "ann"}
    assert cy.unheard() == []
    assert ann.ask("typing_to", to=77)["type"] == "ok", "whether somebody is there is not told"


def test_typing_is_shed_where_an_outbox_is_half_full(plain: World) -> None:
    ann, eve = plain.join("ann", "r"), plain.enter("eve")
    bob = plain.connect(turnstile=Turnstile())
    bob.ask("hello", nickname="bob")
    bob.ask("join", room="r")
    with standstill(bob.turnstile):
        for i in range(plain.config.outbox_messages // 2 - 1):
            eve.ask("direct", to=bob.session.user, message=str(i))
        ann.ask("typing", room="r")
        ann.ask("typing", room="r")
    assert [m["type"] for m in bob.unheard()].count("typing") == 1


# -- wrong input -------------------------------------------------------------------------------------

WRONG = [
    ("not JSON", 107, None),
    ("", 107, None),
    ("[1, 2]", 107, None),
    ('"hello"', 107, None),
    ("null", 107, None),
    ("{}", 107, None),
    ('{"id": 7}', 107, 7),
    ('{"type": null, "id": 7}', 107, 7),
    ('{"type": 5, "id": 7}', 104, 7),
    ('{"type": ["hello"], "id": 7}', 104, 7),
    ('{"type": "HELLO", "id": 7}', 104, 7),
    ('{"type": "nonsense", "id": true}', 104, None),
    ('{"type": "ping", "id": true}', 107, None),
    ('{"type": "ping", "id": 1.5}', 107, None),
    ('{"type": "ping", "id": [7]}', 107, None),
    ('{"type": "ping", "id": {"a": 7}}', 107, None),
    ('{"type": "ping", "id": 1e999}', 107, None),
    ('{"type": "ping", "id": ' + "9" * 5000 + "}", 107, None),
    ('{"type": "nonsense", "id": ' + "9" * 5000 + "}", 104, None),
    ('{"type": "join", "id": 7}', 107, 7),
    ('{"type": "join", "id": 7, "room": 5}', 107, 7),
    ('{"type": "join", "id": 7, "room": null}', 107, 7),
    ('{"type": "join", "id": 7, "room": "r", "types": "message"}', 107, 7),
    ('{"type": "join", "id": 7, "room": "r", "users": [1.5]}', 107, 7),
    ('{"type": "message", "id": 7, "room": "r"}', 107, 7),
    ('{"type": "message", "id": 7, "room": "r", "message": 5}', 107, 7),
    ('{"type": "message", "id": 7, "room": "r", "message": "\\ud800 alone"}', 107, 7),
    ('{"type": "who", "id": 7, "room": "\\ud83d"}', 107, 7),
    ('{"type": "direct", "id": 7, "to": 1.5, "message": "hi"}', 107, 7),
    ('{"type": "direct", "id": 7, "to": true, "message": "hi"}', 107, 7),
    ('{"type": "profile", "id": 7}', 107, 7),
    ('{"type": "profile", "id": 7, "nickname": ""}', 107, 7),
    ('{"type": "profile", "id": 7, "nickname": " \\u3000\\n"}', 107, 7),
    ('{"type": "profile", "id": 7, "nickname": "' + "n" * 65 + '"}', 107, 7),
    ('{"type": "profile", "id": 7, "nickname": "n", "about": "' + "a" * 1025 + '"}', 107, 7),
    ('{"type": "join", "id": 7, "room": ""}', 107, 7),
    ('{"type": "join", "id": 7, "room": "   "}', 107, 7),
    ('{"type": "join", "id": 7, "room": "' + "r" * 129 + '"}', 107, 7),
    ('{"type": "message", "id": 7, "room": "r", "message": "m", "key": "' + "k" * 129 + '"}', 107, 7),
    ('{"type": "ping"} x', 107, None),
    ('\ufeff{"type": "ping"}', 107, None),
    ("[" * 100_000, 107, None),
    ('{"type": "ping", "x": ' + "[" * 50_000 + "]" * 50_000 + "}", 107, None),
    ('{"a":' * 700, 107, None),
]


@pytest.mark.parametrize(("text", "code", "command_id"), WRONG, ids=[text[:50] for text, _, _ in WRONG])
def test_wrong_input_is_answered_and_the_connection_lives(
    plain: World, text: str, code: int, command_id: int | None
) -> None:
    ann = plain.enter("ann")
    ann.send(text)
    answer = ann.next()
    reason = answer.pop("reason")
    assert 0 < len(reason) < 500
    re = {} if command_id is None else {"re": command_id}
    assert answer == {"type": "error", **re, "code": code, "temporary": False}
    assert ann.unheard() == []


def test_a_reason_says_what_would_be_right(plain: World) -> None:
    ann = plain.enter("ann")
    assert "hello, profile, refresh, join" in ann.ask("nonsense")["reason"]
    assert "room" in ann.ask("join")["reason"]
    assert "message" in ann.ask("join", room="r", types=["nonsense"])["reason"]
    assert "hello" in plain.connect().ask("join", room="r")["reason"]
    ann.send("[1]")
    assert '{"type": "hello"' in ann.next()["reason"]


def test_the_longest_names_are_taken(plain: World) -> None:
    ann = plain.enter("n" * 64)
    assert ann.ask("join", room="r" * 128)["type"] == "ok"
    assert ann.ask("profile", nickname="\U0001f600" * 64, about="a" * 1024)["type"] == "ok"
    assert ann.ask("message", room="r" * 128, message="m", key="k" * 128)["offset"] == 3


def test_unknown_fields_are_passed_over(plain: World) -> None:
    assert plain.enter("ann").ask("ping", color="red")["type"] == "ok"


# -- the end of the hub -----------------------------------------------------------------------------


def test_after_the_hub_is_closed_commands_are_not_available(plain: World) -> None:
    ann = plain.join("ann", "r")
    plain.hub.close()
    assert ann.next()["type"] == "close"
    assert ann.refused("message", room="r", message="hi") == 108
    assert ann.refused("join", room="r") == 108
    assert ann.refused("subscribe", room="s") == 108
    assert ann.ask("ping")["type"] == "ok"


def test_the_hub_closes_while_many_publish(world: World) -> None:
    people = [world.join(name, "r") for name in ("ann", "bob", "eve")]
    started = threading.Barrier(len(people) + 1)

    def talk(person: Person) -> None:
        started.wait(PATIENCE)
        for i in range(1000, 1050):
            person.send({"type": "message", "id": i, "room": "r", "message": str(i)})

    threads = [threading.Thread(target=talk, args=(person,), daemon=True) for person in people]
    for thread in threads:
        thread.start()
    started.wait(PATIENCE)
    world.hub.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    published = set()
    for person in people:
        got = person.unheard()
        replies = [m for m in got if "re" in m]
        events = [m for m in got if m.get("chatroomId")]
        assert [m["re"] for m in replies] == list(range(1000, 1050)), "every message has its answer, in order"
        accepted = [m["re"] for m in replies if m["type"] == "ok"]
        assert accepted == list(range(1000, 1000 + len(accepted)))
        assert {m["code"] for m in replies if m["type"] == "error"} <= {108}
        assert events[-1]["type"] == "close"
        published |= {m["offset"] for m in replies if m["type"] == "ok"}
        last = events[-1]["id"]
    assert published == set(range(last - len(published), last)), "what was acknowledged is what was heard"


def test_messages_that_are_refused_are_freed_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing refers to their error in a circle, which a full garbage collection alone would find."""
    ann = world.join("ann", "lobby")
    left: list[weakref.ref[BaseException]] = []

    def refuse(*_: object) -> None:
        error = CommandError(ErrorCode.LIMIT_EXCEEDED, "full", temporary=True)
        left.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    monkeypatch.setattr(world.hub, "publish", refuse)
    gc.collect()
    gc.disable()
    try:
        assert ann.refused("message", room="lobby", message="hi") == 106
        until(lambda: left and left[0]() is None)
    finally:
        gc.enable()


def test_a_connection_and_its_session_share_the_keys_of_their_attributes(world: World) -> None:
    """Of objects with more than 30 attributes, each has a dictionary of 1.3 KB of its own."""
    sessions = []
    ann = world.connect(ready=sessions.append)
    ann.ask("hello", nickname="ann")
    ann.ask("join", room="r")
    [session] = sessions
    assert len(vars(session)) <= 30
    assert len(vars(session.connection).keys() - {"states"}) <= 30
