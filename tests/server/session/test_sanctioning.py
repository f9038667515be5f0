"""Tests of what an application may do to people, such as `chat.ban`; on a real server where it matters."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed as PeerClosed
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.process import until
from tests.wire.helpers import PATIENCE
from threadchat import Chat, Config
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction
from threadchat.errors import CommandError, ErrorCode

Act = Callable[[Chat], Any]


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(port=0)) as chat:
        yield chat


@contextlib.contextmanager
def enter(chat: Chat, nickname: str, *rooms: str) -> Iterator[tuple[ClientConnection, int]]:
    """Somebody on the native dialect, and their id."""
    with connect(chat.url.replace("http", "ws") + "chat", compression=None, proxy=None) as client:
        client.send(json.dumps({"type": "hello", "id": 0, "nickname": nickname}))
        user = told(client, "ok")["user"]
        for room in rooms:
            client.send(json.dumps({"type": "join", "room": room}))
            told(client, "join")
        yield client, user


def told(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next frame of that type."""
    while True:
        frame: dict[str, Any] = json.loads(client.recv(timeout=PATIENCE))
        if frame["type"] == kind:
            return frame


def test_an_address_is_thrown_out_and_kept_out(chat: Chat) -> None:
    chat.listen()
    with enter(chat, "ann", "lobby") as (client, _):
        assert chat.ban(address="127.0.0.0/8", reason="a flood") == [
            Sanction(BAN, "127.0.0.0/8", reason="a flood")
        ]
        with pytest.raises(PeerClosed) as closed:
            told(client, "never")
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3503, "you are banned: a flood")
    for path in ("", "ws", "chat"):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(chat.url.replace("http", "ws") + path, compression=None, proxy=None),
        ):
            pass
        assert refused.value.response.status_code == 403
        assert refused.value.response.body == b"Your address is banned: a flood.\n"
    assert chat.unban(address="127.1.2.3/8")
    with enter(chat, "ann"):
        pass


def test_unban_and_unmute_are_lift_with_a_kind(chat: Chat) -> None:
    chat.ban(7)
    chat.mute(7)
    assert not chat.unmute(7, room="lobby"), "a sanction of another room stays"
    assert chat.unmute(7)
    assert [sanction.kind for sanction in chat.sanctions()] == [BAN]
    assert chat.unban(7)
    assert not chat.unban(7)
    chat.mute(8)
    assert chat.lift("mute", 8)
    assert chat.sanctions() == []


def test_all_that_a_chat_can_do_to_people(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    chat.listen()
    with (
        enter(chat, "ann", "lobby") as (client, user),
        caplog.at_level(logging.INFO, "threadchat.server.session.sanctioning"),
    ):
        [mute] = chat.mute(user, room="lobby", seconds=60, reason="noise", by=9)
        assert (mute.kind, mute.subject, mute.room, mute.reason, mute.by) == (MUTE, user, "lobby", "noise", 9)
        client.send(json.dumps({"type": "message", "room": "lobby", "message": "hi"}))
        assert "you are muted in room lobby until" in told(client, "error")["reason"]
        assert chat.sanctions() == chat.sanctions("lobby") == [mute]
        assert chat.sanctions("") == []
        assert chat.unmute(user, room="lobby", by=9)
        assert not chat.lift("mute", user, room="lobby")
        client.send(json.dumps({"type": "message", "room": "lobby", "message": "secret"}))
        chat.delete("lobby", told(client, "message")["id"], by=9)
        assert told(client, "delete")["userId"] == 9
        assert chat.kick(user, room="lobby", reason="out") == 1
        assert told(client, "kicked")["reason"] == "you were kicked out of room lobby: out"
        chat.close_room("lobby")
        banned = chat.ban(user, with_address=True, seconds=0.5)
        assert [item.subject for item in banned] == [user, "127.0.0.1"]
        with pytest.raises(PeerClosed, match="3503"):
            told(client, "never")
        until(lambda: not chat.hub.is_online(user), "the session ends, which the peer was told of first")
        assert chat.kick(user) == 0
    said = [record.getMessage().split(" ", 3)[:3] for record in caplog.records]
    assert [" ".join(words) for words in said] == [
        "user 9 muted",
        "user 9 lifted",
        "user 9 deleted",
        "the application kicked",
        "the application closed",
        "the application banned",
        "the application banned",
        "the application kicked",
    ]


def test_it_needs_neither_mount_nor_listen(chat: Chat) -> None:
    chat.ban(7)
    assert [item.subject for item in chat.sanctions()] == [7]


BAD: list[tuple[str, Act]] = [
    ("give either a user or an address", lambda chat: chat.ban()),
    ("give either a user or an address", lambda chat: chat.mute(7, address="192.0.2.7")),
    ("user is True", lambda chat: chat.ban(True)),
    ("user is ''", lambda chat: chat.ban("")),
    ("address is a int", lambda chat: chat.ban(address=7)),  # type: ignore[arg-type]
    ("address is '192.0.2'", lambda chat: chat.ban(address="192.0.2")),
    ("room is a int", lambda chat: chat.ban(7, room=8)),  # type: ignore[arg-type]
    ("room is '", lambda chat: chat.ban(7, room="x" * 200)),
    ("seconds is -1", lambda chat: chat.ban(7, seconds=-1)),
    ("seconds is nan", lambda chat: chat.ban(7, seconds=float("nan"))),
    ("seconds is inf", lambda chat: chat.ban(7, seconds=float("inf"))),
    ("seconds is '60'", lambda chat: chat.ban(7, seconds="60")),  # type: ignore[arg-type]
    ("reason is None", lambda chat: chat.ban(7, reason=None)),  # type: ignore[arg-type]
    ("half a surrogate pair", lambda chat: chat.ban(7, reason="\ud800")),
    ("kind is 'kick'", lambda chat: chat.lift("kick", 7)),  # type: ignore[arg-type]
    ("with_address needs a user", lambda chat: chat.ban(address="192.0.2.7", with_address=True)),
    ("user is None", lambda chat: chat.kick(None)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("reason", "act"), BAD, ids=[f"{i} {reason}" for i, (reason, _) in enumerate(BAD)])
def test_what_cannot_be_done_says_what_would_be_right(chat: Chat, reason: str, act: Act) -> None:
    with pytest.raises(CommandError) as caught:
        act(chat)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert reason in caught.value.reason
    assert chat.sanctions() == []


def test_rooms_that_are_not_there(chat: Chat) -> None:
    for act in (lambda: chat.close_room("nowhere"), lambda: chat.delete("nowhere", 1)):
        with pytest.raises(CommandError) as caught:
            act()
        assert caught.value.code is ErrorCode.UNKNOWN_ROOM
