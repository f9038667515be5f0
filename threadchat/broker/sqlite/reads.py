"""Read positions that outlive the process. They are written a moment after they were noted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from threadchat.broker.sqlite.reader import Reader
from threadchat.broker.sqlite.writer import Work, Writer
from threadchat.chat.log.events import Position, UserId
from threadchat.chat.log.read_positions import MAX_READ_ROOMS, advances

_KEEP: Final = "INSERT OR REPLACE INTO reads VALUES (?, ?, ?, ?, ?)"
_DROP: Final = (
    "DELETE FROM reads WHERE user = ? AND room IN "
    "(SELECT room FROM reads WHERE user = ? ORDER BY time DESC, room LIMIT -1 OFFSET ?)"
)

Unwritten = dict[tuple[UserId, str], Position]


class SqliteReads:
    """See ReadPositions. A position is found again at once, and is on the disk a moment later.

    All that is new goes into one transaction, and the next one begins when it is written. `_lock` guards
    `_unwritten`, `_writing` and `_is_posted`; it is not held while reading or writing.
    """

    def __init__(self, reader: Reader, writer: Writer, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._unwritten: Unwritten = {}
        self._writing: Unwritten = {}
        self._is_posted = False  # the writer has a work that takes what is unwritten

    def of(self, user: UserId) -> dict[str, Position]:
        """See ReadPositions. Raises CommandError 100 if the database cannot be read."""
        with self._lock:  # first: what is being written may be on the disk when that is read
            new = {**self._writing, **self._unwritten}
        rooms = self._reader.reads(spelled(user))
        for (reader, room), position in new.items():
            if reader == user and advances(rooms.get(room), position):
                rooms.pop(room, None)
                rooms[room] = position
        return rooms

    def advance(self, user: UserId, room: str, position: Position) -> bool:
        """See ReadPositions. Raises CommandError 100 if the database cannot be read."""
        if not advances(self.of(user).get(room), position):
            return False
        with self._lock:
            self._unwritten.pop((user, room), None)
            self._unwritten[user, room] = position
            post, self._is_posted = not self._is_posted, True
        if post:
            self._writer.post(_Reads(self))
        return True

    def leave_behind(self) -> None:
        """Starts from scratch in a forked process, which must not use the file."""
        self._lock = threading.Lock()

    # For the writer, on its thread

    def take(self) -> list[tuple[str, str, str, int, int]]:
        """The rows to write."""
        now = int(self._clock())
        with self._lock:
            new, self._unwritten = self._unwritten, {}
            self._writing |= new  # what another work of the same transaction took is there still
            self._is_posted = False
        return [(spelled(user), room, read.epoch, read.offset, now) for (user, room), read in new.items()]

    def settle(self, *, written: bool) -> None:
        """Forgets what is on the disk, or keeps it for the next time."""
        with self._lock:
            if not written:
                self._unwritten = {**self._writing, **self._unwritten}
                self._is_posted = False  # the transaction may not even have begun
            self._writing = {}


class _Reads(Work):
    """Writes what is new."""

    def __init__(self, reads: SqliteReads) -> None:
        super().__init__()
        self._reads = reads

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""
        rows = self._reads.take()
        database.executemany(_KEEP, rows)
        for user in {row[0] for row in rows}:
            database.execute(_DROP, (user, user, MAX_READ_ROOMS))

    def committed(self) -> None:
        """See Work."""
        self._reads.settle(written=True)

    def undone(self) -> None:
        """See Work."""
        self._reads.settle(written=False)


def spelled(user: UserId) -> str:
    """A user id as the table has it: 7 and "7" are two people."""
    return msgspec.json.encode(user).decode()


def sweep_reads(database: sqlite3.Connection, oldest: float) -> None:
    """Drops positions older than that time. Runs on: the writer's thread, in a transaction."""
    database.execute("DELETE FROM reads WHERE time < ?", (oldest,))
