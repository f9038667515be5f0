"""Guarantees that every outbox that an offer has LISTED enters the line, after all that was deferred."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from threadchat.wire.threads.forking import begin_anew_after_fork

Result = TypeVar("Result")


class Deferring(Protocol):
    """A room that defers offers, to make several at once."""

    def flush(self) -> None:
        """Makes the offers that are deferred.

        Runs on: any thread that holds no lock of a room or an outbox.
        """


class Deferred:
    """Which room has deferred its offers: `owner`, one at a time.

    Nothing is offered to any outbox before them, by any thread. So what a thread does reaches each peer in
    the order in which the thread did it. `_lock` guards changes of `owner` and is a leaf.
    """

    owner: Deferring | None

    def __init__(self) -> None:
        self.leave_behind()
        begin_anew_after_fork(self, first=True)

    def claim(self, owner: Deferring) -> bool:
        """Whether `owner` may defer offers. Runs on: any thread, under the owner's lock."""
        with self._lock:
            if self.owner is None:
                self.owner = owner
            return self.owner is owner

    def release(self, owner: Deferring) -> None:
        """Notes that `owner` has no deferred offers left. Runs on: any thread, under the owner's lock."""
        with self._lock:
            if self.owner is owner:
                self.owner = None

    def flush(self, own: Deferring | None = None) -> None:
        """Makes the offers that are deferred, unless they are those of `own`.

        Runs on: any thread that holds no lock of a room or an outbox.
        """
        owner = self.owner
        if owner is not None and owner is not own:
            owner.flush()

    def leave_behind(self) -> None:
        """Forgets the parent's room. Runs on: the only thread of a forked process, first."""
        self._lock = threading.Lock()
        self.owner = None


DEFERRED: Final = Deferred()


def entering(offer: Callable[[list[Any]], Result], own: Deferring | None = None) -> Result:
    """Calls `offer` with an empty list, then enters the outboxes that it added in their turnstile's line.

    An outbox that is LISTED but not in the line would never be written again. So the outboxes enter even if
    `offer` raises, or if a signal handler raises an exception (KeyboardInterrupt, for example) at any point
    from the first offer to the last step of `enter`. Entering twice does no harm.

    First makes the offers that are deferred, unless they are those of `own`. All outboxes of one call share
    one turnstile. Runs on: any thread that holds no lock of a room or an outbox. Returns what `offer`
    returns.
    """
    if DEFERRED.owner is not None:
        DEFERRED.flush(own)
    listed: list[Any] = []
    try:
        try:
            return offer(listed)
        finally:
            enter(listed)
    except BaseException:
        enter(listed)  # again: the exception may have come before `enter` did anything
        raise


def enter(listed: list[Any]) -> None:
    """Enters outboxes in their turnstile's line, and empties the list. Runs on: any thread."""
    if listed:
        listed[0].line.enter(listed)
        listed.clear()
