"""Tests of the log's ration: what a flood of one kind of event leaves in it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator

import pytest

from tests.wire.helpers import Hand
from threadchat.logs.rate_limit import LINES, WINDOW, LogRateLimit


class Book(logging.Handler):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def book(hand: Hand) -> Iterator[Book]:
    """What is logged, three lines of a kind a minute."""
    log = logging.getLogger("tests.rationing")
    book, ration = Book(), LogRateLimit(3, clock=hand.clock)
    log.addHandler(book)
    log.addFilter(ration)
    log.setLevel(logging.DEBUG)
    yield book
    log.removeHandler(book)
    log.removeFilter(ration)


LOG = logging.getLogger("tests.rationing")


def test_a_flood_leaves_so_many_lines_and_then_their_number(book: Book, hand: Hand) -> None:
    for number in range(10):
        LOG.info("%s was refused", number)
    end = " (more like it are left out, for up to 60 s)"
    assert book.lines == ["0 was refused", "1 was refused", f"2 was refused{end}"]
    hand.advance(WINDOW)
    LOG.info("%s was refused", 10)
    LOG.info("%s was refused", 11)
    assert book.lines[3:] == ["10 was refused (7 more like it were left out)", "11 was refused"]


def test_a_few_now_and_then_are_all_there(book: Book, hand: Hand) -> None:
    for number in range(6):
        LOG.info("%s was refused", number)
        hand.advance(WINDOW / 2)
    assert book.lines == [f"{number} was refused" for number in range(6)]


def test_each_kind_has_its_own(book: Book) -> None:
    for _ in range(4):
        LOG.info("one")
        LOG.error("other: %s", "x")
    assert [line[:5] for line in book.lines] == ["one", "other"] * 2 + ["one (", "other"]


def test_debugging_is_not_rationed(book: Book) -> None:
    for _ in range(9):
        LOG.debug("a detail")
    assert book.lines == ["a detail"] * 9


def test_what_is_no_text_passes(book: Book) -> None:
    for _ in range(9):
        LOG.error(ValueError("bad"))
    assert book.lines == ["bad"] * 9


@pytest.mark.parametrize(
    "module",
    [
        "server.session.hello",
        "server.upgrade",
        "server.auth.identity",
        "server.session.session",
        "server.session.native",
        "server.session.legacy",
        "wire.connection",
    ],
)
def test_where_strangers_decide_how_much_is_logged_it_is_rationed(module: str) -> None:
    importlib.import_module(f"threadchat.{module}")
    [ration] = [
        it for it in logging.getLogger(f"threadchat.{module}").filters if isinstance(it, LogRateLimit)
    ]
    assert ration._lines == LINES
