"""Tests of permissions: what a token's `rooms` allow, and that every command knows what it needs."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from threadchat.errors import BadToken
from threadchat.server.auth.permissions import ACTIONS, NEEDS, PHRASES, Action, Permissions
from threadchat.server.protocol import commands
from threadchat.server.protocol.all_commands import AnyCommand


def letters(claim: Any, room: str) -> str:
    """What is allowed in a room."""
    permissions = Permissions.of(claim)
    assert permissions is not None
    return "".join(letter for letter in "rwm" if permissions.allow(letter, room))


def test_no_claim_says_nothing() -> None:
    assert Permissions.of(None) is None


def test_a_list_of_names_is_to_read_and_write() -> None:
    claim = ["lobby", "team-*"]
    assert [letters(claim, room) for room in ("lobby", "team-7", "team-", "ops")] == ["rw", "rw", "rw", ""]


EXAMPLE = {"lobby": "rw", "ops": "r", "team-*": "rwm", "team-red*": "w", "team-red": "", "*": "r"}


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("lobby", "rw"),
        ("ops", "r"),
        ("ops2", "r"),
        ("team-blue", "rwm"),
        ("team-reds", "w"),
        ("team-red", ""),
        ("/ws", "r"),
        ("*", "r"),
        ("Lobby", "r"),
    ],
)
def test_the_most_specific_name_decides_alone(room: str, allowed: str) -> None:
    assert letters(EXAMPLE, room) == allowed
    assert letters(dict(reversed(EXAMPLE.items())), room) == allowed


@pytest.mark.parametrize("claim", [[], {}, {"lobby": ""}])
def test_what_is_not_named_is_closed(claim: Any) -> None:
    assert letters(claim, "lobby") == ""


@pytest.mark.parametrize("claim", ["lobby", 7, True, [7], [["lobby"]], {"lobby": ["r"]}, {"lobby": None}])
def test_a_claim_of_another_shape_is_refused(claim: Any) -> None:
    with pytest.raises(BadToken, match="neither a list of names nor letters by name"):
        Permissions.of(claim)


def test_an_unknown_letter_is_named() -> None:
    with pytest.raises(BadToken, match="'x' of 'lobby'; the letters are r, w, m, d and c"):
        Permissions.of({"lobby": "rx"})


def test_everything_has_a_phrase_and_a_letter() -> None:
    actions = {*get_args(Action), "typing", "read", "moderate"}
    assert set(PHRASES) == actions
    assert set(NEEDS) == actions - {"moderate"}
    assert set(ACTIONS.values()) == actions - {"moderate"}


def test_no_command_about_a_room_is_forgotten() -> None:
    """Leaving is free; messages are looked at one by one; who moderates is asked by the command itself."""
    free = {commands.Leave, commands.Unsubscribe, commands.Message}
    about_rooms = {
        command
        for command in get_args(AnyCommand)
        if "room" in command.__struct_fields__ and not command.__module__.endswith("moderation")
    }
    moderating = {command for command in about_rooms if command.__name__ in MODERATION}
    assert about_rooms - free - moderating == set(ACTIONS) - {
        commands.SendDirect,
        commands.TypingTo,
        commands.Call,
    }


MODERATION = ("Kick", "Ban", "Unban", "Mute", "Unmute", "Delete", "Close", "Sanctions")
