"""Covers threadchat/crew.py: who is started when, with real processes that end as they are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.process import until
from threadchat.crew import FIRST_PAUSE, LONGEST_PAUSE, STEADY, Crew, Worker


class Children:
    """Starts processes that do nothing until they get a signal."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.numbers: list[int] = []

    def __call__(self, number: int) -> int:
        command = [sys.executable, "-c", "import signal; signal.pause()"]
        self.processes.append(subprocess.Popen(command))
        self.numbers.append(number)
        return self.processes[-1].pid

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children()
    yield children
    children.end()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def crew(children: Children, clock: Clock) -> Crew:
    return Crew(2, children, clock=clock)


def buried(crew: Crew) -> list[Worker]:
    """Waits until at least one has ended."""
    found: list[Worker] = []
    until(lambda: bool(found.extend(crew.bury()) or found), "a worker to end")
    return found


@pytest.fixture
def fail(crew: Crew, children: Children) -> Callable[[], list[Worker]]:
    """Kills the worker that was started last, and returns who is found dead."""

    def kill() -> list[Worker]:
        children.processes[-1].kill()
        return buried(crew)

    return kill


def test_all_are_started_at_once(crew: Crew, children: Children) -> None:
    assert crew.running == []
    assert crew.start_due() is None
    assert children.numbers == [1, 2]
    assert [worker.pid for worker in crew.running] == [process.pid for process in children.processes]
    assert crew.start_due() is None  # nobody twice
    assert (children.numbers, crew.bury()) == ([1, 2], [])


def test_who_dies_is_started_again_after_a_pause(
    crew: Crew, children: Children, clock: Clock, fail: Callable[[], list[Worker]]
) -> None:
    crew.start_due()
    [dead] = fail()
    assert (dead.number, dead.code, dead.pid) == (2, -signal.SIGKILL, None)
    assert [worker.number for worker in crew.running] == [1]
    assert crew.start_due() == FIRST_PAUSE
    clock.now += FIRST_PAUSE
    assert crew.start_due() is None
    assert children.numbers == [1, 2, 2]


def test_the_pause_grows_and_a_steady_worker_is_forgiven(
    crew: Crew, clock: Clock, fail: Callable[[], list[Worker]]
) -> None:
    crew.start_due()
    pauses = []
    for _ in range(8):
        fail()
        pause = crew.start_due()
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        assert crew.start_due() is None
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    clock.now += STEADY
    fail()
    assert crew.start_due() == FIRST_PAUSE


def test_after_stop_nobody_is_started(crew: Crew, children: Children, clock: Clock) -> None:
    crew.start_due()
    crew.stop(signal.SIGTERM)
    until(lambda: bool(crew.bury()) or not crew.running, "the workers to end")
    until(lambda: bool(crew.bury()) or not crew.running, "the workers to end")
    clock.now += LONGEST_PAUSE
    assert crew.start_due() is None
    assert children.numbers == [1, 2]
    assert crew.codes == [-signal.SIGTERM, -signal.SIGTERM]


def test_a_deliberate_end_counts_as_death_too(clock: Clock) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    crew = Crew(1, lambda number: os.spawnv(os.P_NOWAIT, sys.executable, command), clock=clock)
    crew.start_due()
    [dead] = buried(crew)
    assert (dead.code, crew.codes) == (3, [3])
    assert crew.start_due() == FIRST_PAUSE


def test_a_worker_that_is_buried_is_not_signalled(
    crew: Crew, fail: Callable[[], list[Worker]], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew.start_due()
    fail()
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append(pid))
    crew.stop(signal.SIGTERM)
    assert signalled == [crew.running[0].pid]
