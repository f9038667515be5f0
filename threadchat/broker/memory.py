"""Rooms' logs, user ids and the resume key in this process's memory: one node, nothing to install."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from time import monotonic

from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.sanctions import Sanctions
from threadchat.wire.threads.numbers import Numbers


class MemoryBroker:
    """Everything is gone with the process: a restarted one counts from 1, in new epochs.

    How much of its log a room keeps, its hub says.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.resume_key = secrets.token_bytes(32)
        self.sanctions = Sanctions()
        self._clock = clock
        self._users = Numbers()

    def open(self, room: str) -> Sequencer:
        """A new, empty log for a room; the hub asks once for each room. Runs on: any thread."""
        return Sequencer(room, clock=self._clock)

    def new_user(self) -> int:
        """The next user id; from 1, each once. Runs on: any thread."""
        return self._users.take()

    def leave_behind(self) -> None:
        """Begins anew: another memory, and so other people, and other tokens for them to resume with."""
        self.resume_key = secrets.token_bytes(32)
        self._users = Numbers()
        self.sanctions.leave_behind()

    def close(self) -> None:
        """Nothing is left to be done. Runs on: any thread."""
