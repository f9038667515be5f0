"""The statistics of one chat: its current connections, and totals over all connections since it began."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Protocol

from threadchat.chat.log.events import UserId
from threadchat.wire.connection import Connection


class Work:
    """Counters of one session. Only the connection's reader thread writes them; any thread may read."""

    __slots__ = ("bursts", "errors", "seconds")

    def __init__(self) -> None:
        self.bursts = 0
        self.seconds = 0.0
        self.errors: dict[int, int] = {}

    def note_burst(self, seconds: float) -> None:
        """Adds one burst of messages, which took `seconds` to handle."""
        self.bursts += 1
        self.seconds += seconds

    def count_error(self, code: int) -> None:
        """Adds an error that was sent to the peer."""
        # The dict is replaced, not changed, because another thread may be iterating over it.
        self.errors = {**self.errors, code: self.errors.get(code, 0) + 1}


class CountedSession(Protocol):
    """The part of a session that the statistics use."""

    user: UserId | None
    nickname: str
    work: Work

    @property
    def address(self) -> str: ...

    def room_names(self) -> list[str]: ...


class Entry:
    """A connection, the time it was added, and its session once there is one."""

    __slots__ = ("connection", "session", "since")

    def __init__(self, connection: Connection, since: float) -> None:
        self.connection = connection
        self.since = since
        self.session: CountedSession | None = None


@dataclass(slots=True)
class Totals:
    """Sums since the chat began. Times are in seconds."""

    connections: int = 0
    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    writes: int = 0
    waited: float = 0.0
    turns: int = 0
    handled: float = 0.0
    bursts: int = 0
    events: int = 0
    fell_behind: int = 0
    pings_unanswered: int = 0
    errors: Counter[int] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Adds the counters of one connection."""
        counters = entry.connection.counters
        self.connections += 1
        self.messages_in += counters.messages_in
        self.bytes_in += counters.bytes_in
        self.messages_out += counters.frames_out
        self.bytes_out += counters.bytes_out
        self.writes += counters.writes
        self.waited += counters.waited
        self.turns += counters.turns
        self.pings_unanswered += counters.pings_unanswered
        if entry.session is not None:
            work = entry.session.work
            self.handled += work.seconds
            self.bursts += work.bursts
            if work.errors:
                self.errors.update(work.errors)

    def copy(self) -> Totals:
        """An independent copy."""
        return replace(self, errors=Counter(self.errors), closes=Counter(self.closes))


class Statistics:
    """Counts connections and events; nothing here is called for each message of a connection.

    A connection that ends is removed and added to the totals in one step, so that no sum ever decreases.
    `_lock` guards everything here; it is a leaf. Every method may be called from any thread.
    """

    def __init__(self, on_left: Callable[[Connection], None], clock: Callable[[], float] = monotonic) -> None:
        """`on_left` is called with each connection that has ended."""
        self._on_left = on_left
        self._clock = clock
        self.begun = clock()
        self._lock = threading.Lock()
        self._present: dict[Connection, Entry] = {}
        self._past = Totals()

    def __len__(self) -> int:
        return len(self._present)

    def came(self, connection: Connection) -> Connection:
        """Adds a new connection and returns it. `left` must follow."""
        with self._lock:
            self._present[connection] = Entry(connection, self._clock())
        return connection

    def note_session(self, connection: Connection, session: CountedSession) -> None:
        """Sets the session of a connection; does nothing if the connection has already ended."""
        with self._lock:
            entry = self._present.get(connection)
            if entry is not None:
                entry.session = session

    def left(self, connection: Connection) -> None:
        """Removes a connection whose last thread has ended, and adds it to the totals."""
        with self._lock:
            entry = self._present.pop(connection, None)
            if entry is not None:
                self._past.add(entry)
                if connection.closed is not None:
                    self._past.closes[connection.closed.code] += 1
        self._on_left(connection)

    def published(self, events: int) -> None:
        """Adds events that were published through this node."""
        with self._lock:
            self._past.events += events

    def fell_behind(self, subscriptions: int) -> None:
        """Adds live subscriptions that fell behind."""
        with self._lock:
            self._past.fell_behind += subscriptions

    def read(self) -> tuple[list[Entry], Totals]:
        """The current connections, and the totals of all others, at the same instant."""
        with self._lock:
            return list(self._present.values()), self._past.copy()

    def leave_behind(self) -> None:
        """Starts empty: all connections are the parent's. Runs on: a forked process's only thread, first."""
        self.__init__(self._on_left, self._clock)  # type: ignore[misc]
