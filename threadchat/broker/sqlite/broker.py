"""The SQLite broker: what it has acknowledged survives the end of the process, and a loss of power."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from time import time
from typing import Final

from threadchat.broker.sqlite.blocks import SqliteBlocks
from threadchat.broker.sqlite.channel import SqliteChannel
from threadchat.broker.sqlite.checkpoint import Checkpoint
from threadchat.broker.sqlite.eviction import Eviction, stored_bytes
from threadchat.broker.sqlite.reader import Reader
from threadchat.broker.sqlite.reads import SqliteReads, sweep_reads
from threadchat.broker.sqlite.retention import Limits, sweep
from threadchat.broker.sqlite.room_store import Place, Retention, RoomStore
from threadchat.broker.sqlite.sanctions import SqliteSanctions, sweep_sanctions
from threadchat.broker.sqlite.schema import Ownership, explained, newest_room, prepare
from threadchat.broker.sqlite.writer import Work, Writer
from threadchat.chat.broker_interface import Alone
from threadchat.chat.log.events import Position, is_inbox
from threadchat.chat.log.sequencer import Page
from threadchat.chat.log.storage import STORAGE_BYTES, StorageBudget
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE

USERS_TOGETHER: Final = 64
"""The number of user ids to reserve in the file at a time. A process that is killed wastes at most this
many.
"""
MAX_ROOMS: Final = 100_000
"""The default limit of rooms in the file. A small room takes about 500 bytes."""


class SqliteBroker(Alone):
    """A Broker that keeps rooms in a file, including rooms that nobody has open. It is for a single node.

    Each room keeps at most `history_size` events, `history_bytes` bytes of them, and none older than
    `history_age` seconds (0: any age). An inbox has a size and an age of its own. A room that the hub forgot
    continues later, in the same epoch. A room that was closed begins anew. A room whose events are all too
    old is forgotten for good. Once a minute, rooms above `max_rooms` are forgotten as well: those that are
    not open and had no events for longest. The whole database takes at most `storage_bytes` bytes; see
    Eviction. `clock` returns Unix time in seconds.

    One process at a time has the file. Only the process that opened it may use it, not a process forked from
    it. `_lock` guards `_channels` and `_next_room`. `_ids` guards `_next_user` and `_users_end`, and is held
    while the writer reserves more ids.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        history_age: float = 0.0,
        max_rooms: int = MAX_ROOMS,
        *,
        inbox_size: int = INBOX_SIZE,
        inbox_age: float = INBOX_AGE,
        storage_bytes: int = STORAGE_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Raises BrokerError, with one sentence that says why, if the file cannot be used."""
        self.path = Path(path).absolute()
        self.clock = clock
        self._retention = Retention(history_size, history_bytes, history_age)
        self._inbox_retention = Retention(inbox_size, history_bytes, inbox_age)
        self._limits = Limits(self.retention_of, max_rooms)
        self._budget = StorageBudget(storage_bytes)
        self.closed = False
        self._lock = threading.Lock()
        self._channels: dict[str, SqliteChannel] = {}
        self._ids = threading.Lock()
        self._ownership = Ownership(self.path)
        try:
            with explained(self.path):
                meta = prepare(self.path)
                self.reader = Reader(self.path)
                self.checkpoint = Checkpoint(self.path, self.reader.paused)
                eviction = Eviction(self._budget, self._limits, self, clock)
                self.writer = Writer(self.path, self._sweep, eviction, self.checkpoint)
                self._budget.measured(stored_bytes(self.writer.database))
                self._next_room = newest_room(self.writer.database) + 1
                table = self.writer.database, self.writer, clock
                self.sanctions = SqliteSanctions(*table)
                self.revocations = SqliteSanctions(*table, "revocations")
                self.blocks = SqliteBlocks(self.reader, self.writer)
                self.reads = SqliteReads(self.reader, self.writer, clock)
        except BaseException:
            self._ownership.release()
            raise
        self.resume_key: bytes = meta["resume_key"]
        self._next_user: int = meta["next_user"]
        self._users_end: int = self._next_user

    # See Broker

    def open(self, room: str) -> SqliteChannel:
        """Returns the log of a room, where it left off. Raises CommandError 100 if it cannot be read."""
        self.writer.check_process()
        with self._lock:
            before = self._channels.get(room)
        found = self.reader.find(room)
        # If there is a channel that is not retired, the hub is closing its room, so this is a new room.
        if found is None or found.closed or not (before is None or before.retired):
            return SqliteChannel(self, room, self._new_place())
        return SqliteChannel(self, room, found.place)

    def new_user(self) -> int:
        """Returns the next user id. Each id is returned once, however the process ends.

        Raises CommandError 100.
        """
        self.writer.check_process()
        with self._ids:
            if self._next_user == self._users_end:
                end = self._users_end + USERS_TOGETHER
                self.writer.do(NextUser(end))
                self._users_end = end
            self._next_user += 1
            return self._next_user - 1

    def close(self) -> None:
        """Lets another process use the file. Rooms that are closed after this end in this process only."""
        with self._ids:
            if self.closed:
                return
            self.closed = True
            self.writer.close(NextUser(self._next_user))
            self._users_end = self._next_user
        self.reader.close()
        self._ownership.release()

    def leave_behind(self) -> None:
        """Stops using the file. Runs on: the only thread of a forked process, before anything else."""
        self._lock, self._ids = threading.Lock(), threading.Lock()
        self.sanctions.leave_behind()
        self.revocations.leave_behind()
        self.reads.leave_behind()
        self.closed = True

    # See Cluster

    def exists(self, room: str) -> bool:
        """See Cluster."""
        self.writer.check_process()
        found = self.reader.find(room)
        return found is not None and not found.closed

    def read_log(self, room: str, since: Position | None, limit: int) -> Page | None:
        """See Cluster."""
        found = self.reader.find(room)
        if found is None or found.closed:
            return None
        return self.reader.page(
            found.place, self.retention_of(room), since, limit, reverse=False, now=self.clock()
        )

    # For channels

    def store(self, database: sqlite3.Connection, room: str, place: Place) -> RoomStore:
        """What the database has of a room. Runs on: the writer's thread."""
        return RoomStore(database, room, place, self.retention_of(room), self.clock, budget=self._budget)

    def retention_of(self, room: str) -> Retention:
        """How much of a room or an inbox is kept. Runs on: any thread."""
        return self._inbox_retention if is_inbox(room) else self._retention

    def note(self, channel: SqliteChannel) -> None:
        """Notes which channel has a room's log now. Runs on: any thread."""
        with self._lock:
            self._channels[channel.room] = channel

    def forget(self, channel: SqliteChannel) -> None:
        """Notes that a channel accepts nothing more. Runs on: any thread."""
        with self._lock:
            if self._channels.get(channel.room) is channel:
                del self._channels[channel.room]

    def is_open(self, room: str, epoch: str) -> bool:
        """See Open."""
        with self._lock:
            channel = self._channels.get(room)
        return channel is not None and channel.epoch == epoch

    def open_logs(self) -> list[SqliteChannel]:
        """See Open."""
        with self._lock:
            return list(self._channels.values())

    # Helpers

    def _new_place(self) -> Place:
        # The id of the row is assigned here, not with the first event. While a room is being closed, a new
        # room of the same name may be the first of the two to get an event.
        with self._lock:
            self._next_room += 1
            return Place(self._next_room - 1, secrets.token_hex(8), 0)

    def _sweep(self, database: sqlite3.Connection) -> Iterator[None]:
        sweep_sanctions(database, self.clock())
        sweep_reads(database, self._inbox_retention.since(self.clock()))
        yield from sweep(database, self._limits, self.clock(), self.is_open)


class NextUser(Work):
    """Sets the lowest user id that was not assigned yet."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""
        database.execute("UPDATE meta SET value = ? WHERE name = 'next_user'", (self._number,))
