"""Log lines that nobody waits for."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.wire.helpers import PATIENCE, short_of_threads
from threadchat.wire.pinger import Pinger
from threadchat.wire.threads.reports import Reports

logger = logging.getLogger("somebody")


class Handler(logging.Handler):
    """Keeps what is logged, and by which thread; writes nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.lines.append((threading.current_thread().name, record.getMessage()))


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture(autouse=True)
def _attached(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])


def test_whoever_reports_waits_for_no_handler(handler: Handler) -> None:
    reports = Reports()
    for number in range(3):
        reports.log(logger, logging.WARNING, "line %d", number)
    assert handler.begun.wait(PATIENCE)
    assert handler.lines == []
    assert not reports.flush(0)
    handler.go.set()
    assert reports.flush(PATIENCE)
    assert handler.lines == [("reports", f"line {number}") for number in range(3)]


def test_what_is_too_much_is_dropped_and_told_of(handler: Handler) -> None:
    reports = Reports(most=2)
    reports.log(logger, logging.WARNING, "first")
    assert handler.begun.wait(PATIENCE)
    for number in range(5):
        reports.log(logger, logging.WARNING, "line %d", number)
    handler.go.set()
    assert reports.flush(PATIENCE)
    texts = [text for _, text in handler.lines]
    assert texts == ["first", "line 0", "line 1", "3 lines were dropped: the log is read too slowly"]


def test_a_line_for_which_no_thread_starts_comes_with_the_next(handler: Handler) -> None:
    reports = Reports()
    handler.go.set()
    with short_of_threads("reports"):
        reports.log(logger, logging.WARNING, "first")
        assert handler.lines == []
        reports.log(logger, logging.WARNING, "second")
        assert reports.flush(PATIENCE)
    assert [text for _, text in handler.lines] == ["first", "second"]


def test_the_pinger_goes_on_while_nobody_reads_the_log(handler: Handler) -> None:
    pinger = Pinger()
    done = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    pinger.call_later(0, fail)
    assert handler.begun.wait(PATIENCE)
    pinger.call_later(0, done.set)
    assert done.wait(PATIENCE)
    assert handler.lines == []
    handler.go.set()
    pinger.stop()
