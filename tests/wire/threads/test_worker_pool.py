"""Covers wire/threads/worker_pool.py: when its threads start and end, and what it refuses."""

from __future__ import annotations

import threading
import weakref

import pytest

from tests.chat.helpers import join
from tests.wire.helpers import PATIENCE, short_of_threads
from threadchat.wire.threads.worker_pool import WorkerPool


def test_work_is_done_by_a_few_threads_that_end_by_themselves() -> None:
    workers = WorkerPool("worker", 2, 10, linger=0.0)
    barrier = threading.Barrier(3)
    for _ in range(2):
        assert workers.submit(lambda: barrier.wait(PATIENCE) and None)
    threads = list(workers._running)
    assert len(threads) == 2
    third = threading.Event()
    assert workers.submit(third.set)
    assert len(workers._running) == 2
    barrier.wait(PATIENCE)
    assert third.wait(PATIENCE)
    join(threads)
    assert workers._running == set()


def test_a_failure_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    workers = WorkerPool("worker", 1, 10)
    done = threading.Event()
    workers.submit(lambda: 1 // 0)
    workers.submit(done.set)
    assert done.wait(PATIENCE)
    workers.stop(wait=True)
    assert "worker-1 failed" in caplog.text
    assert not workers.submit(done.set)


def test_work_for_which_no_thread_starts_is_refused_and_the_next_is_done() -> None:
    workers = WorkerPool("worker", 2, 10)
    done, never = threading.Event(), threading.Event()
    with short_of_threads("worker", times=3):
        for _ in range(3):
            assert not workers.submit(never.set)
        assert workers.submit(done.set)
        assert done.wait(PATIENCE)
    workers.stop(wait=True)
    assert not never.is_set()


def test_work_for_which_no_further_thread_starts_is_done_by_those_that_run() -> None:
    workers = WorkerPool("worker", 2, 10)
    begun, may_go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_go.wait(PATIENCE)

    assert workers.submit(work)
    assert begun.wait(PATIENCE)
    with short_of_threads("worker") as failed:
        assert workers.submit(done.set)
    assert failed == ["worker-2"]
    may_go.set()
    assert done.wait(PATIENCE)
    workers.stop(wait=True)


def test_too_much_work_is_refused() -> None:
    workers = WorkerPool("worker", 1, 2)
    busy, may_go = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        assert may_go.wait(PATIENCE)

    assert workers.submit(work)
    assert busy.wait(PATIENCE)
    assert workers.submit(work)
    assert workers.submit(work)
    assert not workers.submit(work)
    may_go.set()
    workers.stop(wait=True)


def test_an_idle_thread_keeps_nothing_of_what_it_ran() -> None:
    class Work:
        def __call__(self) -> None:
            pass

    workers = WorkerPool("worker", 1, 10)
    work = Work()
    released = threading.Event()
    weakref.finalize(work, released.set)
    assert workers.submit(work)
    del work
    assert released.wait(PATIENCE)  # long before the thread ends, which lingers
    assert workers._running
    workers.stop(wait=True)
