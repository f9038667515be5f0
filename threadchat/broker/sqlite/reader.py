"""Reads the database on the caller's thread, a consistent picture each time; nobody waits for the writer."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from threadchat.broker.sqlite.room_store import Place, Retention
from threadchat.broker.sqlite.schema import connect
from threadchat.chat.log.events import Position, Record, record_of
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page
from threadchat.chat.log.tail import within
from threadchat.errors import CommandError, ErrorCode

CONNECTIONS: Final = 4
"""Threads that read at a time; more would only fight for the interpreter. The others wait for their turn."""

_NEWEST: Final = "SELECT json FROM events WHERE room = ? AND offset < ? AND offset >= ? ORDER BY offset DESC"
_FOLLOWING: Final = "SELECT json FROM events WHERE room = ? AND offset > ? ORDER BY offset"


class Named(NamedTuple):
    """A room by its name, as the last process, or this one, left it."""

    place: Place
    closed: bool


class Reader:
    """A few connections that only read. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = False
        # None stands for a connection that was not needed yet.
        self._idle: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(None)

    def find(self, room: str) -> Named | None:
        """The newest log of a room of that name."""
        with self._snapshot() as database:
            found = database.execute(
                "SELECT id, epoch, head, closed FROM rooms WHERE name = ? ORDER BY id DESC LIMIT 1", (room,)
            ).fetchone()
        return found and Named(Place(*found[:3]), bool(found[3]))

    def tail(self, place: Place, kept: Retention, now: float) -> list[Record]:
        """The newest events of a room, oldest first: as many as are kept."""
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
        """See Channel.history. `place` may be a little behind."""
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

    def close(self) -> None:
        """Waits for those who read, and closes the connections; whoever asks later is refused."""
        self._closed = True
        for database in [self._idle.get() for _ in range(CONNECTIONS)]:
            if database is not None:
                database.close()
            self._idle.put(None)

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        database = self._idle.get()
        try:
            if self._closed:
                raise CommandError(ErrorCode.NOT_AVAILABLE, "the log is closed")
            database = database or connect(self._path, reading=True)
            database.execute("BEGIN")
            try:
                yield database
            finally:
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise CommandError(ErrorCode.INTERNAL, f"the log cannot be read just now: {error}") from error
        finally:
            self._idle.put(database)


def _first(database: sqlite3.Connection, place: Place, kept: Retention, now: float) -> int:
    """The oldest event that counts: some may be there that are too old, or too many."""
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
        if size > MAX_HISTORY_BYTES:  # the rest need not even be read
            break
    return within(records, MAX_HISTORY_BYTES)
