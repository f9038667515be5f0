"""Rooms' logs, user ids and the resume key in this process's memory: one node, nothing to install."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from time import monotonic

from threadchat.chat.log.events import is_inbox
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_SIZE
from threadchat.chat.sanctions import Sanctions


class MemoryBroker:
    """Everything is gone with the process: a restarted one counts from 1, in new epochs."""

    def __init__(
        self,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        *,
        inbox_size: int = INBOX_SIZE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.resume_key = secrets.token_bytes(32)
        self.sanctions = Sanctions()
        self._history_size = history_size
        self._history_bytes = history_bytes
        self._inbox_size = inbox_size
        self._clock = clock
        self._users = itertools.count(1)  # `next` of a count is one atomic step

    def open(self, room: str) -> Sequencer:
        """A new, empty log for a room; the hub asks once for each room. Runs on: any thread."""
        size = self._inbox_size if is_inbox(room) else self._history_size
        return Sequencer(room, size, self._history_bytes, clock=self._clock)

    def new_user(self) -> int:
        """The next user id; from 1, each once. Runs on: any thread."""
        return next(self._users)

    def close(self) -> None:
        """Nothing is left to be done. Runs on: any thread."""
