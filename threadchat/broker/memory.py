"""Keeps rooms' logs, user ids and the resume key in this process's memory: one node, nothing to install."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from time import monotonic

from threadchat.chat.access.blocks import BlocksInMemory
from threadchat.chat.access.sanctions import Sanctions
from threadchat.chat.log.read_positions import ReadPositions
from threadchat.chat.log.sequencer import Sequencer
from threadchat.wire.threads.numbers import Numbers


class MemoryBroker:
    """Loses everything when the process ends. The next process counts from 1, in new epochs.

    The hub decides how much of its log a room keeps.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.resume_key = secrets.token_bytes(32)
        self.sanctions = Sanctions()
        self.revocations = Sanctions()
        self.blocks = BlocksInMemory()
        self.reads = ReadPositions()
        self._clock = clock
        self._users = Numbers()

    def open(self, room: str) -> Sequencer:
        """Returns a new, empty log for a room. The hub calls this once for each room. Runs on: any thread."""
        return Sequencer(room, clock=self._clock)

    def new_user(self) -> int:
        """Returns the next user id, from 1, each id once. Runs on: any thread."""
        return self._users.take()

    def leave_behind(self) -> None:
        """Starts from scratch: with a new memory come new people and a new key for their resume tokens."""
        self.resume_key = secrets.token_bytes(32)
        self._users = Numbers()
        self.sanctions.leave_behind()
        self.revocations.leave_behind()
        self.blocks = BlocksInMemory()
        self.reads.leave_behind()

    def close(self) -> None:
        """Does nothing. Runs on: any thread."""
