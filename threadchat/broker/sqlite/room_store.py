"""One room's rows in the database, and what the writer remembers of them between commits."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from threadchat.chat.log.alterations import altered, check, superseded_edit, without_text
from threadchat.chat.log.events import CLOSE, DELETE, Draft, Event, Position, Record, record, record_of
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.chat.log.storage import StorageBudget
from threadchat.errors import RoomClosed

Row = TypeVar("Row")

SPARE: Final = 64
"""The number of rows to write or drop with one statement."""

Keys = dict[bytes, int]
"""The offset published for each message key. A key includes its user."""


class Retention(NamedTuple):
    """How much of a room is kept: events, the bytes of their JSON, and their age in seconds (0: any age)."""

    events: int
    bytes: int
    age: float

    def since(self, now: float) -> float:
        """The Unix time from which on events are kept."""
        return now - self.age if self.age else 0.0


class Place(NamedTuple):
    """A room in the database: the id of its row, which may not exist yet, and the head of its log.

    Of rooms with the same name, the one opened last has the highest id. Events up to `floor` no longer count,
    though their rows may still exist.
    """

    id: int
    epoch: str
    head: int
    floor: int = 0


class RoomStore:
    """Appends to one room and drops what is too much. Runs on: the writer's thread, in a transaction.

    If a transaction fails, its stores are discarded, and the next transaction reads the database again.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        name: str,
        place: Place,
        retention: Retention,
        clock: Callable[[], float],
        *,
        budget: StorageBudget,
    ) -> None:
        self._database = database
        self._budget = budget
        self._name = name
        self._retention = retention
        self._clock = clock
        found = database.execute(
            "SELECT head, spoke_at, closed FROM rooms WHERE id = ?", (place.id,)
        ).fetchone()
        head, spoke_at, closed = found or (place.head, 0, 0)
        self._spoke_at: int = spoke_at
        self._closed = bool(closed)
        self.place = place._replace(head=head)
        # The bytes and the time of each event that is kept, oldest first.
        self._kept: deque[tuple[int, int]] = deque(
            database.execute(
                "SELECT length(json), time FROM events WHERE room = ? AND offset > ? ORDER BY offset",
                (place.id, place.floor),
            )
        )
        self.bytes = sum(size for size, _ in self._kept)
        self.deleted: list[int] = []  # offsets of messages whose text is still in the files
        self._spare = self._spare_bytes = 0  # rows that no longer count, and their bytes

    def append(self, drafts: Sequence[Draft]) -> tuple[list[Position], list[Record]]:
        """Assigns positions to drafts.

        A draft with a known key gets the position of the first one, and no record; a reaction that changes
        nothing gets the offset 0. Raises RoomClosed after the last event, and CommandError 106 if the storage
        is full. If a draft cannot be encoded, or its target cannot be changed, raises before anything is
        written.
        """
        if self._closed:
            raise RoomClosed(f"room {self._name} is closed")
        now = self._clock()
        epoch, offset = self.place.epoch, self.place.head
        time = max(int(now), self._spoke_at)  # setting the clock back must not make events older
        names = [_name_of(draft) if draft.key else b"" for draft in drafts]
        known = self._known([name for name in names if name], now)
        positions, records = [], []
        fresh: Keys = {}
        for draft, name in zip(drafts, names, strict=True):
            place = known.get(name)
            if place is None and draft.target and not check(self._at(draft.target.offset), draft, self._name):
                place = 0
            if place is None:
                place = offset = offset + 1
                records.append(record(draft, offset, self._name, time))
                if name:
                    known[name] = fresh[name] = offset
            positions.append(Position(place, epoch))
        if records:
            size = sum([len(item.json) for item in records])
            if drafts[0].type not in (DELETE, CLOSE):  # these always find room
                self._budget.admit(size + (sum(map(len, fresh)) if fresh else 0))
            self._write(records, size, fresh, now)
        return positions, records

    def shorten(self, most: int) -> None:
        """Deletes the oldest events until the log takes `most` bytes. The store cannot be used any more."""
        sizes = [size for size, _ in self._kept]
        size, gone = self.bytes, 0
        while size > most and gone < len(sizes) - 1:
            size -= sizes[gone]
            gone += 1
        floor = self.place.head - len(sizes) + gone
        self._database.execute("DELETE FROM events WHERE room = ? AND offset <= ?", (self.place.id, floor))

    def close(self) -> None:
        """Marks the log as ended. The next log of that name starts empty."""
        self._closed = True
        self._database.execute("UPDATE rooms SET closed = 1 WHERE id = ?", (self.place.id,))

    def _known(self, names: Sequence[bytes], now: float) -> Keys:
        """Those of these keys that have not expired."""
        known: Keys = {}
        for some in _portions(names):
            places = ",".join("?" * len(some))
            known.update(
                self._database.execute(
                    f"SELECT name, offset FROM keys WHERE room = ? AND expires > ? AND name IN ({places})",
                    (self.place.id, now, *some),
                )
            )
        return known

    def _write(self, records: Sequence[Record], size: int, fresh: Keys, now: float) -> None:
        event, row = records[-1].event, self.place.id
        self._write_head(event)
        events = [(row, item.event.id, item.event.time, item.json) for item in records]
        _insert(self._database, "INSERT INTO events VALUES", events)
        keys = [(row, name, offset, now + KEY_TTL) for name, offset in fresh.items()]
        _insert(self._database, "INSERT OR REPLACE INTO keys VALUES", keys)
        self.place, self._spoke_at = self.place._replace(head=event.id), event.time
        self._kept.extend((len(item.json), item.event.time) for item in records)
        self.bytes += size
        for item in records:
            if item.event.target:
                self._alter(item.event)
        self._drop_old(now)

    def _at(self, offset: int) -> Record | None:
        """The event with that offset; None if it is no longer kept."""
        if not self.place.head - len(self._kept) < offset <= self.place.head:
            return None
        found = self._database.execute(
            "SELECT json FROM events WHERE room = ? AND offset = ?", (self.place.id, offset)
        ).fetchone()
        return record_of(found[0]) if found else None

    def _alter(self, by: Event) -> None:
        """Changes a message as the event `by` says, and removes the text of its edit before."""
        message = self._at(by.target)
        if message is None:
            return
        last_edit = self._at(superseded_edit(message.event, by))
        if last_edit is not None:
            self._replace(without_text(last_edit))
        self._replace(altered(message, by))
        if by.type == DELETE:
            self.deleted += filter(None, (message.event.id, message.event.edited))

    def _replace(self, changed: Record) -> None:
        offset, json = changed.event.id, changed.json
        self._database.execute(
            "UPDATE events SET json = ? WHERE room = ? AND offset = ?", (json, self.place.id, offset)
        )
        index = offset - (self.place.head - len(self._kept)) - 1
        size, time = self._kept[index]
        self._kept[index] = len(json), time
        self.bytes += len(json) - size

    def _write_head(self, newest: Event) -> None:
        """Updates the room's row, or inserts it if there is none.

        There is none before the first event, and if the room was dropped while it was being opened.
        """
        execute = self._database.execute
        head = newest.id, newest.time
        if execute("UPDATE rooms SET head = ?, spoke_at = ? WHERE id = ?", (*head, self.place.id)).rowcount:
            return
        execute(
            "INSERT INTO rooms (id, name, epoch, head, spoke_at) VALUES (?, ?, ?, ?, ?)",
            (self.place.id, self._name, self.place.epoch, *head),
        )

    def _drop_old(self, now: float) -> None:
        """Stops counting what is too much.

        The rows are deleted once there are enough of them, which is cheaper.
        """
        kept, most, oldest = self._kept, self._retention, self._retention.since(now)
        while len(kept) > 1 and (len(kept) > most.events or self.bytes > most.bytes or kept[0][1] < oldest):
            self.bytes -= kept[0][0]
            self._spare_bytes += kept.popleft()[0]
            self._spare += 1
        self.place = self.place._replace(floor=self.place.head - len(kept))
        if self._spare >= SPARE or self._spare_bytes * 8 >= most.bytes:
            self._spare = self._spare_bytes = 0
            self._database.execute(
                "DELETE FROM events WHERE room = ? AND offset <= ?", (self.place.id, self.place.floor)
            )


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    # Many rows per statement, because each statement releases the interpreter and waits to get it back.
    return (rows[start : start + SPARE] for start in range(0, len(rows), SPARE))


def _insert(database: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    for some in _portions(rows):
        places = ",".join(["(?,?,?,?)"] * len(some))
        database.execute(f"{statement} {places}", [value for row in some for value in row])


def _name_of(draft: Draft) -> bytes:
    return msgspec.json.encode((draft.user, draft.key))
