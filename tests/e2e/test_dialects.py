"""Every command of every dialect, said by the `websockets` library's client to a server process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.process import ServerProcess
from tests.e2e.talker import Talker
from threadchat.errors import ErrorCode


@pytest.fixture
def ann(chat_server: ServerProcess) -> Iterator[Talker]:
    """User 1, on the native dialect."""
    with Talker(chat_server.ws) as talker:
        assert talker.hello("ann")["user"] == 1
        yield talker


@pytest.fixture
def bob(chat_server: ServerProcess, ann: Talker) -> Iterator[Talker]:
    """User 2, on the native dialect."""
    with Talker(chat_server.ws) as talker:
        assert talker.hello("bob")["user"] == 2
        yield talker


@pytest.fixture
def stranger(chat_server: ServerProcess) -> Iterator[Talker]:
    """Somebody who has not said hello."""
    with Talker(chat_server.ws) as talker:
        yield talker


def event(frame: dict[str, Any]) -> tuple[int, str, str]:
    """An event's id, type and who made it."""
    return frame["id"], frame["type"], frame["from"]


# The two older dialects


def test_direct_dialect(chat_server: ServerProcess) -> None:
    with Talker(chat_server.ws, "/") as one, Talker(chat_server.ws, "/") as two:
        assert (one.text(), two.text()) == ('{"id":1}', '{"id":2}')
        one.socket.send('{"to":2,"message":"hi"}')
        assert two.text() == '{"from":1,"message":"hi"}'
        for nonsense in ('{"to":99,"message":"hi"}', "{", "[]", '{"to":"2","message":"hi"}', '{"to":2}'):
            one.socket.send(nonsense)
            assert list(one.next()) == ["error"]
        one.socket.send('{"to":1,"message":"to myself"}')
        assert one.text() == '{"from":1,"message":"to myself"}'
        two.socket.send('{"to":1,"message":"still there?"}')
        assert one.text() == '{"from":2,"message":"still there?"}'


def test_direct_dialect_forgets_who_left(chat_server: ServerProcess) -> None:
    with Talker(chat_server.ws, "/") as one:
        with Talker(chat_server.ws, "/") as two:
            two.text()
        with Talker(chat_server.ws, "/") as three:
            assert three.text() == '{"id":3}'  # an id is never given twice
        one.text()
        one.socket.send('{"to":2,"message":"hi"}')
        assert one.next() == {"error": "user 2 is not online"}


def test_broadcast_dialect(chat_server: ServerProcess) -> None:
    message = '{"from":"ann","message":"hi"}'
    with Talker(chat_server.ws, "/ws") as one, Talker(chat_server.ws, "/ws") as two:
        one.socket.send(message)
        assert (one.text(), two.text()) == (message, message)
        for nonsense in ("{", "[]", '{"from":"ann"}', '{"from":1,"message":"hi"}', message[:-1] + ',"x":1}'):
            two.socket.send(nonsense)
            assert list(two.next()) == ["error"]
        two.socket.send('{"from": "bob", "message": "zwölf <b>\\u0009</b>"}')
        for talker in (one, two):
            assert talker.next() == {"from": "bob", "message": "zwölf <b>\t</b>"}


def test_one_directory_of_people_for_all_dialects(chat_server: ServerProcess, ann: Talker) -> None:
    with Talker(chat_server.ws, "/") as classic:
        assert classic.next() == {"id": 2}
        assert ann.ask("direct", to=2, message="from ann") == {}
        assert classic.next() == {"from": 1, "message": "from ann"}
        classic.send(to=1, message="to ann")
        received = ann.next()
        assert received.pop("unixTime") > 0
        assert received == {"type": "direct", "from": 2, "to": 1, "message": "to ann"}


@pytest.mark.parametrize("path", ["/", "/ws", "/chat"])
def test_binary_is_refused(chat_server: ServerProcess, path: str) -> None:
    with Talker(chat_server.ws, path) as talker:
        talker.socket.send(b"\x00\x01")
        assert talker.close_code() == 1003


# Who one is


def test_hello(stranger: Talker) -> None:
    reply = stranger.ask("hello", nickname="ann")
    assert reply["user"] == 1
    assert reply["session"]
    assert reply["resume"]
    assert "version" not in reply  # a stranger need not know what to look for
    assert stranger.code("hello") == ErrorCode.ALREADY


def test_hello_without_nickname_needs_a_profile(stranger: Talker) -> None:
    assert stranger.ask("hello")["user"] == 1
    for command in ({"command": "join"}, {"command": "message", "message": "hi"}, {"command": "typing"}):
        assert stranger.code(room="lobby", **command) == ErrorCode.PERMISSION_DENIED
    assert stranger.code("direct", to=1, message="hi") == ErrorCode.PERMISSION_DENIED
    assert "offset" in stranger.ask("subscribe", room="lobby")
    assert stranger.next() == {"type": "live", "chatroomId": "lobby"}
    assert list(stranger.ask("profile", nickname="ann", about="a cat person")) == ["resume"]
    assert stranger.ask("message", room="lobby", message="hi") == {"offset": 1}


