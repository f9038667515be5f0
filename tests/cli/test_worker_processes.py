"""Covers cli/worker_processes.py: who is started when, with real processes that end as they are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.process import until
from threadchat.cli.worker_processes import FIRST_PAUSE, LONGEST_PAUSE, STEADY, Worker, WorkerProcesses


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
def workers(children: Children, clock: Clock) -> WorkerProcesses:
    return WorkerProcesses(2, children, clock=clock)


def buried(workers: WorkerProcesses) -> list[Worker]:
    """Waits until at least one has ended."""
    found: list[Worker] = []
    until(lambda: bool(found.extend(workers.collect_ended()) or found), "a worker to end")
    return found


@pytest.fixture
def fail(workers: WorkerProcesses, children: Children) -> Callable[[], list[Worker]]:
    """Kills the worker that was started last, and returns who is found dead."""

    def kill() -> list[Worker]:
        children.processes[-1].kill()
        return buried(workers)

    return kill


def test_all_are_started_at_once(workers: WorkerProcesses, children: Children) -> None:
    assert workers.running == []
    assert workers.start_due() is None
    assert children.numbers == [1, 2]
    assert [worker.pid for worker in workers.running] == [process.pid for process in children.processes]
    assert workers.start_due() is None  # nobody twice
    assert (children.numbers, workers.collect_ended()) == ([1, 2], [])


def test_who_dies_is_started_again_after_a_pause(
    workers: WorkerProcesses, children: Children, clock: Clock, fail: Callable[[], list[Worker]]
) -> None:
    workers.start_due()
    [dead] = fail()
    assert (dead.number, dead.code, dead.pid) == (2, -signal.SIGKILL, None)
    assert [worker.number for worker in workers.running] == [1]
    assert workers.start_due() == FIRST_PAUSE
    clock.now += FIRST_PAUSE
    assert workers.start_due() is None
    assert children.numbers == [1, 2, 2]


def test_the_pause_grows_and_a_steady_worker_is_forgiven(
    workers: WorkerProcesses, clock: Clock, fail: Callable[[], list[Worker]]
) -> None:
    workers.start_due()
    pauses = []
    for _ in range(8):
        fail()
        pause = workers.start_due()
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        assert workers.start_due() is None
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    clock.now += STEADY
    fail()
    assert workers.start_due() == FIRST_PAUSE


def test_after_stop_nobody_is_started(workers: WorkerProcesses, children: Children, clock: Clock) -> None:
    workers.start_due()
    workers.stop(signal.SIGTERM)
    until(lambda: bool(workers.collect_ended()) or not workers.running, "the workers to end")
    until(lambda: bool(workers.collect_ended()) or not workers.running, "the workers to end")
    clock.now += LONGEST_PAUSE
    assert workers.start_due() is None
    assert children.numbers == [1, 2]
    assert workers.codes == [-signal.SIGTERM, -signal.SIGTERM]


def test_a_deliberate_end_counts_as_death_too(clock: Clock) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    workers = WorkerProcesses(1, lambda number: os.spawnv(os.P_NOWAIT, sys.executable, command), clock=clock)
    workers.start_due()
    [dead] = buried(workers)
    assert (dead.code, workers.codes) == (3, [3])
    assert workers.start_due() == FIRST_PAUSE


def test_a_worker_that_is_buried_is_not_signalled(
    workers: WorkerProcesses, fail: Callable[[], list[Worker]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.start_due()
    fail()
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append(pid))
    workers.stop(signal.SIGTERM)
    assert signalled == [workers.running[0].pid]
