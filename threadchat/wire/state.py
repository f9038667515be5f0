"""The state of a connection, which only advances, and the reason why it ended, which is set once."""

from __future__ import annotations

import threading
from enum import Enum

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed


class ConnectionState(Enum):
    """The states of a connection in their order; it never returns to an earlier one."""

    UNDEFINED = 0
    CONNECTED = 1
    IN_CHAT = 2
    TO_BE_DISCONNECTED = 3
    DISCONNECTED = 4


class Life:
    """The state of one connection and the reason of its end.

    `_lock` guards `state` and `closed`, which any thread may read without it. It is a leaf: no other lock
    is acquired while it is held.
    """

    def __init__(self) -> None:
        self.state = ConnectionState.UNDEFINED
        self.closed: ConnectionClosed | None = None
        self.close_sent: CloseFrame | None = None
        """Our Close, which may still wait in the outbox; None before `close` is called."""
        self.peer_closed_first = False
        """Whether the peer's Close came before ours."""
        self._lock = threading.Lock()

    def advance(self, state: ConnectionState) -> None:
        """Advances to `state`; does nothing if the connection is past it. Runs on: any thread."""
        with self._lock:
            if state.value > self.state.value:
                self.state = state

    def note_closed(self, code: int, reason: str | None) -> bool:
        """Notes why the connection ends; returns False if a reason was noted before.

        A `reason` of None stands for the code's own text. Runs on: any thread.
        """
        if reason is None:
            reason = CloseCode.describe(code)
        with self._lock:
            if self.closed is not None:
                return False
            self.closed = ConnectionClosed(code, reason)
            self.state = ConnectionState.TO_BE_DISCONNECTED
            return True
