"""Guarantees that every outbox that an offer has LISTED enters the turnstile's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def entering(offer: Callable[[list[Any]], Result]) -> Result:
    """Calls `offer` with an empty list, then enters the outboxes that it added in their turnstile's line.

    An outbox that is LISTED but not in the line would never be written again. So the outboxes enter even if
    `offer` raises, or if a signal handler raises an exception (KeyboardInterrupt, for example) at any point
    from the first offer to the last step of `enter`. Entering twice does no harm.

    All outboxes of one call share one turnstile. Runs on: any thread that holds no lock of a room or an
    outbox. Returns what `offer` returns.
    """
    listed: list[Any] = []
    try:
        try:
            return offer(listed)
        finally:
            _enter(listed)
    except BaseException:
        _enter(listed)  # again: the exception may have come before `_enter` did anything
        raise


def _enter(listed: list[Any]) -> None:
    if listed:
        listed[0].line.enter(listed)
        listed.clear()
