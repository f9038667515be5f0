"""Tests of names: what may be one, what may not, and what whoever asks for one is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.helpers import steady
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.auth.name_policy import Check, NamePolicy, name_policy

NAMES = NamePolicy()


def refusal(check: Check, name: str) -> str:
    with pytest.raises(CommandError) as raised:
        check(name)
    assert raised.value.code is ErrorCode.BAD_REQUEST
    return raised.value.reason


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "r" * 128,
        "#general",
        "two words",
        "Ünï, 日本語, العربية",
        "/ws",
        "👨\u200d👩\u200d👧",  # joined by what takes no room
        "می\u200cخواهم",
        "❤\ufe0f",
        "🏴\U000e0067\U000e0062\U000e007f",
        "\ufffd",
    ],
)
def test_what_can_be_seen_may_be_a_name(name: str) -> None:
    NAMES.room(name)
    NAMES.nickname(name[:64])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("", "has 0 characters"),
        ("r" * 129, "has 129 characters; a room's name has from 1 to 128"),
        (" ann", "begins with a space"),
        ("ann ", "has a space at its end"),
        ("   ", "space"),
        ("a\nb", "has U+000A at character 2"),
        ("\x00", "has U+0000"),
        ("a\x7f", "has U+007F"),
        ("a\u0085", "has U+0085"),
        ("a\u00a0b", "has U+00A0"),
        ("a\u3000b", "has U+3000"),
        ("\u202egnp.exe", "has U+202E at character 1"),
        ("ann\u2066", "has U+2066"),
        ("ann\u200b", "has U+200B"),
        ("ann\u200d", "has U+200D at character 4"),
        ("\u200cann", "has U+200C at character 1"),
        ("\ufeffann", "has U+FEFF"),
        ("a\u2028b", "has U+2028"),
        ("\ud800", "has U+D800"),
        ("\ue000", "has U+E000"),
        ("\U0010ffff", "has U+10FFFF"),
        ("\u3164", "shows nothing"),
        ("\ufe0f\ufe0f", "shows nothing"),
        ("\u2800 \u2800", "shows nothing"),
    ],
)
def test_what_cannot_is_refused_and_told_why(name: str, wrong: str) -> None:
    reason = refusal(NAMES.room, name)
    assert wrong in reason
    assert reason.startswith("room ")
    assert reason.isprintable(), "what is wrong is named, not repeated"


def test_nicknames_are_shorter() -> None:
    NAMES.nickname("n" * 64)
    assert "nickname has 65 characters; a nickname has from 1 to 64" in refusal(NAMES.nickname, "n" * 65)


@steady
@given(st.text(max_size=140))
def test_a_name_that_may_be_is_safe_to_show(name: str) -> None:
    try:
        NAMES.room(name)
    except CommandError:
        return
    assert 1 <= len(name) <= 128
    assert name == name.strip()
    name.encode()
    assert name.replace("\u200c", "").replace("\u200d", "")
    assert not any(char < " " or "\u202a" <= char <= "\u202e" for char in name)


def test_a_pattern_decides_alone_but_for_the_length() -> None:
    names = NamePolicy("[a-z]+", r"\w+|\s+")
    names.room("lobby")
    names.nickname("  ")
    assert "a room's name here must match [a-z]+" in refusal(names.room, "Lobby")
    assert "must match [a-z]+" in refusal(names.room, "lobby!")
    assert "has 129 characters" in refusal(names.room, "a" * 129)
    assert "must match" in refusal(names.nickname, "a-b")


def test_patterns_are_compiled_once() -> None:
    assert name_policy("[a-z]+", "") is name_policy("[a-z]+", "")
    assert name_policy("", "") is not name_policy("[a-z]+", "")
