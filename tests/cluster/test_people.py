"""Covers people.py: the sums of the other tests here find what was lost, doubled, moved and out of order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.cluster.people import Account, account, same_order


def somebody(name: str, heard: str, **acknowledged: int) -> Any:
    """Somebody who was told letters as events, from 1 on; a blank is one that is no message."""
    events = [SimpleNamespace(id=i, message=text) for i, text in enumerate(heard, 1) if text != " "]
    return SimpleNamespace(name=name, heard=events, acknowledged=acknowledged)


def test_all_is_well() -> None:
    members = [somebody("ann", "ab c", a=1, c=4), somebody("bob", "ab c", b=2)]
    assert account(members) == Account(3, [], [])
    assert same_order(members)


def test_something_lost_is_found() -> None:
    assert account([somebody("ann", "abc", a=1), somebody("bob", "a c", b=2)]).lost == ["b at 2 to bob"]
    assert account([somebody("ann", "ab ", c=3)]).lost == ["c at 3 to ann"]
    assert account([somebody("ann", "")]).lost == []


def test_something_at_another_place_is_lost() -> None:
    assert account([somebody("ann", "ba", a=1)]).lost == ["a at 1 to ann"]


def test_something_doubled_is_found() -> None:
    assert account([somebody("ann", "aba", a=3)]) == Account(1, [], ["a to ann"])


def test_who_came_later_misses_nothing() -> None:
    members = [somebody("ann", "abc", a=1), somebody("bob", " bc")]
    assert account(members).lost == []
    assert same_order(members)


def test_what_is_out_of_order_is_found() -> None:
    confused = somebody("ann", "ab")
    confused.heard.reverse()
    with pytest.raises(AssertionError, match="ann was told events out of order"):
        account([confused])
    assert not same_order([somebody("ann", "ab"), somebody("bob", "ac")])
