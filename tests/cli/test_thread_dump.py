"""Covers threadchat/cli/thread_dump.py: every thread is told of, and thousands in one place in one line."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.process import until
from tests.wire.helpers import PATIENCE, Served
from threadchat.cli import thread_dump
from threadchat.cli.thread_dump import describe_threads, log_threads, number_of, role_of
from threadchat.wire.connection import Connection


def wait_here(started: threading.Semaphore, let_go: threading.Event) -> None:
    started.release()
    let_go.wait(PATIENCE)


@contextmanager
def waiting(*names: str) -> Iterator[None]:
    """Threads of these names, all in one place."""
    started, let_go = threading.Semaphore(0), threading.Event()
    threads = [
        threading.Thread(target=wait_here, args=(started, let_go), name=name, daemon=True) for name in names
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert started.acquire(timeout=PATIENCE)
        yield
    finally:
        let_go.set()
        for thread in threads:
            thread.join()


def line_of(role: str, lines: list[str]) -> str:
    [found] = [line for line in lines if line.startswith(f"{role}: ") and "wait_here" in line]
    return found


def settled(role: str, count: int, *connections: Connection) -> list[str]:
    """The description, once all of a role have come to the same place."""
    begun = f"{role}: {count} at "
    until(lambda: any(line.startswith(begun) for line in describe_threads(())), "the threads to settle")
    return list(describe_threads(connections))


@pytest.mark.parametrize(
    ("name", "number", "role"),
    [
        ("reader-17", 17, "reader"),
        ("producer-17-lobby-3", 17, "producer"),
        ("accept-8080", None, "accept"),
        ("redis-heartbeat", None, "redis-heartbeat"),
        ("MainThread", None, "MainThread"),
        ("Thread-5 (run)", None, "Thread"),
        ("reader-", None, "reader-"),
        ("producer-1-a\nb", 1, "producer"),
        ("", None, ""),
    ],
)
def test_what_a_name_tells(name: str, number: int | None, role: str) -> None:
    assert (number_of(name), role_of(name)) == (number, role)


def test_threads_in_one_place_are_one_line_and_a_few_are_shown() -> None:
    with waiting(*(f"reader-{number}" for number in range(300)), "writer-5"):
        lines = settled("reader", 300)
    line = line_of("reader", lines)
    assert re.match(r"reader: 300 at \S+\.py:\d+ \w+( < \S+\.py:\d+ \S+)+", line)
    assert "test_thread_dump.py" in line
    assert line.endswith(f"and {300 - thread_dump.SHOWN_THREADS} more")
    assert line_of("writer", lines).endswith(": writer-5")
    assert re.fullmatch(r"threads: \d+ in \d+ places; connections: 0", lines[0])
    assert lines[1] == line, "most threads first"
    assert max(map(len, lines)) < 2000


def test_connections_are_shown_and_those_with_most_waiting_first() -> None:
    with Served(number=1) as idle, Served(number=2) as busy, waiting("handler-1", "handler-2", "handler-3"):
        busy.connection.label = "user 3 'ann'"
        busy.connection.outbox.qsize = lambda: 9  # type: ignore[method-assign]
        lines = settled("handler", 3, idle.connection, busy.connection)
    assert lines[0].endswith("connections: 2")
    shown = (
        "handler-2 <Connection 2 user 3 'ann' CONNECTED outbox=9/100>, "
        "handler-1 <Connection 1 nobody CONNECTED outbox=0/100>, handler-3"
    )
    assert line_of("handler", lines).endswith(f": {shown}")


def test_deep_stacks_and_many_places_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            lines.extend(describe_threads(()))

    thread = threading.Thread(target=descend, args=(200,), name="deep-1")
    thread.start()
    thread.join()
    [line] = [line for line in lines if line.startswith("deep")]
    assert " < ...: deep-1" in line
    assert line.count(" < ") == thread_dump.SHOWN_FRAMES
    monkeypatch.setattr(thread_dump, "SHOWN_PLACES", 1)
    with waiting("a", "b"):
        lines = list(describe_threads(()))
    assert len(lines) == 3
    assert re.fullmatch(r"and \d+ more places, with fewer threads each", lines[-1])


def test_a_thread_that_python_did_not_start() -> None:
    places = thread_dump._places([], {1: sys._getframe()})
    assert list(places.values()) == [["unknown"]]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.CRITICAL])
def test_who_asks_is_answered_at_whatever_level(level: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(level, logger="threadchat.cli.thread_dump"):
        log_threads(())
    assert caplog.records[0].getMessage().startswith("threads: ")
    assert {record.levelno for record in caplog.records} == {max(level, logging.INFO)}
