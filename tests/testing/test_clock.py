"""Covers threadchat/testing/clock.py."""

from __future__ import annotations

import threading

import pytest

from threadchat.testing import FakeClock
from threadchat.wire.pinger import Deadlines


def test_time_passes_only_when_told() -> None:
    clock = FakeClock(5)
    assert (clock(), clock.monotonic(), clock.now) == (5, 5, 5)
    clock.advance(2.5)
    clock.advance(0)
    assert clock() == 7.5
    assert repr(clock) == "<FakeClock 7.5>"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_it_never_goes_back(seconds: float) -> None:
    clock = FakeClock()
    with pytest.raises(ValueError, match="by 0 or more"):
        clock.advance(seconds)
    assert clock() == 1000


def test_deadlines_go_off_in_order_each_at_its_own_time_on_this_thread() -> None:
    clock, log = FakeClock(0), []
    first, second = clock.pinger(), clock.pinger()
    for pinger, seconds in ((first, 3), (second, 2), (first, 1), (second, 9)):
        pinger.call_later(seconds, lambda: log.append((clock(), threading.current_thread())))
    clock.advance(8.999)
    assert log == [(seconds, threading.current_thread()) for seconds in (1, 2, 3)]
    clock.advance(0.001)
    assert [when for when, _ in log] == [1, 2, 3, pytest.approx(9)]


def test_what_sets_itself_anew_goes_off_as_often_as_it_would_have() -> None:
    clock, log = FakeClock(0), []
    pinger = clock.pinger()

    def ping() -> None:
        log.append(clock())
        pinger.call_later(30, ping)

    pinger.call_later(10, ping)
    clock.advance(100)
    assert log == [10, 40, 70, 100]
    assert clock() == 100


def test_a_deadline_that_another_one_moved_goes_off_later() -> None:
    clock, log = FakeClock(0), []
    deadlines = Deadlines(clock.pinger())
    deadlines.set("pong", 5, lambda: log.append(clock()))
    deadlines.set("ping", 4, lambda: deadlines.set("pong", 5, lambda: log.append(-clock())))
    clock.advance(100)
    assert log == [-9]


def test_what_is_due_at_once_goes_off_without_time_passing() -> None:
    clock, log = FakeClock(), []
    clock.pinger().call_later(0, lambda: log.append("done"))
    clock.advance(0)
    assert log == ["done"]


def test_steps_too_small_to_add_up_exactly_still_arrive() -> None:
    clock, log = FakeClock(1e9 + 0.1), []
    pinger = clock.pinger()
    for number in range(50):
        pinger.call_later(number * 0.1 + 1e-7, lambda: log.append(clock()))
    clock.advance(10)
    assert log == sorted(log)
    assert len(log) == 50
