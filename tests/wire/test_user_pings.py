"""Pings and the pongs that answer them, by themselves."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.wire.helpers import FakeClock, run_all, switching
from threadchat.errors import TooManyPings
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.user_pings import MAX_UNANSWERED, UserPings


class Asked:
    """UserPings with a clock, and what was put and called back."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counters = ConnectionCounters()
        self.user_pings = UserPings(7, self.clock, self.counters)
        self.put: list[bytes] = []
        self.answers: list[tuple[bytes, float]] = []

    def ask(self, payload: bytes) -> None:
        self.user_pings.ask(payload, lambda seconds: self.answers.append((payload, seconds)), self.put.append)


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_a_pong_answers_its_ping_with_the_time_it_took(asked: Asked) -> None:
    asked.ask(b"1")
    asked.clock.advance(0.25)
    asked.user_pings.answer(b"1")
    asked.user_pings.answer(b"1")
    assert (asked.put, asked.answers) == ([b"1"], [(b"1", 0.25)])


def test_a_pong_answers_all_pings_before_it_and_none_after(asked: Asked) -> None:
    for payload in (b"1", b"2", b"3", b"4"):
        asked.ask(payload)
        asked.clock.advance(1)
    asked.user_pings.answer(b"3")
    assert asked.answers == [(b"1", 4), (b"2", 3), (b"3", 2)]
    asked.user_pings.answer(b"2")
    assert len(asked.answers) == 3
    asked.user_pings.answer(b"4")
    assert asked.answers[3:] == [(b"4", 1)]


@pytest.mark.parametrize("payload", [b"", b"other", b"12"])
def test_a_pong_that_nobody_waits_for_answers_none(asked: Asked, payload: bytes) -> None:
    asked.user_pings.answer(payload)
    asked.ask(b"1")
    asked.user_pings.answer(payload)
    assert asked.answers == []


def test_without_a_payload_each_has_one_of_its_own(asked: Asked) -> None:
    for _ in range(MAX_UNANSWERED):
        asked.user_pings.ask(None, None, asked.put.append)
    assert len(set(asked.put)) == MAX_UNANSWERED
    assert {len(payload) for payload in asked.put} == {4}
    asked.user_pings.answer(asked.put[-1])  # nobody is called back, and all are answered
    asked.user_pings.ask(None, None, asked.put.append)


@pytest.mark.parametrize("payload", [b"x" * 126])
def test_a_payload_is_up_to_125_bytes(asked: Asked, payload: bytes) -> None:
    with pytest.raises(ValueError, match=f"at most 125 bytes, not {len(payload)}"):
        asked.ask(payload)
    asked.ask(b"x" * 125)
    assert asked.put == [b"x" * 125]


def test_a_payload_that_is_on_its_way_cannot_be_told_from_its_twin(asked: Asked) -> None:
    asked.ask(b"1")
    with pytest.raises(ValueError, match="is still unanswered"):
        asked.ask(b"1")
    asked.user_pings.answer(b"1")
    asked.ask(b"1")
    assert asked.put == [b"1", b"1"]


def test_so_many_unanswered_and_no_more(asked: Asked) -> None:
    for i in range(MAX_UNANSWERED):
        asked.ask(b"%d" % i)
    with pytest.raises(TooManyPings, match="16 pings are unanswered"):
        asked.ask(b"one more")
    assert len(asked.put) == MAX_UNANSWERED
    asked.user_pings.answer(b"0")
    asked.ask(b"one more")


def test_a_callback_that_fails_is_logged_and_harms_no_other(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(seconds: float) -> None:
        raise RuntimeError("of the application")

    asked.user_pings.ask(b"1", fail, asked.put.append)
    asked.ask(b"2")
    with caplog.at_level(logging.ERROR):
        asked.user_pings.answer(b"2")
    assert asked.answers == [(b"2", 0)]
    assert [record.message for record in caplog.records] == ["connection 7: on_pong failed"]


def test_a_callback_may_ping_again(asked: Asked) -> None:
    asked.user_pings.ask(b"1", lambda _: asked.ask(b"2"), asked.put.append)
    asked.user_pings.answer(b"1")
    assert asked.put == [b"1", b"2"]


def test_pings_of_many_threads_are_noted_in_the_order_in_which_they_are_put(asked: Asked) -> None:
    """Else a pong would answer one that was not even sent."""
    here = threading.get_ident
    order: list[tuple[int, bytes]] = []

    def ping() -> None:
        for i in range(4):
            payload = b"%d-%d" % (here(), i)
            asked.user_pings.ask(payload, None, lambda data: order.append((here(), data)))

    with switching():
        run_all([ping] * 4)
    assert list(asked.user_pings._sent) == [payload for _, payload in order]
