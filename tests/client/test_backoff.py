"""Covers threadchat/client/backoff.py: how pauses grow, and which ends have a way back."""

from __future__ import annotations

import pytest

from threadchat.client.backoff import Backoff, should_reconnect
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, HandshakeRefused


def test_pauses_double_up_to_the_cap_and_are_drawn_from_nothing_up() -> None:
    longest = Backoff(1.0, 10.0, jitter=lambda: 1.0)
    assert [longest.pause() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    half = Backoff(1.0, 10.0, jitter=lambda: 0.5)
    assert [half.pause() for _ in range(3)] == [0.5, 1, 2]
    drawn = [Backoff(4.0).pause() for _ in range(50)]
    assert all(0 <= pause <= 4 for pause in drawn)
    assert len(set(drawn)) > 1


def test_a_thousand_attempts_are_no_problem() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.pause() for _ in range(2000)][-1] == 30


@pytest.mark.parametrize(("lasted", "pause"), [(9.9, 4.0), (10.0, 1.0)])
def test_only_a_connection_that_lasted_starts_over(lasted: float, pause: float) -> None:
    now = 0.0
    backoff = Backoff(1.0, 100.0, steady=10.0, jitter=lambda: 1.0, clock=lambda: now)
    backoff.pause()
    backoff.pause()
    backoff.online()
    now = lasted
    assert backoff.pause() == pause


@pytest.mark.parametrize("code", list(CloseCode))
def test_close_codes_are_those_of_the_table(code: CloseCode) -> None:
    assert should_reconnect(ConnectionClosed(code)) is code.reconnect


@pytest.mark.parametrize(
    ("end", "back"),
    [
        (ConnectionClosed(1008), False),
        (ConnectionClosed(1012), True),
        (ConnectionClosed(3499), True),
        (ConnectionClosed(3999), False),
        (ConnectionClosed(4000), False),
        (HandshakeRefused(500, [], ""), True),
        (HandshakeRefused(429, [], ""), True),
        (HandshakeRefused(403, [], ""), False),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (CommandError(ErrorCode.INTERNAL), True),
        (CommandError(ErrorCode.BAD_REQUEST), False),
        (ValueError(), False),
    ],
)
def test_other_ends(end: Exception, back: bool) -> None:
    assert should_reconnect(end) is back
