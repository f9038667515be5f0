"""Tests of the statistics: whatever comes and goes, and whenever one looks, no sum ever goes down."""

from __future__ import annotations

import threading
from typing import Any

from tests.server.operators_helpers import FakeConnection, session
from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.server.session.statistics import Statistics, Totals, Work


def whole(statistics: Statistics) -> Totals:
    entries, totals = statistics.read()
    for entry in entries:
        totals.add(entry)
    return totals


def test_sums_are_of_those_who_are_there_and_those_who_were() -> None:
    gone: list[Any] = []
    statistics = Statistics(gone.append)
    ann: Any = FakeConnection(1, messages_in=2, bytes_in=20, frames_out=3, bytes_out=30, writes=2)
    bob: Any = FakeConnection(2, messages_in=5, bytes_in=50, waited=0.5, turns=4)
    assert statistics.came(ann) is ann
    statistics.came(bob)
    before = whole(statistics)
    assert (before.connections, before.messages_in, before.bytes_in) == (2, 7, 70)
    assert (before.messages_out, before.bytes_out, before.writes) == (3, 30, 2)
    assert (before.waited, before.turns) == (0.5, 4)
    ann.closed = ConnectionClosed(CloseCode.NORMAL)
    statistics.left(ann)
    assert (len(statistics), gone) == (1, [ann])
    after = whole(statistics)
    assert after.closes == {1000: 1}
    after.closes.clear()
    assert after == before


def test_the_work_of_a_session_counts_from_when_it_is_known() -> None:
    statistics = Statistics(lambda connection: None)
    connection: Any = FakeConnection(1)
    statistics.came(connection)
    ann = session()
    ann.work.note_burst(0.25)
    ann.work.count_error(107)
    assert whole(statistics).bursts == 0
    statistics.note_session(connection, ann)
    for _ in range(2):  # while it is there, and after
        totals = whole(statistics)
        assert (totals.bursts, totals.handled, totals.errors) == (1, 0.25, {107: 1})
        statistics.left(connection)


def test_one_that_is_gone_is_not_seated_and_leaves_once() -> None:
    statistics = Statistics(lambda connection: None)
    connection: Any = FakeConnection(1, messages_in=1)
    statistics.came(connection)
    statistics.left(connection)
    statistics.note_session(connection, session())
    statistics.left(connection)
    totals = whole(statistics)
    assert (totals.connections, totals.messages_in, len(statistics)) == (1, 1, 0)


def test_what_was_read_changes_no_more() -> None:
    statistics = Statistics(lambda connection: None)
    _, totals = statistics.read()
    statistics.published(3)
    statistics.fell_behind(2)
    assert (totals.events, totals.fell_behind) == (0, 0)
    _, totals = statistics.read()
    assert (totals.events, totals.fell_behind) == (3, 2)


def test_errors_may_be_read_while_they_are_counted() -> None:
    work = Work()
    work.count_error(107)
    seen = work.errors
    work.count_error(107)
    work.count_error(102)
    assert seen == {107: 1}
    assert work.errors == {107: 2, 102: 1}


def test_nothing_is_lost_or_counted_twice_while_all_come_and_go() -> None:
    statistics = Statistics(lambda connection: None)
    done = threading.Event()
    falls: list[tuple[int, int]] = []

    def watch() -> None:
        last = 0
        while not done.is_set():
            now = whole(statistics).messages_in
            if now < last:
                falls.append((last, now))
            last = now

    def come_and_go(first: int) -> None:
        for number in range(first, first + 200):
            connection: Any = FakeConnection(number, messages_in=1)
            statistics.came(connection)
            statistics.left(connection)

    watcher = threading.Thread(target=watch)
    comers = [threading.Thread(target=come_and_go, args=(1000 * i,)) for i in range(4)]
    for thread in (watcher, *comers):
        thread.start()
    for thread in comers:
        thread.join()
    done.set()
    watcher.join()
    assert falls == []
    assert whole(statistics).messages_in == 800


def test_a_forked_process_begins_with_nobody() -> None:
    statistics = Statistics(lambda connection: None)
    connection: Any = FakeConnection(1, messages_in=1)
    statistics.came(connection)
    statistics.leave_behind()
    assert (len(statistics), whole(statistics)) == (0, Totals())
