"""A room is created only by somebody who may write there, and as `create_rooms` allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from threadchat import Chat, Config
from threadchat.chat.access.sanctions import MUTE, Sanction
from threadchat.errors import CommandError
from threadchat.server.auth.tokens import sign
from threadchat.testing import LiveServer, Peer

KEY = "a-key-of-forty-characters-that-is-no-secret"
CREATING = ("join", "subscribe", "message")

Start = Callable[..., LiveServer]


@pytest.fixture(params=["memory", "sqlite"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts a server on the broker of this test."""
    servers: list[LiveServer] = []
    broker = "memory" if request.param == "memory" else f"sqlite:{tmp_path}/chat.db"

    def make(hooks: dict[str, Any] | None = None, **settings: Any) -> LiveServer:
        config = Config(port=0, broker=broker, anonymous=True, token_key=KEY, **settings)
        servers.append(LiveServer(Chat(config, **(hooks or {}))).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def enter(server: LiveServer, rooms: dict[str, str] | None = None, user: int | None = None) -> Peer:
    """Somebody with a token, or a stranger."""
    peer = Peer(server.url)
    token = {} if user is None else {"token": sign(server.chat.config, user, "ann", rooms)}
    assert peer.ask("hello", **({"nickname": "ann"} if user is None else {}), **token)["type"] == "ok"
    return peer


def outcome(peer: Peer, command: str, room: str) -> object:
    try:
        return peer.ask(command, room=room, message="hi")["type"]
    except CommandError as error:
        return error.code


def mention(peer: Peer, room: str) -> object:
    """A message that is looked at before it is published."""
    try:
        return peer.ask("message", room=room, message="hi @ann")["type"]
    except CommandError as error:
        return error.code


def names(server: LiveServer) -> set[str]:
    return {room.name for room in server.chat.hub.rooms()}


def test_a_token_that_only_reads_creates_no_room(start: Start) -> None:
    server = start()
    with enter(server, {"*": "r", "team-*": "rw"}, 7) as reader:
        for command in CREATING:
            assert outcome(reader, command, f"for {command}") in (102, 103)
        assert names(server) == set()
        assert outcome(reader, "join", "team-a") == "ok"
        server.chat.publish("news", "hello")
        assert outcome(reader, "join", "news") == "ok"
        assert names(server) == {"team-a", "news"}


def test_a_room_that_is_only_on_the_disk_exists(start: Start, request: pytest.FixtureRequest) -> None:
    server = start(room_ttl=0.05, create_rooms="no")
    lasting = server.chat.config.broker.startswith("sqlite")
    server.chat.publish("news", "hello")
    room = server.chat.hub.room("news")
    room.retire(0.0)
    with enter(server) as stranger:
        assert outcome(stranger, "join", "news") == ("ok" if lasting else 102)


def test_who_may_create_rooms_is_a_setting(start: Start) -> None:
    server = start(create_rooms="known")
    with enter(server) as stranger, enter(server, user=7) as known:
        for command in CREATING:
            room = f"for {command}"
            assert outcome(stranger, command, room) == 102
            assert names(server) == set()
            assert outcome(known, command, room) == "ok"
            assert outcome(stranger, command, room) == "ok"
            server.chat.hub.close_room(room)


def test_only_the_application_creates_rooms_if_it_is_said_so(start: Start) -> None:
    server = start(create_rooms="no")
    with enter(server, user=7) as known:
        for command in CREATING:
            assert outcome(known, command, "r") == 102
        assert mention(known, "r") == 102
        assert names(server) == set()
        server.chat.publish("r", "hello")
        assert mention(known, "r") == "ok"
        for command in ("join", "message"):
            assert outcome(known, command, "r") == "ok"
        assert server.chat.join(7, "another")
        assert names(server) == {"r", "another"}


def test_a_message_to_a_room_that_has_gone_creates_it_no_more_than_the_first_one(start: Start) -> None:
    server = start(create_rooms="no")
    server.chat.publish("r", "hello")
    with enter(server, user=7) as known:
        assert outcome(known, "message", "r") == "ok"
        server.chat.hub.close_room("r")
        assert outcome(known, "message", "r") == 102
    assert names(server) == set()


def test_the_application_is_asked_once_and_its_readers_may_come_first(start: Start) -> None:
    """A program that alone emits in a room has clients that subscribe before its first event."""
    asked: list[tuple[str, object]] = []

    def authorize(user: object, action: str, room: object) -> bool:
        asked.append((action, room))
        return action != "message"

    server = start({"authorize": authorize})
    with enter(server, user=7) as reader:
        assert outcome(reader, "message", "r") == 103
        assert names(server) == set()
        asked.clear()
        assert outcome(reader, "subscribe", "r") == "ok"
    assert asked == [("subscribe", "r")]


def test_somebody_who_is_muted_creates_no_room(start: Start) -> None:
    server = start()
    with enter(server, user=7) as muted:
        server.chat.hub.sanctions.impose(Sanction(MUTE, 7, "", None, "", None))
        assert outcome(muted, "join", "r") == 102
    assert names(server) == set()
