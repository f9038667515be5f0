"""Covers threadchat/cli/terminal/text.py: what a peer writes stays text, and when there are colours."""

from __future__ import annotations

import io

import msgspec
import pytest

from threadchat.cli.terminal.text import Style, plain, wants_colour
from threadchat.client import ChatEvent

SPOKEN = ChatEvent(type="message", id=1, room="lobby", user=3, nickname="ann", message="hi", time=60)


class Terminal(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("héllo wörld 🎉 日本", "héllo wörld 🎉 日本"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x07\x08\x7f", "a\\rb\\x07\\x08\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("one\ntwo\ttab\u2028", "one\\ntwo\\ttab\\u2028"),
        ("\ud800", "\\ud800"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_what_could_move_a_cursor_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_every_event_is_safe_in_all_its_parts() -> None:
    evil = "\x1b[2J\x1b]0;t\x07"
    kinds = ["message", "join", "add", "remove", "leave", "close", "direct", "gap", "reset", "what\x1bever"]
    kinds += ["edit", "react", "unreact", "delete", "rename"]
    for kind in kinds:
        event = ChatEvent(type=kind, id=1, room=evil, user=evil, nickname=evil, message=evil, session=evil)
        event = msgspec.structs.replace(event, emoji=evil, was=evil, reactions={evil: (1,)})
        line = Style(colour=False).event(event)
        assert line.isprintable(), line


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (SPOKEN, "#lobby ann: hi"),
        (ChatEvent(type="join", room="lobby", nickname="ann", user=3), "#lobby ann joined"),
        (ChatEvent(type="leave", room="lobby", user=3), "#lobby 3 left"),
        (ChatEvent(type="close", room="lobby"), "#lobby the room was closed"),
        (ChatEvent(type="direct", user=3, nickname="ann", message="psst"), "private from ann (3): psst"),
        (ChatEvent(type="message", room="lobby", message="from a job"), "#lobby somebody: from a job"),
        (
            ChatEvent(
                type="message",
                room="lobby",
                nickname="ann",
                message="hi",
                reply_to=7,
                edited=9,
                reactions={"🎉": (1, 2), "👍": ("x",)},
            ),
            "#lobby ann (to message 7): hi (edited) 🎉2 👍1",
        ),
        (
            ChatEvent(type="edit", room="lobby", nickname="ann", message="ho", target=7),
            "#lobby ann changed message 7: ho",
        ),
        (
            ChatEvent(type="edit", room="lobby", nickname="ann", target=7, deleted=True),
            "#lobby ann changed message 7",
        ),
        (
            ChatEvent(type="react", room="lobby", nickname="ann", emoji="🎉", target=7),
            "#lobby ann reacted to message 7 🎉",
        ),
        (
            ChatEvent(type="unreact", room="lobby", nickname="ann", emoji="🎉", target=7),
            "#lobby ann took back the reaction to message 7 🎉",
        ),
        (ChatEvent(type="delete", room="lobby", nickname="ann", target=7), "#lobby ann deleted message 7"),
        (ChatEvent(type="rename", room="lobby", nickname="anna", was="ann"), "#lobby ann is now called anna"),
    ],
)
def test_events_in_words(event: ChatEvent, shown: str) -> None:
    line = Style(colour=False).event(event)
    assert line[:2].isdigit()
    assert line[9:] == shown


def test_notices_in_words() -> None:
    assert (
        Style(colour=False).event(ChatEvent(type="gap", room="lobby", message="2 lost"))
        == "-- gap #lobby: 2 lost"
    )
    assert Style(colour=False).event(ChatEvent(type="connected", message="back")) == "-- connected: back"


def test_one_room_need_not_be_named() -> None:
    assert Style(colour=False, rooms=False).event(SPOKEN)[9:] == "ann: hi"


def test_further_lines_cannot_look_like_messages() -> None:
    assert Style(colour=False).message("one\r\ntwo\n12:00 bob: no") == "one\n    │ two\n    │ 12:00 bob: no"


def test_a_name_has_its_colour() -> None:
    style = Style(colour=True)
    assert style.name("ann") == style.name("ann") != style.name("bob")
    assert style.name("ann").startswith("\x1b[")
    assert style.name("ann").endswith("ann\x1b[0m")
    assert Style(colour=False).name("ann") == "ann"


def test_colours_are_for_terminals_whose_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
