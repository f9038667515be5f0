"""Lets only a few writers run at once; each that ends its turn wakes the next itself.

Woken all together, a thousand writers would fight for the interpreter. In a line, they hand it on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol


class Entrant(Protocol):
    """Whatever may stand in the line."""

    def wake(self) -> bool:
        """Told that its turn has come; True: it takes the permit and gives it back with `leave`.

        Runs on: whoever calls the turnstile, whose lock is held. Must not block.
        """


class Ticket:
    """A place in the line for a publisher: passed once all that stood before it had their turn."""

    __slots__ = ("_passed",)

    def __init__(self) -> None:
        self._passed = threading.Event()

    def wake(self) -> bool:
        """Lets the waiting publishers go on; needs no permit. Runs on: whoever calls the turnstile."""
        self._passed.set()
        return False

    @property
    def passed(self) -> bool:
        """Whether its turn has come, or somebody has waited long enough for it."""
        return self._passed.is_set()

    def begin(self) -> None:
        """Nothing to do: the line moves by itself. Runs on: publishers."""

    def wait(self, timeout: float) -> None:
        """Waits for the turn, at most `timeout` seconds; then it counts as passed. Runs on: publishers."""
        self._passed.wait(timeout)
        self._passed.set()


def default_permits() -> int:
    """Two: one writer computes while another is in a system call. Without a GIL, one for each core."""
    gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    return 2 if gil_enabled() else max(2, os.cpu_count() or 2)


class Turnstile:
    """A line of outboxes with something to write, and a few permits that go round it.

    Whoever has a control frame to write stands in a second line as well, `_urgent`, which is served in turns
    with the first: a ping is early, and a flood of pings takes no more than every other turn. The place in
    the first line stays, so a ticket passes after all that stood before it, urgent or not.

    Ordered dictionaries are the lines, so that nobody stands twice in one. `_lock` guards everything here,
    and is held while an entrant is woken. An outbox's mutex is never acquired under it, nor it under one.

    Every method may be interrupted by an exception from a signal handler: no permit is lost by it. An
    entrant is woken before it counts as a holder and leaves the line, so at worst it is woken once more.
    """

    def __init__(self, permits: int | None = None) -> None:
        self.permits = permits or default_permits()
        self._holders: set[Entrant] = set()
        self._line: OrderedDict[Entrant, None] = OrderedDict()
        self._urgent: OrderedDict[Entrant, None] = OrderedDict()  # of those in `_line`
        self._urgent_is_next = True
        self._lock = threading.Lock()

    def enter(self, entrants: Iterable[Entrant]) -> None:
        """Puts `entrants`, newly LISTED by the caller, at the back. Runs on: any thread."""
        try:
            self._enter(entrants)
        except BaseException:  # from a signal handler, at any point
            self._enter(entrants)
            raise

    def urge(self, entrant: Entrant) -> None:
        """Puts `entrant` into the urgent line too, if it stands in the other one. Runs on: any thread."""
        with self._lock:
            if entrant in self._line:
                self._urgent[entrant] = None

    def leave(self, entrant: Entrant, again: bool) -> bool:
        """Gives a permit back and wakes the next; with `again` the caller stands in line once more.

        Runs on: the writer that holds the permit. True: the line is so short that the caller is
        next already and keeps its permit.
        """
        with self._lock:
            line, holders = self._line, self._holders
            if again:
                if not line:
                    return True
                line[entrant] = None
            holders.discard(entrant)
            if not line:
                return False
            if not self._urgent and len(holders) < self.permits:  # the short way of most turns
                following = next(iter(line))
                if following not in holders:
                    del line[following]
                    if following is entrant or following.wake():
                        holders.add(following)
                        return following is entrant
            elif len(holders) < self.permits and self._next_locked() is entrant:
                self._serve_locked(entrant)
                holders.add(entrant)
                return True
            self._give_locked()
            return False

    def withdraw(self, entrant: Entrant) -> None:
        """Takes `entrant` out of the line and gives its permit back, if it has one, to the next.

        Runs on: a writer that is BLOCKED or OVER from here on, and so is given no other one.
        """
        with self._lock:
            self._line.pop(entrant, None)
            self._urgent.pop(entrant, None)
            self._holders.discard(entrant)
            self._give_locked()

    def ticket(self) -> Ticket:
        """A new ticket at the end of the line; passed at once where nobody stands in it."""
        ticket = Ticket()
        self.enter((ticket,))
        return ticket

    def leave_behind(self) -> None:
        """Begins anew in a forked process, whose parent has the rest. Runs on: its only thread, first."""
        self.__init__(self.permits)  # type: ignore[misc]

    # Helpers

    def _enter(self, entrants: Iterable[Entrant]) -> None:
        with self._lock:
            line = self._line
            for entrant in entrants:
                line[entrant] = None
            if len(self._holders) < self.permits:
                self._give_locked()

    def _give_locked(self) -> None:
        """Gives the free permits to those who are next."""
        holders = self._holders
        while len(holders) < self.permits and (entrant := self._next_locked()) is not None:
            woken = entrant.wake()
            self._serve_locked(entrant)
            if woken:
                holders.add(entrant)

    def _next_locked(self) -> Entrant | None:
        """Whose turn it is. Who still holds a permit gets none on top, and stays in line until it leaves."""
        holders = self._holders
        if self._urgent and self._urgent_is_next:
            for entrant in self._urgent:
                if entrant not in holders:
                    return entrant
        for entrant in self._line:
            if entrant not in holders:
                return entrant
        return None

    def _serve_locked(self, entrant: Entrant) -> None:
        """Takes `entrant`, whose turn it was, out of both lines."""
        self._urgent_is_next = not (self._urgent_is_next and entrant in self._urgent)
        self._urgent.pop(entrant, None)
        self._line.pop(entrant, None)

    def __repr__(self) -> str:
        with self._lock:
            free = self.permits - len(self._holders)
            return f"<Turnstile line={len(self._line)} permits={free}/{self.permits} free>"
