"""The line that writers stand in, and the permits that go round it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from tests.wire.helpers import PATIENCE, finish, free_permits, run_all, start, switching
from threadchat.wire.turnstile import Ticket, Turnstile, default_permits


class Entrant:
    """Notes each time that it is woken."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def wake(self) -> bool:
        self._log.append(self.name)
        return True


class Runner:
    """A thread that takes `turns` turns, each of them ended by `leave`; lists itself like an outbox."""

    def __init__(self, turnstile: Turnstile, running: Running, turns: int) -> None:
        self._turnstile = turnstile
        self._running = running
        self._wakeup = threading.Semaphore(0)
        self.left = turns
        self.thread = start(self._run)

    def wake(self) -> bool:
        self._wakeup.release()
        return True

    def _run(self) -> None:
        while self.left:
            assert self._wakeup.acquire(timeout=PATIENCE)
            again = True
            while again:
                with self._running:
                    self.left -= 1
                again = self._turnstile.leave(self, self.left > 0)
            if self.left % 3 == 0:  # whoever is not next may be urged by somebody
                self._turnstile.urge(self)


class Running:
    """Counts who is between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def abcd(log: list[str]) -> list[Entrant]:
    return [Entrant(name, log) for name in "abcd"]


# -- turns ---------------------------------------------------------------------------------------------


def test_as_many_run_as_there_are_permits(log: list[str], abcd: list[Entrant]) -> None:
    turnstile = Turnstile(2)
    turnstile.enter(abcd)
    assert log == ["a", "b"]
    assert repr(turnstile) == "<Turnstile line=2 permits=0/2 free>"


def test_whoever_leaves_wakes_the_next(log: list[str], abcd: list[Entrant]) -> None:
    turnstile = Turnstile(1)
    turnstile.enter(abcd)
    for entrant in abcd:
        assert turnstile.leave(entrant, again=False) is False
    assert log == ["a", "b", "c", "d"]
    assert free_permits(turnstile) == 1


def test_who_has_more_to_do_goes_to_the_back(log: list[str], abcd: list[Entrant]) -> None:
    a, b, c, _ = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a, b))
    turnstile.enter((c,))
    assert turnstile.leave(a, again=True) is False
    assert turnstile.leave(b, again=False) is False
    assert turnstile.leave(c, again=False) is False
    assert log == ["a", "b", "c", "a"]


def test_who_has_more_to_do_keeps_the_permit_where_nobody_waits(log: list[str], abcd: list[Entrant]) -> None:
    turnstile = Turnstile(2)
    turnstile.enter(abcd[:1])
    assert turnstile.leave(abcd[0], again=True) is True
    assert log == ["a"]
    turnstile.leave(abcd[0], again=False)
    assert free_permits(turnstile) == 2


def test_who_was_listed_on_leaving_keeps_the_permit(log: list[str], abcd: list[Entrant]) -> None:
    """Between settling as IDLE and leaving, a publisher may have put it into the line again."""
    a, b, *_ = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a,))
    turnstile.enter((a, b))
    assert turnstile.leave(a, again=False) is True
    assert log == ["a"]
    assert turnstile.leave(a, again=False) is False
    assert log == ["a", "b"]


def test_nobody_stands_twice(log: list[str], abcd: list[Entrant]) -> None:
    a, b, *_ = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a,))
    for _ in range(3):
        turnstile.enter((b, b))
    turnstile.leave(a, again=False)
    turnstile.leave(b, again=False)
    assert log == ["a", "b"]
    assert free_permits(turnstile) == 1


def test_the_urgent_take_turns_with_the_rest(log: list[str]) -> None:
    a, b, c, d, e, f = (Entrant(name, log) for name in "abcdef")
    turnstile = Turnstile(1)
    turnstile.enter((a, b, c, d, e, f))
    for entrant in (f, e, a):  # a runs; stands in no line
        turnstile.urge(entrant)
    for entrant in (a, f, b, e, c, d):
        turnstile.leave(entrant, again=False)
    assert log == ["a", "f", "b", "e", "c", "d"]
    assert free_permits(turnstile) == 1


def test_whoever_is_urged_keeps_the_place_in_the_line_too(log: list[str], abcd: list[Entrant]) -> None:
    """So urging is for nobody's worse, and nobody is served twice for it."""
    a, b, c, d = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a, b, c, d))
    for entrant in (d, c, b):
        turnstile.urge(entrant)
    for entrant in (a, d, b, c):
        turnstile.leave(entrant, again=False)
    assert log == ["a", "d", "b", "c"]
    assert free_permits(turnstile) == 1


def test_those_who_are_urgent_again_and_again_starve_nobody(log: list[str], abcd: list[Entrant]) -> None:
    """Three peers that ping whenever they were answered, and one who has something to read."""
    *pingers, victim = abcd
    turnstile = Turnstile(2)
    turnstile.enter(pingers)
    turnstile.urge(pingers[2])
    turnstile.enter((victim,))
    ticket = turnstile.ticket()
    names = {entrant.name: entrant for entrant in abcd}
    at = 0
    while not ticket.passed:
        served = names[log[at]]
        at += 1
        assert at < 12, "the ticket does not get its turn"
        turnstile.leave(served, again=served is not victim)
        turnstile.urge(served)
    assert "d" in log[:7]


