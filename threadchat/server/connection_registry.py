"""Who is connected: counts connections in and out, says goodbye to all of them, and waits until they went."""

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

PARTING: Final = "parting"
"""In place of an address: those who are let in only to be told why they have to go."""
MOST_PARTING: Final = 16
"""Of them at once; each takes a connection's threads, for two seconds at most."""


class Denial(NamedTuple):
    """Why somebody cannot come in. `of_address`: others could."""

    sentence: str
    of_address: bool = False


class ConnectionRegistry:
    """The connections of one chat, from before their socket is taken over until their last thread let go.

    `_lock` guards everything here; `_emptied` is told when the last one has gone. No other lock is
    acquired under it. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._connections: dict[Connection, str] = {}  # with what each is counted under
        self._of: dict[str, int] = {}  # how many were admitted, by what they are counted under
        self._admitted = 0  # those that have a connection, and those on their way to one
        self._readers: WeakSet[threading.Thread] = WeakSet()
        self._closing = False

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def closing(self) -> bool:
        """Whether everybody was told to go."""
        return self._closing

    def connections(self) -> list[Connection]:
        """Those that there are now."""
        with self._lock:
            return list(self._connections)

    def admit(self, most: int = 0, of: str = "", most_of_one: int = 0) -> Denial | None:
        """Counts somebody in; else says why they cannot come in now.

        `most` at once, and `most_of_one` counted under the same name, `of`; 0 for any number, and without a
        name they count only in all. Who was admitted goes with `forget` or, without ever having had a
        connection, `give_back`.
        """
        with self._lock:
            if self._closing:
                return Denial("The chat is closing; try again in a few seconds.")
            if 0 < most <= self._admitted:
                return Denial("The chat has no room for another connection; try again in a few seconds.")
            if of and 0 < most_of_one <= self._of.get(of, 0):
                return Denial("There are too many connections from your address; close some first.", True)
            self._admitted += 1
            if of:
                self._of[of] = self._of.get(of, 0) + 1
            return None

    def add(self, connection: Connection, of: str = "") -> None:
        """Notes the connection of one who was admitted; it is told at once where everybody has to go."""
        with self._lock:
            self._connections[connection] = of
            closing = self._closing
        if closing:
            connection.close(CloseCode.SHUTDOWN)

    def forget(self, connection: Connection) -> None:
        """Counts a connection out that is gone."""
        with self._lock:
            self._count_out_locked(self._connections.pop(connection, ""))

    def give_back(self, of: str = "") -> None:
        """Counts one out of whose admission nothing came."""
        with self._lock:
            self._count_out_locked(of)

    def start_reader(self, body: Callable[[], None], name: str) -> None:
        """Starts a thread for one that cannot stay on its request's. Raises RuntimeError."""
        thread = threading.Thread(target=body, name=name, daemon=True)
        with self._lock:
            self._readers.add(thread)
        thread.start()

    def leave_behind(self) -> None:
        """Begins anew: everybody is the parent's, whose threads may have held the lock.

        Runs on: the only thread of a forked process, first.
        """
        self.__init__()  # type: ignore[misc]

    # The end

    def close(self) -> None:
        """Tells everybody (3001), and whoever still comes; never blocks."""
        with self._lock:
            self._closing = True
            connections = list(self._connections)
        for connection in connections:
            connection.close(CloseCode.SHUTDOWN)

    def wait(self, deadline: float) -> bool:
        """Waits until the monotonic `deadline` for everybody to be gone; whether they are."""
        with self._lock:
            if not self._emptied.wait_for(lambda: not self._admitted, max(0.0, deadline - monotonic())):
                return False
            readers = [thread for thread in self._readers if thread.ident is not None]
        for thread in readers:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in readers)

    def cut_off(self) -> None:
        """Ends what did not end by itself; the peers see a reset."""
        with self._lock:
            overdue = list(self._connections)
        for connection in overdue:
            log.warning("%r did not end in time", connection)
            connection.abort(CloseCode.SHUTDOWN)

    def _count_out_locked(self, of: str) -> None:
        if of:
            self._of[of] -= 1
            if not self._of[of]:
                del self._of[of]
        self._admitted -= 1
        if not self._admitted:
            self._emptied.notify_all()
