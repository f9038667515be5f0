"""What a publisher waits for while its room's listeners catch their breath."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Protocol


class Ticket(Protocol):
    """A place in somebody's line."""

    @property
    def passed(self) -> bool:
        """Whether there is nothing to wait for any more."""

    def begin(self) -> None:
        """Told that a publisher waits from now on, if not for this ticket yet."""

    def wait(self, timeout: float) -> None:
        """Blocks until passed, at most `timeout` seconds; then it counts as passed."""


class Gate:
    """Open once all its tickets have passed; several publishers may wait at one gate."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self._tickets = tuple(tickets)

    @property
    def passed(self) -> bool:
        """Whether a publisher may go on."""
        return all(ticket.passed for ticket in self._tickets)

    def wait(self, timeout: float) -> None:
        """Blocks until open, at most `timeout` seconds in all. Runs on: publishers' threads, unlocked."""
        deadline = monotonic() + timeout
        for ticket in self._tickets:
            ticket.begin()
        for ticket in self._tickets:
            ticket.wait(max(0.0, deadline - monotonic()))
