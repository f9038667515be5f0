"""Guarantees that every outbox that an offer has LISTED enters the line, whatever comes in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def entering(offer: Callable[[list[Any]], Result]) -> Result:
    """Calls `offer` with a list, then enters in their common line all that it has added to that list.

    An outbox that is LISTED and in no line is silent for good. So they enter also where `offer` raises, and
    where an exception of a signal handler (KeyboardInterrupt, say) comes at any point from the first offer to
    the last step of `enter`. To enter twice does no harm.

    Runs on: any thread that holds no lock of a room or of an outbox.
    """
    listed: list[Any] = []
    try:
        try:
            return offer(listed)
        finally:
            _enter(listed)
    except BaseException:
        _enter(listed)  # again: what was raised may have come before `_enter` did anything
        raise


def _enter(listed: list[Any]) -> None:
    if listed:
        listed[0].line.enter(listed)
        listed.clear()
