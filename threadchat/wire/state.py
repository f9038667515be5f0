"""The states that a connection goes through, one way, and why it ended: the first reason counts."""

from __future__ import annotations

import threading
from enum import Enum

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed


class ConnectionState(Enum):
    """A state is never left for an earlier one."""

    UNDEFINED = 0
    CONNECTED = 1
    IN_CHAT = 2
    TO_BE_DISCONNECTED = 3
    DISCONNECTED = 4


class Life:
    """Where a connection is between its beginning and its end.

    `_lock` guards `state` and `closed`, which anybody may read, and is a leaf.
    """

    def __init__(self) -> None:
        self.state = ConnectionState.UNDEFINED
        self.closed: ConnectionClosed | None = None
        self.close_sent: CloseFrame | None = None
        """Our Close, which may still wait in the outbox; None where there is none."""
        self.peer_closed_first = False
        """Whether our Close answers one of the peer's."""
        self._lock = threading.Lock()

    def advance(self, state: ConnectionState) -> None:
        """Moves on to `state`; a state is never left for an earlier one. Runs on: any thread."""
        with self._lock:
            if state.value > self.state.value:
                self.state = state

    def note_closed(self, code: int, reason: str | None) -> bool:
        """Whether this is the first end; `reason` is the code's own where it is None. Runs on: any thread."""
        if reason is None:
            reason = CloseCode.describe(code)
        with self._lock:
            if self.closed is not None:
                return False
            self.closed = ConnectionClosed(code, reason)
            self.state = ConnectionState.TO_BE_DISCONNECTED
            return True
