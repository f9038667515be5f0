"""When `wire/threads/periodic.py` looks: as long as there is something, and sooner when it is tense."""

from __future__ import annotations

import pytest

from tests.wire.helpers import Hand
from threadchat.wire.threads import periodic as module
from threadchat.wire.threads.periodic import CALM, SHARE, TENSE, Periodic, rest_for
from threadchat.wire.threads.reports import REPORTS


class Watchman:
    """Counts the looks, each of which takes so long and says when the next one has to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hand = Hand()
        monkeypatch.setattr(module, "monotonic", self.hand.clock)
        self.rest: float | None = CALM
        self.takes = 0.0
        self.looks = 0
        self.failure: Exception | None = None
        self.rounds = Periodic(self.look, self.hand.pinger.call_later)

    def look(self) -> float | None:
        self.looks += 1
        self.hand.clock.now += self.takes
        if self.failure is not None:
            raise self.failure
        return self.rest

    def after(self, seconds: float) -> int:
        self.hand.advance(seconds)
        return self.looks


@pytest.fixture
def watchman(monkeypatch: pytest.MonkeyPatch) -> Watchman:
    return Watchman(monkeypatch)


def test_nobody_looks_before_there_is_something(watchman: Watchman) -> None:
    assert watchman.after(100) == 0


def test_one_chain_of_looks_however_many_come(watchman: Watchman) -> None:
    for _ in range(3):
        watchman.rounds.watch()
    assert watchman.after(CALM) == 1
    watchman.rounds.watch()
    assert watchman.after(CALM * 0.9) == 1
    assert watchman.after(CALM * 0.1) == 2


def test_tense_it_looks_sooner(watchman: Watchman) -> None:
    watchman.rest = TENSE
    watchman.rounds.watch()
    watchman.after(CALM)
    assert [watchman.after(TENSE) for _ in range(3)] == [2, 3, 4]


@pytest.mark.parametrize(("amount", "rest"), [(0, CALM), (50, CALM), (51, TENSE), (200, TENSE)])
def test_more_than_half_is_tense(amount: int, rest: float) -> None:
    assert rest_for(amount, 100) == rest


def test_a_look_that_takes_long_is_followed_by_a_long_rest(watchman: Watchman) -> None:
    watchman.rounds.watch()
    watchman.takes = 0.25
    watchman.after(CALM)
    assert watchman.after(0.25 / SHARE - 0.5) == 1
    assert watchman.after(0.5) == 2


def test_it_ends_where_nothing_is_left_and_begins_again(watchman: Watchman) -> None:
    watchman.rounds.watch()
    watchman.rest = None
    assert watchman.after(CALM) == 1
    assert watchman.after(100) == 1
    watchman.rounds.watch()
    assert watchman.after(CALM) == 2


def test_a_look_that_fails_is_not_the_last(watchman: Watchman, caplog: pytest.LogCaptureFixture) -> None:
    watchman.failure = ZeroDivisionError()
    watchman.rounds.watch()
    assert watchman.after(CALM) == 1
    assert watchman.after(CALM) == 2
    assert REPORTS.flush(10)
    assert "ZeroDivisionError" in caplog.text


def test_whoever_comes_while_it_looks_is_not_forgotten(watchman: Watchman) -> None:
    """The look found nothing, but just then something came."""
    watchman.rest = None
    watchman.rounds = Periodic(
        lambda: (watchman.rounds.watch(), watchman.look())[1],  # type: ignore[func-returns-value]
        watchman.hand.pinger.call_later,
    )
    watchman.rounds.watch()
    assert watchman.after(CALM) == 1
    assert watchman.after(CALM) == 2


def test_a_fork_begins_anew(watchman: Watchman) -> None:
    watchman.rounds.watch()
    watchman.rounds._lock.acquire()  # by a thread that the child does not have
    watchman.rounds.leave_behind()
    assert watchman.after(CALM) == 0
    watchman.rounds.watch()
    assert watchman.after(CALM) == 1
