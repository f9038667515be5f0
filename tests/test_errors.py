"""The tables of codes in `errors.py`, and what their rows promise."""

from __future__ import annotations

import pytest

from threadchat.errors import (
    CloseCode,
    CommandError,
    ConfigError,
    ConnectionClosed,
    ErrorCode,
    Refuse,
    SendTimeout,
)


def coded(number: int) -> CloseCode:
    return next(code for code in CloseCode if code == number)


def test_a_code_is_its_number_and_says_its_reason() -> None:
    assert CloseCode.SLOW == 3008
    assert int(ErrorCode.ALREADY) == 105
    assert all(code.reason for code in (*CloseCode, *ErrorCode))
    assert len({code.value for code in CloseCode}) == len(CloseCode)


@pytest.mark.parametrize("code", [1001, 1006, 1011, 3001, 3005, 3008, 3009, 3010, 3012, 3013])
def test_a_client_comes_back_after_what_was_not_its_fault(code: int) -> None:
    assert coded(code).reconnect


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1005, 1007, 1009, 3500, 3502, 3503, 3504, 3509])
def test_a_client_stays_away_after_the_others(code: int) -> None:
    assert not coded(code).reconnect


def test_a_reason_is_described_by_its_number() -> None:
    assert CloseCode.describe(3012) == CloseCode.NO_PONG.reason
    assert CloseCode.describe(4711) == ""


def test_an_error_has_its_codes_words_unless_it_has_its_own() -> None:
    plain = CommandError(ErrorCode.TOO_MANY_REQUESTS)
    assert (plain.reason, plain.temporary) == (ErrorCode.TOO_MANY_REQUESTS.reason, True)
    own = CommandError(ErrorCode.INTERNAL, "the disk is full", temporary=False)
    assert (own.reason, own.temporary, str(own)) == ("the disk is full", False, "the disk is full")


class Later:
    """As a translation that is looked up when it is shown."""

    def __str__(self) -> str:
        return "no links \ud800"


def test_a_refusal_is_text_that_can_be_sent_whatever_it_was_made_of() -> None:
    reason = Refuse(Later()).reason
    assert (type(reason), reason) == (str, "no links ?")


def test_outside_code_can_catch_what_it_knows() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(SendTimeout, TimeoutError)
    closed = ConnectionClosed(CloseCode.SHUTDOWN, "bye")
    assert (closed.code, closed.reason, str(closed)) == (3001, "bye", "3001 bye")
    assert str(ConnectionClosed(1005)) == "1005"