def test_a_holder_that_stands_in_line_gets_no_second_permit(log: list[str], abcd: list[Entrant]) -> None:
    a, b, *_ = abcd
    turnstile = Turnstile(2)
    turnstile.enter((a,))
    turnstile.enter((a, b))
    assert log == ["a", "b"]
    turnstile.leave(b, again=False)
    assert log == ["a", "b"], "a runs, and finds out itself that there is more"
    assert turnstile.leave(a, again=False) is True
    assert turnstile.leave(a, again=False) is False
    assert free_permits(turnstile) == 2


def test_whoever_withdraws_is_out_of_the_line_and_has_no_permit(log: list[str], abcd: list[Entrant]) -> None:
    a, b, c, _ = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a, b, c))
    turnstile.urge(b)
    turnstile.withdraw(b)
    turnstile.enter((a,))
    turnstile.withdraw(a)
    assert log == ["a", "c"]
    turnstile.withdraw(c)
    assert free_permits(turnstile) == 1
    assert not turnstile._urgent


# -- tickets -------------------------------------------------------------------------------------------


def test_a_ticket_passes_at_once_where_nobody_waits() -> None:
    turnstile = Turnstile(1)
    assert turnstile.ticket().passed
    assert free_permits(turnstile) == 1, "a ticket needs no permit"


def test_a_ticket_passes_after_those_before_it_and_not_for_those_behind(
    log: list[str], abcd: list[Entrant]
) -> None:
    a, b, c, d = abcd
    turnstile = Turnstile(1)
    turnstile.enter((a, b))
    first = turnstile.ticket()
    turnstile.enter((c,))
    second = turnstile.ticket()
    turnstile.enter((d,))
    turnstile.leave(a, again=False)
    assert not first.passed
    turnstile.leave(b, again=False)
    assert (first.passed, second.passed) == (True, False)
    turnstile.leave(c, again=True)
    assert second.passed
    turnstile.leave(d, again=False)
    turnstile.leave(c, again=False)
    assert log == ["a", "b", "c", "d", "c"]
    assert free_permits(turnstile) == 1


@pytest.mark.parametrize("end", ["leave", "again", "withdraw"])
def test_a_ticket_waits_for_a_turn_before_it_that_has_begun(abcd: list[Entrant], end: str) -> None:
    a, b, *_ = abcd
    turnstile = Turnstile(2)
    turnstile.enter((a, b))
    ticket = turnstile.ticket()
    turnstile.leave(a, again=False)
    assert not ticket.passed, "b has a permit, but may not have run yet"
    if end == "withdraw":
        turnstile.withdraw(b)
    else:
        assert turnstile.leave(b, again=end == "again") is (end == "again")
    assert ticket.passed
    assert turnstile.tickets == []


def test_tickets_at_the_end_of_the_line_give_the_permit_back(abcd: list[Entrant]) -> None:
    turnstile = Turnstile(1)
    turnstile.enter(abcd[:1])
    tickets = [turnstile.ticket() for _ in range(3)]
    turnstile.leave(abcd[0], again=False)
    assert all(ticket.passed for ticket in tickets)
    assert free_permits(turnstile) == 1


def test_who_waits_for_a_ticket_is_woken(abcd: list[Entrant]) -> None:
    turnstile = Turnstile(1)
    turnstile.enter(abcd[:1])
    ticket = turnstile.ticket()
    publishers = [start(lambda: ticket.wait(PATIENCE)) for _ in range(3)]
    turnstile.leave(abcd[0], again=False)
    finish(*publishers)


def test_a_ticket_that_was_waited_for_long_enough_counts_as_passed() -> None:
    ticket = Ticket(Turnstile())
    ticket.wait(0)
    assert ticket.passed


# -- permits -------------------------------------------------------------------------------------------


def test_two_permits_or_the_cores_where_there_is_no_interpreter_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert default_permits() == 2
    assert Turnstile().permits == 2
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert default_permits() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_permits() == 2


@pytest.mark.parametrize("permits", [1, 2, 5])
def test_never_more_run_than_there_are_permits_and_everybody_does(permits: int) -> None:
    with switching():
        turnstile = Turnstile(permits)
        running = Running()
        runners = [Runner(turnstile, running, turns=30) for _ in range(40)]
        tickets: list[Ticket] = []

        def enter(own: list[Runner]) -> Callable[[], None]:
            def body() -> None:
                turnstile.enter(own)
                tickets.append(turnstile.ticket())

            return body

        run_all([enter(runners[i::4]) for i in range(4)])
        finish(*(runner.thread for runner in runners))
    assert [runner.left for runner in runners] == [0] * 40
    assert running.most <= permits
    assert all(ticket.passed for ticket in tickets)
    assert free_permits(turnstile) == permits
