"""Bounds messages that were begun and do not end: in time for each, in bytes for all connections together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from threadchat.errors import CloseCode
from threadchat.wire.keepalive import Keepalive
from threadchat.wire.limits import Limits
from threadchat.wire.pinger import CATCHING_UP, Deadlines
from threadchat.wire.transport import Transport

UNFINISHED_BYTES: Final = 128 << 20
"""Of all connections together, unless said otherwise: 260 of the longest messages, half sent at once."""

GRACE: Final = 1.0
"""Seconds for a reader to read what came while it was busy, or to let go of what it holds."""

Progress = tuple[int, int]
"""How many messages were whole, and how many bytes of the next one have come."""


class UnfinishedBudget:
    """What all connections hold of messages that are not whole, and the most that this may be.

    Above it, the connection that holds the most is closed. Readers that bring more wait a little until it has
    let go, which takes a turn of its own reader. `_changed` guards everything here; its lock is acquired only
    for messages that came in more than one read.
    """

    def __init__(self, most: int = UNFINISHED_BYTES) -> None:
        """`most`: bytes."""
        self._most = most
        self._changed = threading.Condition(threading.Lock())
        self._held: dict[Unfinished, int] = {}
        self._leaving: dict[Unfinished, int] = {}  # what those hold who were told to go
        self._total = 0  # of `_held`

    @property
    def total(self) -> int:
        """Bytes that are held now, but for those who go. Runs on: any thread."""
        return self._total

    def note(self, holder: Unfinished, size: int) -> None:
        """`holder` has `size` bytes now; 0 for none. Runs on: its reader thread."""
        largest = None
        with self._changed:
            if holder in self._leaving:
                return
            self._total += size - self._held.pop(holder, 0)
            if size:
                self._held[holder] = size
            if self._total > self._most:
                largest = max(self._held, key=self._held.__getitem__)
                self._leaving[largest] = self._held.pop(largest)
                self._total -= self._leaving[largest]
        if largest is not None:
            largest.exceed()
        if size and self._leaving:
            with self._changed:
                self._changed.wait_for(lambda: holder in self._leaving or self._has_room_locked(), GRACE)

    def forget(self, holder: Unfinished) -> None:
        """`holder` is over. Runs on: any thread."""
        with self._changed:
            self._total -= self._held.pop(holder, 0)
            if self._leaving.pop(holder, None) is not None:
                self._changed.notify_all()

    def _has_room_locked(self) -> bool:
        return self._total + sum(self._leaving.values()) <= self._most

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self.__init__(self._most)  # type: ignore[misc]


class Unfinished:
    """The message of one connection that has begun and is not whole yet, if there is one.

    `look` is called after each read; it does nothing for messages that come whole. `abort` is called
    where no byte of such a message came for `message_timeout` seconds while the reader waited for it,
    whatever else came: pings between fragments are no progress. And it is where UnfinishedBudget says so.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        keepalive: Keepalive,
        limits: Limits,
        budget: UnfinishedBudget | None,
        abort: Callable[[int, str], None],
    ) -> None:
        self._deadlines = deadlines
        self._clock = deadlines.clock
        self._timeout = limits.message_timeout
        self._budget = budget
        self._keepalive = keepalive
        self._abort = abort
        self._progress: Progress | None = None
        self._transport: Transport | None = None  # of the message that has begun
        self._since = 0.0
        self._armed = False
        self._warned = False  # it was found out once that no byte came in time

    def look(self, transport: Transport) -> None:
        """Notes how far a message has come, if one has begun. Runs on: the reader thread."""
        if transport.is_within:
            self._transport = transport
            self._note(transport.progress, transport.held)
        elif self._progress is not None:
            self._note(None, 0)

    def exceed(self) -> None:
        """Too much is held by all, and the most of it here. Runs on: any thread."""
        self._end("slow: messages without an end held too much, and this one the most (unfinished_bytes)")

    def _note(self, progress: Progress | None, size: int) -> None:
        if progress == self._progress:
            return
        self._since = self._clock()
        self._progress = progress
        self._warned = False
        if self._budget is not None:
            self._budget.note(self, size)
        # In this order, see `_is_due`: one of the two threads notices what the other has done.
        if progress is not None and not self._armed and self._timeout:
            self._arm(self._timeout)

    def end(self) -> None:
        """The connection is over. Runs on: the reader thread, or the writer's after it."""
        self._progress = None
        self._abort = _leave  # the connection's own, which would refer to this in a circle
        if self._budget is not None:
            self._budget.forget(self)

    def _end(self, why: str) -> None:
        assert self._transport is not None
        self._transport.drop()
        self._abort(CloseCode.SLOW, why)

    def _arm(self, seconds: float) -> None:
        assert self._timeout
        self._armed = True
        self._deadlines.set("message", seconds, partial(self._is_due, self._timeout))

    def _is_due(self, timeout: float) -> None:
        """Runs on: the pinger's thread."""
        self._armed = False
        if self._progress is None:
            return
        now = self._clock()
        if self._keepalive.reading_since is None:  # the reader is busy, and what comes waits for it
            self._since = now
        quiet = now - max(self._since, self._deadlines.resumed_at)
        if quiet < timeout:
            self._arm(timeout - quiet)
        elif not self._warned or (quiet < timeout + CATCHING_UP and self._is_behind()):
            self._warned = True  # the reader may have been busy until just now, or still have no turn
            self._arm(GRACE)
        else:
            self._end(f"slow: a message was begun, and no more of it came for {timeout:g} s")

    def _is_behind(self) -> bool:
        return self._transport is not None and self._transport.is_behind()


def _leave(code: int, reason: str) -> None:
    """What is over needs no end."""
