"""One room's log in the database. Publishers wait for the disk, then hand on what was written, in order."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from threadchat.broker.sqlite.checkpoint import Checkpoint
from threadchat.broker.sqlite.reader import Reader
from threadchat.broker.sqlite.room_store import Place, Retention, RoomStore
from threadchat.broker.sqlite.writer import Work, Writer
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, Draft, Position, Record, record
from threadchat.chat.log.sequencer import Outlet, Page, check_target
from threadchat.errors import CommandError, RoomClosed

log = logging.getLogger(__name__)


class Store(Protocol):
    """What a channel needs from its broker."""

    closed: bool
    reader: Reader
    writer: Writer
    checkpoint: Checkpoint
    clock: Callable[[], float]

    def store(self, database: sqlite3.Connection, room: str, place: Place) -> RoomStore:
        """What the database has of a room. Runs on: the writer's thread."""

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept. Runs on: any thread."""

    def note(self, channel: SqliteChannel) -> None:
        """Notes which channel has a room's log now. Runs on: any thread."""

    def forget(self, channel: SqliteChannel) -> None:
        """Notes that a channel accepts nothing more. Runs on: any thread."""


class SqliteChannel:
    """See Channel.

    `_lock` guards `_outlet`, `_closed`, `_retired` and `_pending`. It is held while taking from `_committed`
    and while the outlet's `deliver` runs, but never while waiting for the disk.
    """

    def __init__(self, broker: Store, room: str, place: Place) -> None:
        self.room = room
        self.epoch = place.epoch
        self._broker = broker
        self._retention = broker.retention_of(room)
        self._lock = threading.Lock()
        self._outlet: Outlet | None = None
        self._closed = False
        self._retired = False
        self._pending: set[Publication] = set()  # passed the gate, but were not handed on yet
        # These belong to the writer, which changes them after a commit.
        self._committed: deque[Sequence[Record]] = deque()
        self._place = place
        self._store: RoomStore | None = None  # None: to be read from the database

    # See Channel

    def attach(self, outlet: Outlet) -> None:
        """See Channel. The outlet first gets what is kept of the log."""
        with self._lock:
            place = self._place
            records = self._broker.reader.tail(place, self._retention, self._broker.clock())
            outlet.begin(Position(place.head - len(records), place.epoch))
            if records:
                outlet.deliver(records)
            self._outlet = outlet
        self._broker.note(self)

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """See Channel. Returns once everything is on the disk.

        Raises CommandError 100 if it cannot be written.
        """
        for draft in drafts:
            if (draft.target or draft.details) and draft.refers:
                check_target(draft.refers, self.epoch)
        publication = Publication(self, drafts)
        try:
            with self._lock:
                if self._closed:
                    raise RoomClosed(f"room {self.room} is closed")
                if self._outlet is not None and (gate := self._outlet.gate) is not None:
                    return gate
                self._pending.add(publication)
            self._broker.writer.do(publication)
            self._finish(publication)
        except BaseException:  # may come from a signal handler, at any point
            self._finish(publication)
            raise
        return publication.positions

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel. Raises CommandError 100 if the database cannot be read."""
        now = self._broker.clock()
        return self._broker.reader.page(self._place, self._retention, since, limit, reverse, now=now)

    def close(self) -> None:
        """See Channel.

        If that cannot be written, or the broker is closed, the room ends in this process only.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._broker.writer.do(Publication(self, [Draft(CLOSE)], ending=True))
        except (CommandError, RoomClosed) as error:
            if not self._broker.closed:
                log.error("room %s is closed, but its log does not say so: %s", self.room, error)
            now = int(self._broker.clock())
            self._committed.append([record(Draft(CLOSE), self._place.head + 1, self.room, now)])
        self.hand_on()
        with self._lock:
            self._outlet = None  # so that nothing follows the last event
        self._broker.forget(self)

    def await_event(self, position: Position) -> None:
        """See Channel. Only this process delivers events of the file."""

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """See Channel. The log stays, and the next channel of the room continues it."""
        with self._lock:
            if self._closed or self._pending or not may_go():
                return False
            self._closed = self._retired = True
        self._broker.forget(self)
        return True

    @property
    def weight(self) -> int:
        """See Channel. The log and its keys are in the file."""
        return 0

    def forget(self, floor: int) -> None:
        """See Channel. The keys are in the file."""

    # For the broker, publishers and the writer

    @property
    def retired(self) -> bool:
        """Whether the next channel of the room continues this log. Runs on: any thread."""
        with self._lock:
            return self._retired

    def hand_on(self) -> None:
        """Delivers what was committed. Runs on: publishers, the writer."""
        with self._lock:
            outlet = self._outlet
            while self._committed:
                records = self._committed[0]
                if outlet is not None and records[-1].event.id > outlet.newest:
                    outlet.deliver(records)
                self._committed.popleft()  # last, so that an interrupted publisher skips nothing
        if outlet is not None:
            outlet.delivered()

    def _finish(self, publication: Publication) -> None:
        """Hands on what a publisher waited for. Doing it twice does no harm."""
        publication.awaited = False
        with self._lock:
            self._pending.discard(publication)
        self.hand_on()

    # For the writer, on its thread

    def open_store(self, database: sqlite3.Connection) -> RoomStore:
        """What the database has of this room."""
        if self._store is None:
            self._store = self._broker.store(database, self.room, self._place)
        return self._store

    def stored(self, database: sqlite3.Connection) -> int:
        """See OpenLog."""
        return self.open_store(database).bytes

    def shorten(self, database: sqlite3.Connection, most: int) -> None:
        """See OpenLog."""
        self.open_store(database).shorten(most)
        self._store = None  # also right if the transaction fails

    def commit(self, records: Sequence[Record]) -> None:
        """Called with the records that are on the disk now."""
        assert self._store is not None
        self._place = self._store.place
        while self._store.deleted:
            self._broker.checkpoint.erase(self._place.id, self._store.deleted.pop())
        if records:
            self._committed.append(records)

    def undo(self) -> None:
        """Called if the store no longer matches the database."""
        self._store = None


class Publication(Work):
    """Events of one room. With `ending`, the last one of the room."""

    def __init__(self, channel: SqliteChannel, drafts: Sequence[Draft], *, ending: bool = False) -> None:
        super().__init__()
        self.positions: list[Position] = []
        self.awaited = True  # its publisher waits, and will hand on what was committed
        self._channel = channel
        self._drafts = drafts
        self._ending = ending
        self._records: list[Record] = []

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work. Raises RoomClosed after the last event."""
        store = self._channel.open_store(database)
        self.positions, self._records = store.append(self._drafts)
        if self._ending:
            store.close()

    def committed(self) -> None:
        """See Work."""
        self._channel.commit(self._records)
        if not self.awaited:  # an interrupt ended the wait
            self._channel.hand_on()

    def undone(self) -> None:
        """See Work."""
        self._channel.undo()
