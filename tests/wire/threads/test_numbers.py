"""Numbers that are given once."""

from __future__ import annotations

from tests.wire.helpers import run_all, switching
from threadchat.wire.threads.numbers import Numbers


def test_they_count_from_one() -> None:
    numbers = Numbers()
    assert [numbers.take() for _ in range(3)] == [1, 2, 3]


def test_each_is_given_once_whoever_asks() -> None:
    numbers = Numbers()
    taken: list[int] = []
    with switching():
        run_all([lambda: taken.extend(numbers.take() for _ in range(500))] * 4)
    assert sorted(taken) == list(range(1, 2001))
