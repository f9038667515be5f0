"""What all plain connections of a process share: their turnstile, their pinger and their numbers."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple, Protocol

from threadchat.errors import CloseCode
from threadchat.wire.pinger import Pinger
from threadchat.wire.turnstile import Turnstile

EXIT_TIMEOUT: Final = 1.0
"""Seconds that a program's end waits for what was sent before it and has not left yet."""


class Member(Protocol):
    """The methods of a connection that the engine calls."""

    gone: threading.Event

    def close(self, code: int, reason: str) -> None:
        """Sends what waits, then a Close; does not wait."""


class Slot(NamedTuple):
    """What a connection gets until it ends."""

    number: int
    turnstile: Turnstile
    pinger: Pinger


class Engine:
    """Provides connections with a turnstile, a pinger and a number. Has no thread while there are none.

    `make_pinger` makes a pinger for the first connection. `_lock` guards everything except the turnstile,
    which only changes in a fork; it is a leaf.
    """

    def __init__(self, make_pinger: Callable[[], Pinger] = Pinger) -> None:
        self._make_pinger = make_pinger
        self._begin()
        self._last_number = 0
        self._watches_exit = False

    def _begin(self) -> None:
        """Prepares the first use, also after a fork: no thread runs, and locks may be held."""
        self._lock = threading.Lock()
        self.turnstile = Turnstile()
        self._pinger: Pinger | None = None
        self._slots: dict[int, Member | None] = {}

    def enter(self) -> Slot:
        """Gives a connection a slot, which must be returned with `leave`. Runs on: any thread."""
        with self._lock:
            if not self._watches_exit:
                atexit.register(self.end)
                self._watches_exit = True
            if self._pinger is None:
                self._pinger = self._make_pinger()
            self._last_number += 1
            self._slots[self._last_number] = None
            return Slot(self._last_number, self.turnstile, self._pinger)

    def introduce(self, number: int, member: Member) -> None:
        """Names the connection that has a slot, as soon as it is open. Runs on: any thread."""
        with self._lock:
            if number in self._slots:
                self._slots[number] = member

    def leave(self, number: int) -> None:
        """Takes a slot back. The last one ends the pinger. Runs on: any thread but the pinger's."""
        pinger = None
        with self._lock:
            known = number in self._slots
            self._slots.pop(number, None)
            if known and not self._slots:
                pinger, self._pinger = self._pinger, None
        if pinger is not None:
            pinger.stop()

    def end(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Closes open connections (1001) and waits at most `timeout` seconds until they are closed.

        Called at the end of the process: writers are daemon threads, and what they have not sent would be
        lost. Runs on: any thread.
        """
        with self._lock:
            members = [member for member in self._slots.values() if member is not None]
        deadline = monotonic() + timeout
        for member in members:
            member.close(CloseCode.GOING_AWAY, "")
        for member in members:
            member.gone.wait(max(0.0, deadline - monotonic()))

    def __repr__(self) -> str:
        return f"<Engine connections={len(self._slots)} {self.turnstile!r}>"


ENGINE: Final = Engine()
os.register_at_fork(after_in_child=ENGINE._begin)
