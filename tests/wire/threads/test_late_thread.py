"""A thread that starts with its first use, and again where it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from tests.wire.helpers import PATIENCE, run_all, short_of_threads
from threadchat.wire.threads.late_thread import LateThread


class Body:
    """What a thread runs: notes its name, and ends when it is told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self) -> None:
        self.names.append(threading.current_thread().name)
        self.begun.release()
        assert self.go.wait(PATIENCE)

    def await_begun(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE)


@pytest.fixture
def body() -> Body:
    return Body()


def end(thread: LateThread, body: Body) -> None:
    body.go.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_it_starts_with_its_first_use_and_once(body: Body) -> None:
    thread = LateThread("late", body)
    assert not thread.is_alive()
    thread.join()  # there is nothing to wait for
    run_all([thread.start] * 8)
    body.await_begun()
    thread.start()
    assert thread.is_alive()
    assert thread._thread is not None
    assert thread._thread.daemon
    end(thread, body)
    assert body.names == ["late"]


def test_a_start_that_failed_is_tried_again(body: Body) -> None:
    thread = LateThread("late", body)
    with short_of_threads("late"):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            thread.start()
        assert not thread.is_alive()
        thread.join()
        thread.start()
    body.await_begun()
    end(thread, body)
    assert body.names == ["late"]


def test_one_that_has_ended_starts_again(body: Body) -> None:
    thread = LateThread("late", body)
    thread.start()
    body.await_begun()
    end(thread, body)
    thread.start()
    body.await_begun()
    end(thread, body)
    assert body.names == ["late"] * 2


def test_its_own_thread_does_not_wait_for_itself() -> None:
    def body() -> None:
        thread.join()

    thread = LateThread("late", body)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_of_two_threads_only_the_one_that_was_started_last_runs(
    body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt leaves the first `start` before its thread has said that it is alive."""
    thread = LateThread("late", body)
    genuine, held = threading.Thread.start, []

    def interrupted(started: threading.Thread) -> None:
        held.append(started)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    monkeypatch.setattr(threading.Thread, "start", genuine)
    thread.start()
    body.await_begun()
    held[0].start()  # the first one is alive only now
    held[0].join(PATIENCE)
    assert not held[0].is_alive()
    end(thread, body)
    assert body.names == ["late"]


def test_a_forked_process_starts_its_own() -> None:
    code = """
import os, threading
from threadchat.wire.threads.late_thread import LateThread
go, ran = threading.Event(), threading.Event()
def body():
    ran.set()
    go.wait()
thread = LateThread("late", body)
thread.start()
assert ran.wait(60)
child = os.fork()
if child == 0:
    ran.clear()
    assert not thread.is_alive()
    thread.start()
    os._exit(0 if ran.wait(60) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], env=environ, timeout=PATIENCE, check=True)
