"""When `chat/log/backpressure.py` opens, and how long it holds."""

from __future__ import annotations

import pytest

from tests.chat.helpers import PATIENCE, Clock, Tickets, join, run
from threadchat.chat.log import backpressure as module
from threadchat.chat.log.backpressure import Gate


def test_open_once_all_tickets_passed() -> None:
    line = Tickets()
    gate = Gate(line.ticket() for _ in range(2))
    assert not gate.passed
    line.given[0].let_pass()
    assert not gate.passed
    line.given[1].let_pass()
    assert gate.passed


def test_a_gate_without_tickets_is_open() -> None:
    gate = Gate(())
    assert gate.passed
    gate.wait(1.0)


def test_waits_for_one_ticket_after_the_other() -> None:
    line = Tickets()
    gate = Gate(line.ticket() for _ in range(2))
    first, second = line.given
    threads = run(lambda: gate.wait(1.0), lambda: gate.wait(1.0))
    for _ in threads:
        assert first.waiting.acquire(timeout=PATIENCE)
    assert not second.waiting.acquire(blocking=False)
    first.let_pass()
    for _ in threads:
        assert second.waiting.acquire(timeout=PATIENCE)
    second.let_pass()
    join(threads)


def test_the_timeout_is_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    waited: list[float] = []

    class Slow:
        passed = False

        def begin(self) -> None:
            pass

        def wait(self, timeout: float) -> None:
            waited.append(timeout)
            clock.now += 2.0

    Gate([Slow(), Slow(), Slow()]).wait(3.0)
    assert waited == [3.0, 1.0, 0.0]


def test_all_are_told_at_once_that_a_publisher_waits() -> None:
    told: list[str] = []

    class Listening:
        passed = False

        def begin(self) -> None:
            told.append("begin")

        def wait(self, timeout: float) -> None:
            told.append("wait")

    Gate([Listening(), Listening()]).wait(1.0)
    assert told == ["begin", "begin", "wait", "wait"]
