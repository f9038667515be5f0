"""Tests of who waits for whom before a handshake computes."""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue

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


class Gate(SimpleQueue[None]):
    """The permits of a throttle, and how often one was asked for."""

    def __init__(self, permits: int) -> None:
        self.asked = 0
        for _ in range(permits):
            self.put(None)

    def get(self, block: bool = True, timeout: float | None = None) -> None:
        self.asked += 1
        super().get(block, timeout)


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "AT_ONCE", 1)
    monkeypatch.setattr(throttle_module, "FEW", 0)


def test_a_few_compute_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "AT_ONCE", 2)
    throttle = Throttle()
    assert throttle._permits.qsize() == 2
    throttle._permits = gate = Gate(2)
    through: list[int] = []

    def come(number: int) -> None:
        with throttle:
            through.append(number)

    with throttle, throttle:
        threads = [start(partial(come, number)) for number in range(5)]
        until(lambda: gate.asked == 7)
        assert through == []
    finish(*threads)
    assert sorted(through) == [0, 1, 2, 3, 4]
    assert gate.qsize() == 2


def test_a_newcomer_does_not_wait_for_a_few_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "PATIENCE", 10 * PATIENCE)
    monkeypatch.setattr(throttle_module, "FEW", 2)
    line = Turnstile(permits=1)
    line.enter([Writer() for _ in range(3)])  # they never end their turns
    assert line.length == 2
    finish(start(partial(_come, Throttle(line))))


def _come(throttle: Throttle) -> None:
    with throttle:
        pass


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
    line.enter([Writer(), Writer()])  # they never end their turns
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
    line.enter([Writer() for _ in range(3)])
    throttle = Throttle(line)
    with pytest.raises(KeyboardInterrupt), throttle:
        pytest.fail("it had no turn")
    line._line.clear()
    with throttle:
        pass


def test_a_forked_process_lets_everybody_in_again() -> None:
    throttle = Throttle()
    throttle.__enter__()  # by a thread that the fork left behind
    throttle.leave_behind()
    with throttle:
        pass
