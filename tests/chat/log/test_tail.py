"""The bounds and the reach of `chat/log/tail.py`."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.helpers import ids_of, records
from threadchat.chat.log.events import DELETE, MESSAGE, Draft, Position, record
from threadchat.chat.log.tail import Log, within

SIZE = len(records(1, 1)[0].json)


def make(first: int, last: int, max_events: int = 1024, max_bytes: int = 1 << 20) -> Log:
    log = Log(max_events, max_bytes)
    log.head = first - 1
    log.extend(records(first, last))
    return log


def test_an_empty_log_reaches_its_head_only() -> None:
    log = Log()
    assert log.head == len(log) == 0
    assert log.reaches(0)
    assert not log.reaches(1)
    assert not log.reaches(-1)
    assert log.after(0, 10) == []
    assert log.before(1, 10) == []


def test_a_log_that_begins_later_reaches_no_further_back() -> None:
    log = Log()
    log.head = 40
    assert log.after(40, 10) == []
    assert log.after(39, 10) is None
    log.extend(records(41, 42))
    assert ids_of(log.after(40, 10) or []) == [41, 42]
    assert log.after(39, 10) is None


def test_bounded_in_events() -> None:
    log = make(1, 25, max_events=10)
    assert ids_of(list(log)) == list(range(16, 26))
    assert log.head == 25
    log.extend(records(26, 26))
    assert ids_of(list(log)) == list(range(17, 27))


def test_bounded_in_bytes() -> None:
    log = make(1, 9, max_bytes=SIZE * 4)
    assert ids_of(list(log)) == [6, 7, 8, 9]


def test_the_newest_stays_however_large() -> None:
    log = make(1, 3, max_bytes=SIZE * 4)
    log.extend(records(4, 4, "x" * SIZE * 5))
    assert ids_of(list(log)) == [4]
    log.extend(records(5, 5))
    assert ids_of(list(log)) == [5]


def test_a_deleted_message_loses_its_text_and_the_bytes_of_it() -> None:
    log = Log(3, SIZE * 100)
    log.extend(records(1, 4, "x" * 400))
    before = sum(len(item.json) for item in log)
    log.extend([record(Draft(DELETE, "mod", target=Position(3, "")), 5, "r", 7)])
    assert [(item.event.id, item.event.message, item.event.deleted) for item in log] == [
        (3, "", True),
        (4, "x" * 400, False),
        (5, "", False),
    ]
    assert before - sum(len(item.json) for item in log) > 400
    assert log._bytes == sum(len(item.json) for item in log)


@pytest.mark.parametrize("target", [1, 5, 6, 99])
def test_deleting_what_is_not_in_the_log_changes_nothing(target: int) -> None:
    log = Log(3, SIZE * 100)
    log.extend(records(1, 4))
    log.extend([record(Draft(DELETE, "mod", target=Position(target, "")), 5, "r", 7)])
    assert [item.event.deleted for item in log] == [False, False, target == 5]


@pytest.mark.parametrize("text", ["x", "x" * 100, "x" * 5000, "\xe9" * 2500, "\u20ac" * 1000])
def test_the_weight_is_about_what_memory_the_events_take(text: str) -> None:
    said = [msgspec.json.encode(text) for _ in range(200)]
    log = Log(1000, 1 << 30)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, json in enumerate(said, 1000):
            log.extend([record(Draft(MESSAGE, 1000, "ann", msgspec.json.decode(json)), number, "r", 1 << 30)])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 < taken / log.weight < 1.1


@pytest.mark.parametrize("most", [0, 1, 1000, 3000, 5000, 10**6])
def test_shortened_to_a_weight(most: int) -> None:
    log = make(41, 50)
    floor = log.shorten(most)
    assert log.weight <= most
    assert ids_of(list(log)) == list(range(floor + 1, 51))
    assert log.reaches(floor)
    assert not log.reaches(floor - 1)
    assert floor == 40 or log.weight + make(1, 1).weight > most, "no more than has to"
    log.extend(records(51, 52))
    assert ids_of(log.after(50, 10) or []) == [51, 52]


def test_bytes_are_given_back_by_what_goes() -> None:
    log = make(1, 3, max_events=3, max_bytes=SIZE * 4)
    log.extend(records(4, 200))
    assert len(log) == 3


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        (15, 100, list(range(16, 26))),
        (15, 3, [16, 17, 18]),
        (20, 2, [21, 22]),
        (24, 5, [25]),
        (25, 5, []),
        (14, 5, None),
        (0, 5, None),
        (-1, 5, None),
        (26, 5, None),
        (15, 0, []),
    ],
)
def test_after(offset: int, limit: int, expected: list[int] | None) -> None:
    found = make(1, 25, max_events=10).after(offset, limit)
    assert (None if found is None else ids_of(found)) == expected


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        (26, 3, [25, 24, 23]),
        (99, 1, [25]),
        (20, 2, [19, 18]),
        (18, 9, [17, 16]),
        (16, 9, []),
        (1, 9, []),
        (-7, 9, []),
        (26, 0, []),
    ],
)
def test_before(offset: int, limit: int, expected: list[int]) -> None:
    assert ids_of(make(1, 25, max_events=10).before(offset, limit)) == expected


@given(
    events=st.integers(0, 30),
    begin=st.integers(0, 5),
    bound=st.integers(1, 12),
    offset=st.integers(-2, 40),
    limit=st.integers(0, 40),
)
def test_like_a_list(events: int, begin: int, bound: int, offset: int, limit: int) -> None:
    log = make(begin + 1, begin + events, max_events=bound)
    model = list(range(begin + 1, begin + events + 1))[-bound:]
    assert ids_of(list(log)) == model
    oldest = begin + events - len(model)
    after = log.after(offset, limit)
    if oldest <= offset <= begin + events:
        assert ids_of(after or []) == [number for number in model if number > offset][:limit]
    else:
        assert after is None
    assert ids_of(log.before(offset, limit)) == [number for number in model[::-1] if number < offset][:limit]


def test_within_takes_what_fits_but_at_least_one() -> None:
    items = records(1, 5)
    assert within(items, SIZE * 3) == items[:3]
    assert within(items, SIZE * 3 + 1) == items[:3]
    assert within(items, SIZE * 3 - 1) == items[:2]
    assert within(items, 1) == items[:1]
    assert within(items, SIZE * 5) == items
    assert within([], 1) == []


def test_half_way_is_where_half_of_what_the_log_can_keep_is_gone() -> None:
    assert Log(10).half_way < 0
    assert make(1, 5, max_events=10).half_way == 0
    assert make(1, 10, max_events=10).half_way == 5
    assert make(1, 100, max_events=10).half_way == 95
    assert make(1, 100, max_bytes=SIZE * 20).half_way == pytest.approx(90, abs=1)
    assert make(1, 3, max_events=1000).half_way < 0
