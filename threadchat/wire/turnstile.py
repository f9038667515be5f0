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
        """Told that its turn has come; True: it takes the permit and gives it back with `leave`."""


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

    An ordered dictionary is the line, so that nobody stands in it twice. `_lock` guards `_line` and
    `_free`. It is a leaf: an outbox's mutex is never acquired under it, nor it under an outbox's.
    """

    def __init__(self, permits: int | None = None) -> None:
        self.permits = permits or default_permits()
        self._free = self.permits
        self._line: OrderedDict[Entrant, None] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, entrants: Iterable[Entrant]) -> None:
        """Puts `entrants`, newly LISTED by the caller, at the back. Runs on: any thread."""
        woken = []
        with self._lock:
            line = self._line
            for entrant in entrants:
                line[entrant] = None
            while self._free and line:
                self._free -= 1
                woken.append(line.popitem(last=False)[0])
        for entrant in woken:
            if not entrant.wake():
                self._pass_on()

    def urge(self, entrant: Entrant) -> None:
        """Moves `entrant` to the front if it stands in the line. Runs on: any thread."""
        with self._lock:
            if entrant in self._line:
                self._line.move_to_end(entrant, last=False)

    def leave(self, entrant: Entrant, again: bool) -> bool:
        """Gives a permit back and wakes the next; with `again` the caller stands in line once more.

        Runs on: the writer that holds the permit. True: the line is so short that the caller is
        next already and keeps its permit.
        """
        with self._lock:
            line = self._line
            if again:
                if not line:
                    return True
                line[entrant] = None
            elif not line:
                self._free += 1
                return False
            following = line.popitem(last=False)[0]
        if following is entrant:
            return True
        if not following.wake():
            self._pass_on()
        return False

    def ticket(self) -> Ticket:
        """A new ticket at the end of the line; passed at once where nobody stands in it."""
        ticket = Ticket()
        self.enter((ticket,))
        return ticket

    def _pass_on(self) -> None:
        """Hands on a permit that its receiver did not need."""
        while True:
            with self._lock:
                if not self._line:
                    self._free += 1
                    return
                following = self._line.popitem(last=False)[0]
            if following.wake():
                return

    def __repr__(self) -> str:
        with self._lock:
            return f"<Turnstile line={len(self._line)} permits={self._free}/{self.permits} free>"
