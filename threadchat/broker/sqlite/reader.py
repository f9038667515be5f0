"""Reads the database on the caller's thread, in consistent snapshots. Readers never wait for the writer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from threadchat.broker.sqlite.room_store import Place, Retention
from threadchat.broker.sqlite.schema import check_process, connect
from threadchat.chat.log.events import Position, Record, record_of
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page
from threadchat.chat.log.tail import within
from threadchat.errors import CommandError, ErrorCode

CONNECTIONS: Final = 4
"""The number of threads that can read at a time. More would only compete for the interpreter. Others wait for
their turn.
"""

_NEWEST: Final = "SELECT json FROM events WHERE room = ? AND offset < ? AND offset >= ? ORDER BY offset DESC"
_FOLLOWING: Final = "SELECT json FROM events WHERE room = ? AND offset > ? ORDER BY offset"


class Named(NamedTuple):
    """A room found by its name, as this process or the last one left it."""

    place: Place
    closed: bool


class Reader:
    """A few connections that only read. All methods may be called from any thread.

    `_lock` guards `_idle`, `_paused` and `_closed`, and is not held while reading. It has two conditions: a
    thread that wants to read waits for `_free`, and a thread that pauses readers waits for `_all_idle`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._all_idle = threading.Condition(self._lock)
        # None stands for a connection that was never needed.
        self._idle: list[sqlite3.Connection | None] = [None] * CONNECTIONS
        self._paused = False  # nobody may begin to read
        self._closed = False

    def find(self, room: str) -> Named | None:
        """The newest log of a room of that name."""
        with self._snapshot() as database:
            found = database.execute(
                "SELECT id, epoch, head, closed FROM rooms WHERE name = ? ORDER BY id DESC LIMIT 1", (room,)
            ).fetchone()
        return found and Named(Place(*found[:3]), bool(found[3]))

    def tail(self, place: Place, kept: Retention, now: float) -> list[Record]:
        """The newest events of a room that are kept, oldest first."""
        records: list[Record] = []
        size = 0
        with self._snapshot() as database:
            first = _first(database, place, kept, now)
            for (json,) in database.execute(_NEWEST, (place.id, place.head + 1, first)):
                size += len(json)
                if len(records) == kept.events or (records and size > kept.bytes):
                    break
                records.append(record_of(json))
        records.reverse()
        return records

    def page(
        self,
        place: Place,
        kept: Retention,
        since: Position | None,
        limit: int,
        reverse: bool,
        *,
        now: float,
    ) -> Page:
        """See Channel.history. `place` may be slightly out of date."""
        with self._snapshot() as database:
            found = database.execute("SELECT head FROM rooms WHERE id = ?", (place.id,)).fetchone()
            head = Position(found[0] if found else place.head, place.epoch)
            first = _first(database, place._replace(head=head.offset), kept, now)
            if since is not None:
                _check_reach(since, head, 0 if reverse else first - 1, head.offset + reverse)
            if since is None or reverse:
                before = since.offset if since else head.offset + 1
                records = _read(database, _NEWEST, (place.id, before, first), limit)
            else:
                records = _read(database, _FOLLOWING, (place.id, since.offset), limit)
        if since is None and not reverse:
            records.reverse()
        return Page(records, head)

    def rows(self, question: str, *about: Any) -> list[Any]:
        """The rows that a query finds; for queries that find few."""
        with self._snapshot() as database:
            return database.execute(question, about).fetchall()

    def reads(self, user: str) -> dict[str, Position]:
        """The read positions of a user by room; the room that was read last comes last."""
        with self._snapshot() as database:
            rows = database.execute(
                "SELECT room, offset, epoch FROM reads WHERE user = ? ORDER BY time, room", (user,)
            ).fetchall()
        return {room: Position(offset, epoch) for room, offset, epoch in rows}

    def close(self) -> None:
        """Waits for current readers and closes the connections. Later readers are refused."""
        with self._lock:
            self._closed = True
            self._free.notify_all()
            self._all_idle.wait_for(lambda: len(self._idle) == CONNECTIONS)
            databases, self._idle = self._idle, [None] * CONNECTIONS
        for database in databases:
            if database is not None:
                database.close()

    @contextlib.contextmanager
    def paused(self, timeout: float) -> Iterator[bool]:
        """Pauses readers during the block: nobody begins to read.

        Gives whether current readers finished in time. `timeout` is in seconds. Runs on: the writer's thread.
        """
        with self._lock:
            self._paused = True
            alone = self._all_idle.wait_for(lambda: len(self._idle) == CONNECTIONS, timeout)
        try:
            yield alone
        finally:
            with self._lock:
                self._paused = False
                self._free.notify_all()

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        database = self._take()
        try:
            database = database or connect(self._path, reading=True)
            database.execute("BEGIN")
            try:
                yield database
            finally:
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise CommandError(ErrorCode.INTERNAL, f"the log cannot be read just now: {error}") from error
        finally:
            with self._lock:
                self._idle.append(database)
                self._free.notify()
                if len(self._idle) == CONNECTIONS:
                    self._all_idle.notify_all()

    def _take(self) -> sqlite3.Connection | None:
        check_process(self._path, self._process)  # first: after a fork the lock may stay locked for good
        with self._lock:
            self._free.wait_for(lambda: self._closed or (self._idle and not self._paused))
            if self._closed:
                raise CommandError(ErrorCode.NOT_AVAILABLE, "the log is closed")
            return self._idle.pop()


def _first(database: sqlite3.Connection, place: Place, kept: Retention, now: float) -> int:
    """The oldest event that counts. The table may also have events that are too old, or too many."""
    oldest = kept.since(now)
    times = database.execute(
        "SELECT offset, time FROM events WHERE room = ? AND offset > ? ORDER BY offset",
        (place.id, place.floor),
    )
    for offset, time in times:
        if time >= oldest:
            return int(offset)
    return place.head + 1


def _check_reach(since: Position, head: Position, lowest: int, highest: int) -> None:
    if since.epoch != head.epoch or not lowest <= since.offset <= highest:
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)


def _read(database: sqlite3.Connection, question: str, about: Sequence[Any], limit: int) -> list[Record]:
    records = []
    size = 0
    for (json,) in database.execute(f"{question} LIMIT ?", (*about, limit)):
        size += len(json)
        records.append(record_of(json))
        if size > MAX_HISTORY_BYTES:  # no need to read the rest
            break
    return within(records, MAX_HISTORY_BYTES)
