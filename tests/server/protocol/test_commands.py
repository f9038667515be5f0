"""Tests of the commands: their fields, which may be left out, and their limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from threadchat.server.protocol import commands, encoding
from threadchat.server.protocol.all_commands import COMMANDS
from threadchat.server.protocol.commands import (
    MAX_ABOUT,
    MAX_HISTORY,
    MAX_KEY,
    MAX_NICKNAME,
    MAX_ROOM_NAME,
)


def test_there_are_the_commands_of_the_table() -> None:
    speaking = {
        "hello",
        "profile",
        "refresh",
        "join",
        "leave",
        "message",
        "edit",
        "delete",
        "react",
        "unreact",
        "read",
        "direct",
        "subscribe",
        "unsubscribe",
        "typing",
        "typing_to",
        "call",
        "logout",
        "block",
        "unblock",
        "blocked",
    }
    moderating = {"kick", "ban", "unban", "mute", "unmute", "close", "sanctions"}
    assert set(COMMANDS) == speaking | moderating | {"count", "history", "who", "rooms", "ping"}


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type": "hello"}', commands.Hello()),
        ('{"type": "hello", "resume": "x", "id": 1}', commands.Hello(id=1, resume="x")),
        ('{"nickname": "ann", "type": "profile"}', commands.Profile(nickname="ann")),
        ('{"type": "join", "room": "r"}', commands.Join(room="r")),
        (
            '{"type": "subscribe", "room": "r", "types": ["join"], "users": [1, "a"]}',
            commands.Subscribe(room="r", types=["join"], users=[1, "a"]),
        ),
        (
            '{"type": "join", "room": "r", "since": {"offset": 3, "epoch": "e"}}',
            commands.Join(room="r", since=commands.Since(3, "e")),
        ),
        ('{"type": "leave", "room": "r"}', commands.Leave(room="r")),
        ('{"type": "unsubscribe", "room": "r"}', commands.Unsubscribe(room="r")),
        (
            '{"type": "message", "room": "r", "message": "m", "key": "k"}',
            commands.Message(room="r", message="m", key="k"),
        ),
        ('{"type": "direct", "to": 2, "message": "m"}', commands.SendDirect(to=2, message="m")),
        ('{"type": "count", "room": "r"}', commands.Count(room="r")),
        ('{"type": "history", "room": "r"}', commands.History(room="r", limit=100, reverse=False)),
        ('{"type": "who", "room": "r"}', commands.Who(room="r")),
        ('{"type": "who", "room": "r", "after": -7}', commands.Who(room="r", after=-7)),
        ('{"type": "rooms", "prefix": "a/"}', commands.Rooms(prefix="a/")),
        ('{"type": "rooms", "id": "x"}', commands.Rooms(id="x")),
        ('{"type": "typing", "room": "r"}', commands.Typing(room="r")),
        ('{"type": "typing_to", "to": 7}', commands.TypingTo(to=7)),
        (' {"type" : "ping", "more": {"x": [1, 2]}} ', commands.Ping()),
    ],
)
def test_a_command_is_decoded(text: str, command: commands.Command) -> None:
    decoded = encoding.decode_command(text)
    assert decoded == command
    assert type(decoded) is type(command)


LIMITS: list[tuple[dict[str, Any], str, int]] = [
    ({"type": "hello"}, "nickname", MAX_NICKNAME),
    ({"type": "profile"}, "nickname", MAX_NICKNAME),
    ({"type": "profile", "nickname": "n"}, "about", MAX_ABOUT),
    ({"type": "join"}, "room", MAX_ROOM_NAME),
    ({"type": "message", "message": "m"}, "room", MAX_ROOM_NAME),
    ({"type": "message", "message": "m", "room": "r"}, "key", MAX_KEY),
]


@pytest.mark.parametrize(("command", "field", "most"), LIMITS)
@pytest.mark.parametrize("character", ["x", "\U0001f600"])
def test_a_text_has_at_most_so_many_characters(
    command: dict[str, Any], field: str, most: int, character: str
) -> None:
    longest = json.dumps({**command, field: character * most})
    assert getattr(encoding.decode_command(longest), field) == character * most
    with pytest.raises(encoding.BadCommand, match=f"length <= {most} - at `\\$.{field}`"):
        encoding.decode_command(json.dumps({**command, field: character * (most + 1)}))


@pytest.mark.parametrize(
    ("limit", "taken"), [(0, False), (1, True), (MAX_HISTORY, True), (MAX_HISTORY + 1, False)]
)
def test_a_page_has_at_least_one_event_and_at_most_a_thousand(limit: int, taken: bool) -> None:
    text = json.dumps({"type": "history", "room": "r", "limit": limit})
    if taken:
        assert encoding.decode_command(text) == commands.History(room="r", limit=limit)
        return
    with pytest.raises(encoding.BadCommand, match="limit"):
        encoding.decode_command(text)
