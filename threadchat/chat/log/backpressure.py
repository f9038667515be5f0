"""What publishers wait for until a room's subscribers have caught up."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Protocol


class Ticket(Protocol):
    """A place in a line."""

    @property
    def passed(self) -> bool:
        """Whether there is nothing left to wait for."""

    def begin(self) -> None:
        """Called when a publisher begins to wait at the gate, before it waits for this ticket."""

    def wait(self, timeout: float) -> None:
        """Blocks until the ticket has passed, at most `timeout` seconds. After that it counts as passed."""


class Gate:
    """Opens when all its tickets have passed. Several publishers may wait at one gate."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self._tickets = tuple(tickets)

    @property
    def passed(self) -> bool:
        """Whether a publisher may go on."""
        return all(ticket.passed for ticket in self._tickets)

    def wait(self, timeout: float) -> None:
        """Blocks until the gate is open, at most `timeout` seconds in total.

        Runs on: publishers' threads, with no lock held.
        """
        deadline = monotonic() + timeout
        for ticket in self._tickets:
            ticket.begin()
        for ticket in self._tickets:
            ticket.wait(max(0.0, deadline - monotonic()))