def test_before_hello_only_ping(stranger: Talker) -> None:
    assert stranger.ask("ping") == {}
    for command in ("join", "leave", "subscribe", "unsubscribe", "count", "history", "who", "typing"):
        assert stranger.code(command, room="lobby") == ErrorCode.UNAUTHORIZED
    assert stranger.code("message", room="lobby", message="hi") == ErrorCode.UNAUTHORIZED
    assert stranger.code("direct", to=1, message="hi") == ErrorCode.UNAUTHORIZED
    assert stranger.code("profile", nickname="ann") == ErrorCode.UNAUTHORIZED
    assert stranger.code("rooms") == ErrorCode.UNAUTHORIZED


def test_resume_makes_one_the_same_person(chat_server: ServerProcess, ann: Talker) -> None:
    resume = ann.ask("profile", nickname="anna")["resume"]
    epoch = ann.ask("join", room="lobby")["epoch"]
    assert event(ann.next()) == (1, "join", "anna")
    with Talker(chat_server.ws) as again, Talker(chat_server.ws) as forger:
        assert again.ask("hello", resume=resume)["user"] == 1
        assert forger.hello("eve", resume=resume[:-2] + "xx")["user"] == 2
        since = {"offset": 0, "epoch": epoch}
        assert again.ask("join", room="lobby", since=since) == {**since, "recovered": True}
        assert event(again.next()) == (1, "join", "anna")
        # Its own coming is no part of the replay, so that either may come first.
        rest = [again.next(), again.next()]
        assert {"type": "live", "chatroomId": "lobby"} in rest
        assert event(ann.next()) == (2, "add", "anna")
        assert ann.ask("who", room="lobby") == {"users": [{"id": 1, "nickname": "anna", "sessions": 2}]}
    assert event(ann.next()) == (3, "remove", "anna")


def test_a_token_is_refused(stranger: Talker) -> None:
    stranger.send(type="hello", token="anything")
    assert stranger.close_code() == 3500


# Rooms


def test_join_and_leave(ann: Talker, bob: Talker) -> None:
    reply = ann.ask("join", room="lobby")
    assert reply["offset"] == 0
    first = ann.next()
    assert event(first) == (1, "join", "ann")
    assert first["userId"] == 1
    assert first["sessionId"]
    assert bob.ask("join", room="lobby") == {"offset": 1, "epoch": reply["epoch"]}
    assert event(bob.next()) == event(ann.next()) == (2, "join", "bob")
    assert bob.code("join", room="lobby") == ErrorCode.ALREADY
    assert bob.code("subscribe", room="lobby") == ErrorCode.ALREADY
    assert bob.ask("leave", room="lobby") == {}
    assert bob.nothing_waits()
    assert event(ann.next()) == (3, "leave", "bob")
    assert bob.code("leave", room="lobby") == ErrorCode.UNKNOWN_ROOM


def test_message(ann: Talker, bob: Talker) -> None:
    bob.ask("join", room="lobby")
    bob.next()
    reply = ann.ask("message", room="lobby", message="hi", key="k1")
    assert reply == {"offset": 2}  # without being a member
    received = bob.next()
    assert received.pop("unixTime") > 0
    assert received == {
        "id": 2,
        "chatroomId": "lobby",
        "type": "message",
        "userId": 1,
        "from": "ann",
        "message": "hi",
    }
    assert ann.ask("message", room="lobby", message="hi again", key="k1") == {"offset": 2}
    assert bob.nothing_waits()
    assert bob.ask("message", room="lobby", message="mine", key="k1") == {"offset": 3}  # a key is its user's
    assert ann.nothing_waits()  # who does not listen gets nothing


def test_subscribe_and_unsubscribe(ann: Talker, bob: Talker) -> None:
    epoch = bob.ask("subscribe", room="news", types=["message"], users=[1])["epoch"]
    assert bob.next() == {"type": "live", "chatroomId": "news"}
    ann.ask("join", room="news")
    ann.ask("message", room="news", message="one")
    bob.ask("message", room="news", message="not for bob")
    ann.ask("message", room="news", message="two")
    assert [bob.next()["message"], bob.next()["message"]] == ["one", "two"]
    assert bob.nothing_waits()
    assert bob.code("leave", room="news") == ErrorCode.UNKNOWN_ROOM  # listening is no membership
    assert bob.ask("unsubscribe", room="news") == {}
    assert bob.code("unsubscribe", room="news") == ErrorCode.UNKNOWN_ROOM
    replay = bob.ask("subscribe", room="news", since={"offset": 2, "epoch": epoch})
    assert replay == {"offset": 2, "epoch": epoch, "recovered": True}
    assert [bob.next()["message"], bob.next()["message"]] == ["not for bob", "two"]
    assert bob.next() == {"type": "live", "chatroomId": "news"}


