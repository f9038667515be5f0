"""Tests of names: what may be one, what may not, and what whoever asks for one is told."""

from __future__ import annotations

import contextlib

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
        "👩🏽\u200d🚀 ❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 1\ufe0f\u20e3",
        "क्\u200dष क्\u200cष",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
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
        ("\u3164", "has U+3164 at character 1"),
        ("❤\ufe0f\ufe0f", "has U+FE0F at character 3"),
        ("\u2800 \u2800", "has U+2800"),
        ("ann\u034f", "has U+034F at character 4"),
        ("ann\ufe00", "has U+FE00"),
        ("ann\ufe0e", "has U+FE0E"),
        ("ann\ufe0f", "has U+FE0F"),
        ("ann1\ufe0f", "has U+FE0F"),
        ("\u115fann", "has U+115F"),
        ("ann\u1160", "has U+1160"),
        ("\u17b4ann", "has U+17B4"),
        ("ann\u180b", "has U+180B"),
        ("ann\uffa0", "has U+FFA0"),
        ("ann\U0001d173", "has U+1D173"),
        ("ann\U000e0041", "has U+E0041 at character 4"),
        ("葛\U000e0100", "has U+E0100"),
        ("🏴\U000e0067\U000e0062\U000e007f", "has U+E0067 at character 2"),
        ("an\u200dn", "has U+200D at character 3"),
        ("an\u200cn", "has U+200C at character 3"),
        ("😀\u200dann", "has U+200D"),
        ("می\u200c\u200cخ", "has U+200C"),
    ],
)
def test_what_cannot_is_refused_and_told_why(name: str, wrong: str) -> None:
    reason = refusal(NAMES.room, name)
    assert wrong in reason
    assert reason.startswith("room ")
    assert reason.isprintable(), "what is wrong is named, not repeated"


DEFAULT_IGNORABLE = [
    *("\xad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\ufeff", "\uffa0"),
    *map(chr, [*range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F)]),
    *map(chr, range(0x2060, 0x2070)),
    *map(chr, [*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4)]),
    *map(chr, [*range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)]),
]
"""The property Default_Ignorable_Code_Point of Unicode 16, DerivedCoreProperties.txt."""


@pytest.mark.parametrize("check", [NAMES.room, NAMES.nickname, NAMES.claimed])
def test_what_nobody_sees_makes_no_second_ann(check: Check) -> None:
    passed = []
    for invisible in {*DEFAULT_IGNORABLE, "\u2800", "\U0001d159"}:
        for name in (f"ann{invisible}", f"{invisible}ann", f"an{invisible}n"):
            with contextlib.suppress(CommandError):
                passed.append(check(name))
    assert passed == []


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Cafe\u0301", "Caf\xe9"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("A\u030angstro\u0308m", "\xc5ngstr\xf6m"),
        ("\u212bngstrom", "\xc5ngstrom"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("Caf\xe9", "Caf\xe9"),
        ("cafe", "cafe"),
    ],
)
def test_a_name_has_one_spelling(typed: str, name: str) -> None:
    with_patterns = NamePolicy(".*", ".*")
    for rules in (NAMES, with_patterns):
        assert [rules.room(typed), rules.nickname(typed), rules.claimed(typed)] == [name] * 3


def test_the_length_is_that_of_the_one_spelling() -> None:
    assert NAMES.nickname("e\u0301" * 64) == "\xe9" * 64
    assert "has 65 characters" in refusal(NAMES.nickname, "e\u0301" * 65)
    assert "has 72 characters" in refusal(NAMES.nickname, "\u0958" * 36)  # for each two in NFC
    refusal(
        NamePolicy("", ".*").claimed, "\u0301\u0323" * 250_000
    )  # at once: sorting them would take minutes


def test_a_claimed_name_is_not_to_be_mistaken() -> None:
    for name in ("", "ann", "a b", "x" * 1024, "Ünï"):
        assert NAMES.claimed(name) == name
    for name in (" ann", "ann ", "  "):
        assert "from has a space at an end" in refusal(NAMES.claimed, name)
    assert "from has 1025 characters" in refusal(NAMES.claimed, "x" * 1025)
    assert "from has U+202E at character 1" in refusal(NAMES.claimed, "\u202eann")


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
    assert NAMES.room(NAMES.room(name)) == NAMES.room(name)
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
