"""Tests of resume tokens: they say who one was, to whoever has the key, for a day."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadchat.server.auth import resume
from threadchat.server.auth.resume import RESUME_TTL, Identity
from threadchat.server.protocol.commands import MAX_NICKNAME

KEY = b"k" * 32
NOW = 1_790_000_000.0


@given(st.integers(1, 2**62), st.text(max_size=MAX_NICKNAME))
def test_a_token_says_who_one_was(user: int, nickname: str) -> None:
    token = resume.issue(KEY, user, nickname, NOW)
    assert resume.verify(KEY, token, NOW) == Identity(user, nickname, NOW + RESUME_TTL)


def test_a_token_is_printable_and_needs_no_quoting() -> None:
    token = resume.issue(KEY, 1, "\U0001f600" * MAX_NICKNAME, NOW)
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()
    assert token.isascii()


def test_a_token_lasts_a_day() -> None:
    token = resume.issue(KEY, 1, "ann", NOW)
    assert RESUME_TTL == 86_400
    assert resume.verify(KEY, token, NOW + RESUME_TTL - 1)
    assert resume.verify(KEY, token, NOW + RESUME_TTL) is None


def test_another_key_makes_another_token() -> None:
    assert resume.verify(b"other", resume.issue(KEY, 1, "ann", NOW), NOW) is None


def test_no_character_can_be_changed() -> None:
    token = resume.issue(KEY, 1, "ann", NOW)
    payload, _, signature = token.partition(".")
    for part, whole in ((payload, "{}." + signature), (signature, payload + ".{}")):
        for i, character in enumerate(part[:-1]):  # the last one may hold bits that decode to nothing
            changed = part[:i] + ("A" if character != "A" else "B") + part[i + 1 :]
            assert resume.verify(KEY, whole.format(changed), NOW) is None


def test_a_forged_payload_is_refused() -> None:
    signature = resume.issue(KEY, 2, "eve", NOW).partition(".")[2]
    forged = base64.urlsafe_b64encode(msgspec.json.encode(Identity(1, "ann", NOW * 2))).decode().rstrip("=")
    assert resume.verify(KEY, f"{forged}.{signature}", NOW) is None
    assert resume.verify(KEY, f"{forged}.", NOW) is None
    assert resume.verify(KEY, forged, NOW) is None


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a", "a.a", "é.ü", "\x00", "=.=", "YQ==.YQ==", "x" * 10**6, "." * 5000, "\ud800.a"],
)
def test_garbage_is_nobody(token: str) -> None:
    assert resume.verify(KEY, token, NOW) is None


@given(st.text())
def test_any_text_is_nobody(token: str) -> None:
    assert resume.verify(KEY, token, NOW) is None
