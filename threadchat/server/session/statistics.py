"""The account of one chat: who is connected now, and what all who ever were have sent, got and done."""

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
    """What a session did for its peer. Written by the connection's reader thread alone, read by any."""

    __slots__ = ("bursts", "errors", "seconds")

    def __init__(self) -> None:
        self.bursts = 0
        self.seconds = 0.0
        self.errors: dict[int, int] = {}

    def note_burst(self, seconds: float) -> None:
        """Notes how long all that came in together took."""
        self.bursts += 1
        self.seconds += seconds

    def count_error(self, code: int) -> None:
        """Notes an error that the peer was told of."""
        # In place of the old one: whoever goes through it just now is not disturbed.
        self.errors = {**self.errors, code: self.errors.get(code, 0) + 1}


class CountedSession(Protocol):
    """What the statistics shows of a session."""

    user: UserId | None
    nickname: str
    work: Work

    @property
    def address(self) -> str: ...


class Entry:
    """A connection, since when it is there, and whose it is once that is known."""

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
    errors: Counter[int] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Adds what one connection has done so far."""
        counters = entry.connection.counters
        self.connections += 1
        self.messages_in += counters.messages_in
        self.bytes_in += counters.bytes_in
        self.messages_out += counters.frames_out
        self.bytes_out += counters.bytes_out
        self.writes += counters.writes
        self.waited += counters.waited
        self.turns += counters.turns
        if entry.session is not None:
            work = entry.session.work
            self.handled += work.seconds
            self.bursts += work.bursts
            if work.errors:
                self.errors.update(work.errors)

    def copy(self) -> Totals:
        """The same sums, to go on with apart from these."""
        return replace(self, errors=Counter(self.errors), closes=Counter(self.closes))


class Statistics:
    """Notes connections as they come and go; nothing here is called for each message.

    A connection that goes is added to the totals and struck off in one step, so no sum ever goes down.
    `_lock` guards everything here; a leaf. Every method may be called from any thread.
    """

    def __init__(self, on_left: Callable[[Connection], None], clock: Callable[[], float] = monotonic) -> None:
        """`on_left` is told of each connection that left."""
        self._on_left = on_left
        self._clock = clock
        self.begun = clock()
        self._lock = threading.Lock()
        self._present: dict[Connection, Entry] = {}
        self._past = Totals()

    def __len__(self) -> int:
        return len(self._present)

    def came(self, connection: Connection) -> Connection:
        """Notes a connection that came, and returns it; `left` follows."""
        with self._lock:
            self._present[connection] = Entry(connection, self._clock())
        return connection

    def note_session(self, connection: Connection, session: CountedSession) -> None:
        """Says whose connection it is; nothing happens where it is gone already."""
        with self._lock:
            entry = self._present.get(connection)
            if entry is not None:
                entry.session = session

    def left(self, connection: Connection) -> None:
        """A connection's last thread has let go of it."""
        with self._lock:
            entry = self._present.pop(connection, None)
            if entry is not None:
                self._past.add(entry)
                if connection.closed is not None:
                    self._past.closes[connection.closed.code] += 1
        self._on_left(connection)

    def published(self, events: int) -> None:
        """So many events were published through this node."""
        with self._lock:
            self._past.events += events

    def fell_behind(self, subscriptions: int) -> None:
        """So many live subscriptions fell behind."""
        with self._lock:
            self._past.fell_behind += subscriptions

    def read(self) -> tuple[list[Entry], Totals]:
        """Who is connected, and the sums without theirs: all of one instant."""
        with self._lock:
            return list(self._present.values()), self._past.copy()

    def leave_behind(self) -> None:
        """Begins anew: everybody is the parent's. Runs on: the only thread of a forked process, first."""
        self.__init__(self._on_left, self._clock)  # type: ignore[misc]
