"""The registry of connections: admits them within limits, closes all of them, and waits for their end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple
from weakref import WeakSet

from threadchat.errors import CloseCode
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)

OVER_LIMIT: Final = "over limit"
"""Counted in place of the address: a connection that is opened only to be closed with the reason."""
MAX_OVER_LIMIT: Final = 16
"""Connections over the limit at once. Each holds a connection's threads for at most two seconds."""


class Denial(NamedTuple):
    """Why a connection is not admitted. `per_address`: only this address has too many."""

    sentence: str
    per_address: bool = False


class ConnectionRegistry:
    """The connections of one chat, from their admission until their last thread ends.

    A `source` is what a connection is counted under: an address, `OVER_LIMIT`, or empty for none.
    `_lock` guards everything here; no other lock is acquired under it. `_emptied` is notified when the last
    connection has ended. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._connections: dict[Connection, str] = {}  # with the source of each
        self._by_source: dict[str, int] = {}  # number admitted
        self._admitted = 0  # number admitted in all, including those without a Connection yet
        self._readers: WeakSet[threading.Thread] = WeakSet()
        self._closing = False

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def connections(self) -> list[Connection]:
        """The current connections."""
        with self._lock:
            return list(self._connections)

    def admit(self, limit: int = 0, source: str = "", source_limit: int = 0) -> Denial | None:
        """Counts a connection, or returns why it is not admitted.

        At most `limit` are admitted in all, and `source_limit` of the same source; 0 means no limit. Each
        admission ends with `forget`, or with `give_back` if no Connection was made.
        """
        with self._lock:
            if self._closing:
                return Denial("The chat is closing; try again in a few seconds.")
            if 0 < limit <= self._admitted:
                return Denial("The chat has no room for another connection; try again in a few seconds.")
            if source and 0 < source_limit <= self._by_source.get(source, 0):
                return Denial("There are too many connections from your address; close some first.", True)
            self._admitted += 1
            if source:
                self._by_source[source] = self._by_source.get(source, 0) + 1
            return None

    def add(self, connection: Connection, source: str = "") -> None:
        """Adds an admitted connection. Closes it at once if the chat is closing."""
        with self._lock:
            self._connections[connection] = source
            closing = self._closing
        if closing:
            connection.close(CloseCode.SHUTDOWN)

    def forget(self, connection: Connection) -> None:
        """Removes a connection that has ended."""
        with self._lock:
            self._count_out_locked(self._connections.pop(connection, ""))

    def give_back(self, source: str = "") -> None:
        """Ends an admission for which no Connection was made."""
        with self._lock:
            self._count_out_locked(source)

    def start_reader(self, body: Callable[[], None], name: str) -> None:
        """Starts a reader for a connection that cannot use its request's thread. Raises RuntimeError."""
        thread = threading.Thread(target=body, name=name, daemon=True)
        with self._lock:
            self._readers.add(thread)
        thread.start()

    def leave_behind(self) -> None:
        """Starts empty: the connections are the parent's, and its threads may have held the lock.

        Runs on: the only thread of a forked process, first.
        """
        self.__init__()  # type: ignore[misc]

    # Closing

    def close(self) -> None:
        """Closes all connections, and any that are added later, with 3001; never blocks."""
        with self._lock:
            self._closing = True
            connections = list(self._connections)
        for connection in connections:
            connection.close(CloseCode.SHUTDOWN)

    def wait(self, deadline: float) -> bool:
        """Waits until all have ended or the monotonic `deadline`; returns whether all have ended."""
        with self._lock:
            if not self._emptied.wait_for(lambda: not self._admitted, max(0.0, deadline - monotonic())):
                return False
            readers = [thread for thread in self._readers if thread.ident is not None]
        for thread in readers:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in readers)

    def cut_off(self) -> None:
        """Aborts the connections that are left; their peers see a reset."""
        with self._lock:
            overdue = list(self._connections)
        for connection in overdue:
            log.warning("%r did not end in time", connection)
            connection.abort(CloseCode.SHUTDOWN)

    def _count_out_locked(self, source: str) -> None:
        if source:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
        self._admitted -= 1
        if not self._admitted:
            self._emptied.notify_all()
