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
    """A connection, as far as the engine has to do with it."""

    gone: threading.Event

    def close(self, code: int, reason: str) -> None:
        """Sends what waits, then a Close; does not wait."""


class Slot(NamedTuple):
    """What a connection gets for as long as it lives."""

    number: int
    turnstile: Turnstile
    pinger: Pinger


class Engine:
    """Serves the connections that have a slot. Without any it has no thread.

    `make_pinger` makes the one of the next connection that finds none.

    `_lock` guards everything here but the turnstile, which never changes before a fork; it is a leaf.
    """

    def __init__(self, make_pinger: Callable[[], Pinger] = Pinger) -> None:
        self._make_pinger = make_pinger
        self._begin()
        self._last_number = 0
        self._watches_exit = False

    def _begin(self) -> None:
        """Also after a fork, whose child has none of the threads, and perhaps their locks held."""
        self._lock = threading.Lock()
        self.turnstile = Turnstile()
        self._pinger: Pinger | None = None
        self._slots: dict[int, Member | None] = {}

    def enter(self) -> Slot:
        """Gives a connection a slot, which has to be given back with `leave`. Runs on: any thread."""
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
        """Who sits there, as soon as that is open. Runs on: any thread."""
        with self._lock:
            if number in self._slots:
                self._slots[number] = member

    def leave(self, number: int) -> None:
        """Takes the slot back; the last one's end is the pinger's. Runs on: any thread but the pinger's."""
        pinger = None
        with self._lock:
            known = number in self._slots
            self._slots.pop(number, None)
            if known and not self._slots:
                pinger, self._pinger = self._pinger, None
        if pinger is not None:
            pinger.stop()

    def end(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Closes what is still open (1001) and waits until it is gone, at most `timeout` seconds.

        At the end of a program: its writers are daemons, and what they have not sent would be lost.
        Runs on: any thread.
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
