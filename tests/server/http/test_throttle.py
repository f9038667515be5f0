"""Tests of who waits for whom before a handshake computes."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from tests.wire.helpers import PATIENCE, finish, start, until
from threadchat.server.http import throttle as throttle_module
from threadchat.server.http.throttle import Throttle
from threadchat.wire.turnstile import Turnstile


class Writer:
    """An entrant of the line that takes each permit and keeps it."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def wake(self) -> bool:
        self.woken.set()
        return True


def waiting(throttle: Throttle) -> int:
    return len(throttle._turn._cond._waiters)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "AT_ONCE", 1)


def test_newcomers_take_turns_in_their_order() -> None:
    throttle = Throttle()
    through: list[int] = []

    def come(number: int) -> None:
        with throttle:
            through.append(number)

    threads: list[threading.Thread] = []
    with throttle:
        for number in range(5):
            threads.append(start(partial(come, number)))
            until(lambda: waiting(throttle) == len(threads))
        assert through == []
    finish(*threads)
    assert through == [0, 1, 2, 3, 4]


def test_a_few_compute_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "AT_ONCE", 2)
    throttle = Throttle()
    with throttle, throttle:
        third = start(throttle.__enter__)
        until(lambda: waiting(throttle) == 1)
    finish(third)


def test_a_newcomer_waits_for_the_writers_that_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "PATIENCE", PATIENCE)
    line = Turnstile(permits=1)
    throttle = Throttle(line)
    first, second, later = Writer(), Writer(), Writer()
    line.enter([first, second])
    through = threading.Event()

    def come() -> None:
        with throttle:
            through.set()

    newcomer = start(come)
    until(lambda: len(line._line) == 2)  # the second writer, and the newcomer's ticket
    line.enter([later])
    assert first.woken.is_set()
    assert not line.leave(first, False)
    assert second.woken.is_set()
    assert not through.is_set()
    assert not line.leave(second, False)
    finish(newcomer)
    assert through.is_set()
    line.leave(later, False)


def test_a_newcomer_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "PATIENCE", 0.0)
    line = Turnstile(permits=1)
    line.enter([Writer()])  # it never ends its turn
    with Throttle(line):
        pass


def test_a_failure_lets_the_next_one_in() -> None:
    throttle = Throttle()
    with pytest.raises(ValueError, match="refused"), throttle:
        raise ValueError("refused")
    with throttle:
        pass


def test_whoever_is_interrupted_while_waiting_gives_the_turn_back() -> None:
    class Interrupting(Turnstile):
        def ticket(self) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    line = Interrupting()
    line.holders.add(Writer())
    throttle = Throttle(line)
    with pytest.raises(KeyboardInterrupt), throttle:
        pytest.fail("it had no turn")
    line.holders.clear()
    with throttle:
        pass


def test_a_forked_process_lets_everybody_in_again() -> None:
    throttle = Throttle()
    throttle.__enter__()  # by a thread that the fork left behind
    throttle.leave_behind()
    with throttle:
        pass