@pytest.mark.parametrize("since", [{"offset": 99}, {"offset": 0, "epoch": "another"}])
def test_a_position_that_is_no_more(ann: Talker, bob: Talker, since: dict[str, Any]) -> None:
    ann.ask("message", room="news", message="one")
    epoch = ann.ask("history", room="news")["epoch"]
    reply = bob.ask("subscribe", room="news", since={"epoch": epoch, **since})
    assert reply == {"offset": 1, "epoch": epoch, "recovered": False}
    assert bob.next() == {"type": "live", "chatroomId": "news"}
    assert bob.nothing_waits()


def test_direct(ann: Talker, bob: Talker) -> None:
    assert ann.ask("direct", to=2, message="psst") == {}
    received = bob.next()
    assert received.pop("unixTime") > 0
    assert received == {"type": "direct", "from": 1, "to": 2, "nickname": "ann", "message": "psst"}
    assert ann.code("direct", to=99, message="psst") == ErrorCode.NOT_AVAILABLE
    assert ann.nothing_waits()


def test_typing(ann: Talker, bob: Talker) -> None:
    assert bob.code("typing", room="lobby") == ErrorCode.UNKNOWN_ROOM
    ann.ask("join", room="lobby")
    bob.ask("join", room="lobby")
    ann.next(), ann.next(), bob.next()
    assert ann.ask("typing", room="lobby") == {}
    assert bob.next() == {"type": "typing", "chatroomId": "lobby", "userId": 1, "from": "ann"}
    assert ann.nothing_waits()
    assert ann.ask("count", room="lobby") == {"count": 2}


# Questions


def test_history(ann: Talker) -> None:
    for text in ("one", "two", "three"):
        ann.ask("message", room="log", message=text)
    page = ann.ask("history", room="log")
    epoch = page["epoch"]
    assert page["offset"] == 3

    def texts(**fields: object) -> list[str]:
        return [item["message"] for item in ann.ask("history", room="log", **fields)["events"]]

    assert texts() == ["one", "two", "three"]
    assert texts(limit=2) == ["two", "three"]
    assert texts(limit=2, reverse=True) == ["three", "two"]
    assert texts(since={"offset": 1, "epoch": epoch}, limit=1) == ["two"]
    assert texts(since={"offset": 2, "epoch": epoch}, reverse=True) == ["one"]
    assert ann.code("history", room="log", since={"offset": 1, "epoch": "x"}) == 112
    assert ann.code("history", room="log", limit=1001) == ErrorCode.BAD_REQUEST
    assert ann.code("history", room="nowhere") == ErrorCode.UNKNOWN_ROOM


def test_count_who_and_rooms(ann: Talker, bob: Talker) -> None:
    assert ann.ask("rooms") == {"rooms": []}
    ann.ask("join", room="lobby")
    bob.ask("message", room="lobby", message="hi")
    assert ann.ask("count", room="lobby") == {"count": 2}
    assert ann.ask("count", room="lobby", types=["message"]) == {"count": 1}
    assert ann.ask("count", room="lobby", users=[1]) == {"count": 1}
    assert ann.code("count", room="lobby", types=["nonsense"]) == ErrorCode.BAD_REQUEST
    assert ann.ask("rooms") == {"rooms": [{"name": "lobby", "people": 1, "offset": 2}]}
    assert bob.ask("who", room="lobby") == {"users": [{"id": 1, "nickname": "ann", "sessions": 1}]}
    for command in ("count", "who"):
        assert ann.code(command, room="nowhere") == ErrorCode.UNKNOWN_ROOM


# What goes wrong


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 107),
        ("[]", 107),
        ("17", 107),
        ('{"id": 5}', 107),
        ('{"type": "nonsense", "id": 5}', 104),
        ('{"type": "join", "id": 5}', 107),
        ('{"type": "join", "id": 5, "room": 3}', 107),
        ('{"type": "join", "id": 5, "room": " "}', 107),
        ('{"type": "message", "id": 5, "room": "lobby"}', 107),
        ('{"type": "history", "id": 5, "room": "lobby", "since": {"offset": 1}}', 107),
        ('{"type": "join", "id": 5, "room": "/ws"}', 103),
    ],
)
def test_a_bad_command_is_answered_and_ends_nothing(ann: Talker, text: str, code: int) -> None:
    ann.socket.send(text)
    reply = ann.next()
    assert (reply["type"], reply["code"], reply["temporary"]) == ("error", code, False)
    assert reply["reason"]
    assert reply.get("re") == (5 if '"id": 5' in text else None)
    assert ann.ask("ping") == {}


def test_success_without_an_id_is_not_answered(ann: Talker) -> None:
    ann.send(type="ping")
    ann.send(type="message", room="lobby", message="hi")
    assert ann.nothing_waits()
    ann.send(type="leave", room="nowhere")
    reply = ann.next()
    assert (reply["code"], "re" in reply) == (ErrorCode.UNKNOWN_ROOM, False)


def test_a_command_id_may_be_text(ann: Talker) -> None:
    ann.send(type="ping", id="first")
    assert ann.next() == {"type": "ok", "re": "first"}
