"""One room's rows in the database, and what the writer remembers of them from commit to commit."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from threadchat.chat.log.events import Draft, Event, Position, Record, record, record_of, without_text
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.errors import RoomClosed

Row = TypeVar("Row")

SPARE: Final = 64
"""Rows that are written or dropped with one statement."""

Keys = dict[bytes, int]
"""Message keys, each with its user: the offset of what was said with it."""


class Retention(NamedTuple):
    """How much of a room is kept: events, bytes of their JSON, and seconds (0: however old)."""

    events: int
    bytes: int
    age: float

    def since(self, now: float) -> float:
        """The Unix time from which on events are kept."""
        return now - self.age if self.age else 0.0


class Place(NamedTuple):
    """A room in the database: the id of its row, which it may not have yet, and where its log stands.

    Of rooms with the same name the one that was opened last has the highest id. Events up to `floor` do not
    count any more, though they may be there yet.
    """

    id: int
    epoch: str
    head: int
    floor: int = 0


class RoomStore:
    """Appends to one room and drops what is too much. Runs on: the writer's thread, in a transaction.

    When a transaction fails its shelves are thrown away: the next one begins with what the database says.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        name: str,
        place: Place,
        retention: Retention,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
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
        # Of each event that is kept, oldest first: its bytes and its time.
        self._kept: deque[tuple[int, int]] = deque(
            database.execute(
                "SELECT length(json), time FROM events WHERE room = ? AND offset > ? ORDER BY offset",
                (place.id, place.floor),
            )
        )
        self._bytes = sum(size for size, _ in self._kept)
        self._spare = self._spare_bytes = 0  # events, and their bytes, that are there but no longer count

    def append(self, drafts: Sequence[Draft]) -> tuple[list[Position], list[Record]]:
        """Gives drafts their places; those whose key is known get the first one's, and no record.

        Raises RoomClosed behind the last event. What cannot be encoded raises before anything is written.
        """
        if self._closed:
            raise RoomClosed(f"room {self._name} is closed")
        now = self._clock()
        epoch, offset = self.place.epoch, self.place.head
        time = max(int(now), self._spoke_at)  # a clock that is set back must not make events older
        names = [_name_of(draft) if draft.key else b"" for draft in drafts]
        known = self._known([name for name in names if name], now)
        positions, records = [], []
        fresh: Keys = {}
        for draft, name in zip(drafts, names, strict=True):
            place = known.get(name)
            if place is None:
                place = offset = offset + 1
                records.append(record(draft, offset, self._name, time))
                if name:
                    known[name] = fresh[name] = offset
            positions.append(Position(place, epoch))
        if records:
            self._write(records, fresh, now)
        return positions, records

    def close(self) -> None:
        """Nothing follows what was appended: the name's next log begins anew."""
        self._closed = True
        self._database.execute("UPDATE rooms SET closed = 1 WHERE id = ?", (self.place.id,))

    def _known(self, names: Sequence[bytes], now: float) -> Keys:
        """Those of these keys that are not forgotten yet."""
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

    def _write(self, records: Sequence[Record], fresh: Keys, now: float) -> None:
        event, row = records[-1].event, self.place.id
        self._write_head(event)
        events = [(row, item.event.id, item.event.time, item.json) for item in records]
        _insert(self._database, "INSERT INTO events VALUES", events)
        for item in records:
            if item.event.target:
                self._delete(item.event.target)
        keys = [(row, name, offset, now + KEY_TTL) for name, offset in fresh.items()]
        _insert(self._database, "INSERT OR REPLACE INTO keys VALUES", keys)
        self.place, self._spoke_at = self.place._replace(head=event.id), event.time
        self._kept.extend((len(item.json), item.event.time) for item in records)
        self._bytes += sum(len(item.json) for item in records)
        self._drop_old(now)

    def _delete(self, offset: int) -> None:
        """Takes the text out of a message. What is counted for it stays, until it goes."""
        where, place = "WHERE room = ? AND offset = ?", (self.place.id, offset)
        found = self._database.execute(f"SELECT json FROM events {where}", place).fetchone()
        if found:
            json = without_text(record_of(found[0])).json
            self._database.execute(f"UPDATE events SET json = ? {where}", (json, *place))

    def _write_head(self, newest: Event) -> None:
        """Updates the room's row, or makes it where there is none.

        That is so before the first event, and in a room that was forgotten while it was opened.
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
        """Counts out what is too much; the rows themselves go when there are some, which is cheaper."""
        kept, most, oldest = self._kept, self._retention, self._retention.since(now)
        while len(kept) > 1 and (len(kept) > most.events or self._bytes > most.bytes or kept[0][1] < oldest):
            self._bytes -= kept[0][0]
            self._spare_bytes += kept.popleft()[0]
            self._spare += 1
        self.place = self.place._replace(floor=self.place.head - len(kept))
        if self._spare >= SPARE or self._spare_bytes * 8 >= most.bytes:
            self._spare = self._spare_bytes = 0
            self._database.execute(
                "DELETE FROM events WHERE room = ? AND offset <= ?", (self.place.id, self.place.floor)
            )


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    # Many a statement: each one that runs gives the interpreter away, and waits until it gets it back.
    return (rows[start : start + SPARE] for start in range(0, len(rows), SPARE))


def _insert(database: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    for some in _portions(rows):
        places = ",".join(["(?,?,?,?)"] * len(some))
        database.execute(f"{statement} {places}", [value for row in some for value in row])


def _name_of(draft: Draft) -> bytes:
    return msgspec.json.encode((draft.user, draft.key))
