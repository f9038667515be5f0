"""The turnstile: lets only a few writer threads run at once, and makes the others wait in a line.

A message for a room of a thousand members gives a thousand writers something to do. If all of them woke at
once, they would compete for the interpreter instead of sending. So a writer sleeps until it gets one of a few
permits. Its turn is to send what its outbox holds; then it passes the permit to the next writer in the line.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol


class Entrant(Protocol):
    """Anything that can wait in the line."""

    def wake(self) -> bool:
        """Called when its turn comes. Returns True to take the permit, which `leave` gives back.

        Must not block. Runs on: any thread that calls the turnstile, under its lock.
        """


class Ticket:
    """A publisher's place in the line. It passes once all entrants before it have ended their turn."""

    __slots__ = ("_before", "_passed", "_turnstile")

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._before: set[Entrant] = set()  # have a permit, and had it when the ticket's turn came
        self._passed = threading.Event()

    def wake(self) -> bool:
        """Passes, once those who have a permit now have ended their turn; takes no permit.

        A writer that has a permit may wait for the processor, and its outbox may be nearly full.
        """
        self._before = set(self._turnstile.holders)
        if self._before:
            self._turnstile.tickets.append(self)
        else:
            self._passed.set()
        return False

    def turn_ended(self, entrant: Entrant) -> bool:
        """Notes that a turn has ended; returns whether the ticket has passed. Runs as `wake` does."""
        self._before.discard(entrant)
        if not self._before:
            self._passed.set()
        return self.passed

    @property
    def passed(self) -> bool:
        """Whether its turn has come, or a `wait` has timed out. Runs on: any thread."""
        return self._passed.is_set()

    def begin(self) -> None:
        """Does nothing, because the line moves by itself. Runs on: publishers."""

    def wait(self, timeout: float) -> None:
        """Waits at most `timeout` seconds for the turn, then counts as passed. Runs on: publishers."""
        self._passed.wait(timeout)
        self._passed.set()


def default_permits() -> int:
    """Returns 2: one writer computes while another is in a system call. Without the GIL, one per core."""
    gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    return 2 if gil_enabled() else max(2, os.cpu_count() or 2)


class Turnstile:
    """A line of outboxes that have something to write, and a few permits.

    An outbox with a control frame waits in a second line as well, `_urgent`. The two lines are served
    alternately, so a ping is sent early, but a flood of pings gets at most every other turn. The outbox keeps
    its place in the first line, so a ticket still passes after everything that entered before it.

    The lines are ordered dictionaries, so that no entrant is twice in one. `_lock` guards everything here and
    is held while an entrant is woken. It is never held together with an outbox's mutex.

    An exception from a signal handler may interrupt any method without losing a permit: an entrant is woken
    before it leaves the line and counts as a holder, so at worst it is woken once more.
    """

    def __init__(self, permits: int | None = None) -> None:
        self.permits = permits or default_permits()
        self.holders: set[Entrant] = set()
        self.tickets: list[Ticket] = []  # whose turn has come while others had a permit
        self._line: OrderedDict[Entrant, None] = OrderedDict()
        self._urgent: OrderedDict[Entrant, None] = OrderedDict()  # some of those in `_line`
        self._urgent_is_next = True
        self._lock = threading.Lock()

    def enter(self, entrants: Iterable[Entrant]) -> None:
        """Adds `entrants`, which the caller made LISTED, at the end of the line. Runs on: any thread."""
        try:
            self._enter(entrants)
        except BaseException:  # from a signal handler, at any point
            self._enter(entrants)
            raise

    def urge(self, entrant: Entrant) -> None:
        """Adds `entrant` to the urgent line too, if it waits in the first one. Runs on: any thread."""
        with self._lock:
            if entrant in self._line:
                self._urgent[entrant] = None

    def leave(self, entrant: Entrant, again: bool) -> bool:
        """Gives the caller's permit back and wakes the next entrant; with `again`, the caller enters again.

        Returns True if the caller is the next already and keeps its permit. Runs on: the writer that has the
        permit.
        """
        with self._lock:
            line, holders = self._line, self.holders
            if self.tickets:
                self._end_turn_locked(entrant)
            if again:
                if not line:
                    return True
                line[entrant] = None
            holders.discard(entrant)
            if not line:
                return False
            if not self._urgent:  # the short path of most turns; one permit has just become free
                following = next(iter(line))
                if following not in holders:
                    del line[following]
                    if following is entrant:
                        holders.add(entrant)
                        return True
                    if following.wake():
                        holders.add(following)
                        return False
            elif len(holders) < self.permits and self._next_locked() is entrant:
                self._serve_locked(entrant)
                holders.add(entrant)
                return True
            self._give_locked()
            return False

    def withdraw(self, entrant: Entrant) -> None:
        """Removes `entrant` from the line and passes on its permit, if it has one.

        Runs on: a writer whose state is BLOCKED or OVER, so that it gets no further permit.
        """
        with self._lock:
            self._line.pop(entrant, None)
            self._urgent.pop(entrant, None)
            self._end_turn_locked(entrant)
            self.holders.discard(entrant)
            self._give_locked()

    def ticket(self) -> Ticket:
        """Returns a new ticket at the end of the line; it passes at once if nobody has a permit.

        Runs on: any thread.
        """
        ticket = Ticket(self)
        self.enter((ticket,))
        return ticket

    @property
    def length(self) -> int:
        """How many wait in the line, perhaps no longer when this returns. Runs on: any thread."""
        return len(self._line)

    def leave_behind(self) -> None:
        """Starts empty in a forked process; the outboxes are the parent's. Runs on: its only thread."""
        self.__init__(self.permits)  # type: ignore[misc]

    # Helpers

    def _enter(self, entrants: Iterable[Entrant]) -> None:
        with self._lock:
            line = self._line
            for entrant in entrants:
                line[entrant] = None
            if len(self.holders) < self.permits:
                self._give_locked()

    def _end_turn_locked(self, entrant: Entrant) -> None:
        self.tickets = [ticket for ticket in self.tickets if not ticket.turn_ended(entrant)]

    def _give_locked(self) -> None:
        """Gives the free permits to the next entrants."""
        line, holders = self._line, self.holders
        while line and len(holders) < self.permits:
            entrant = next(iter(line)) if not self._urgent and not holders else self._next_locked()
            if entrant is None:
                return
            woken = entrant.wake()
            if self._urgent:
                self._serve_locked(entrant)
            else:
                self._urgent_is_next = True
                line.pop(entrant, None)
            if woken:
                holders.add(entrant)

    def _next_locked(self) -> Entrant | None:
        """Returns the next entrant. One that still has a permit is skipped, and stays in the line."""
        holders = self.holders
        if self._urgent and self._urgent_is_next:
            for entrant in self._urgent:
                if entrant not in holders:
                    return entrant
        for entrant in self._line:
            if entrant not in holders:
                return entrant
        return None

    def _serve_locked(self, entrant: Entrant) -> None:
        """Removes `entrant`, whose turn it is, from both lines."""
        self._urgent_is_next = not (self._urgent_is_next and entrant in self._urgent)
        self._urgent.pop(entrant, None)
        self._line.pop(entrant, None)

    def __repr__(self) -> str:
        with self._lock:
            free = self.permits - len(self.holders)
            return f"<Turnstile line={len(self._line)} permits={free}/{self.permits} free>"
