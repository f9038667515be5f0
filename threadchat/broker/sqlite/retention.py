"""Drops old data that no writer touches any more: old events, expired keys, and rooms that are over."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from threadchat.broker.sqlite.room_store import Retention
from threadchat.chat.log.events import INBOX, inbox_of
from threadchat.chat.log.sequencer import MAX_KEYS

STEP: Final = 500
"""The number of rows to check or drop in one step, which takes a few milliseconds."""
MINUTE: Final = 60

_END: Final = (1 << 62, b"")
"""Sorts after every key."""

IsOpen = Callable[[str, str], bool]
"""Whether the room of that name and epoch is open. Runs on: any thread."""


class Room(NamedTuple):
    """A row of the table of rooms."""

    id: int
    name: str
    epoch: str


class Limits(NamedTuple):
    """What to keep: `retention_of` for each room, and at most `rooms` rooms.

    Above that, rooms without recent events go first.
    """

    retention_of: Callable[[str], Retention]
    rooms: int


def sweep(database: sqlite3.Connection, limits: Limits, now: float, is_open: IsOpen) -> Iterator[None]:
    """Checks everything once, in steps of `STEP` rows. A transaction may end between any two steps.

    A room is dropped if it was closed, if a newer room has the same name, if all its events are too old, or
    if there are too many rooms. An open room stays.
    """
    database.create_function("kept_since", 1, lambda name: limits.retention_of(name).since(now))
    yield from _drop_keys(database, now)
    minutes: Counter[int] = Counter()  # the number of rooms by the minute of their last event
    for span in _spans(database):
        for room in _over(database, span):
            yield from _drop_room(database, room, is_open)
        for number, oldest in _with_old_events(database, span):
            yield from _drop_events(database, number, oldest)
        minutes.update(_minutes(database, span))
        yield
    yield from _drop_silent(database, minutes, minutes.total() - limits.rooms, is_open)


def _drop_keys(database: sqlite3.Connection, now: float) -> Iterator[None]:
    """Drops expired keys.

    If there are too many, also drops the oldest, by the number of events since, as in memory.
    """
    after: tuple[int, bytes] = (0, b"")
    while after != _END:
        last = database.execute(
            "SELECT room, name FROM keys WHERE (room, name) > (?, ?) ORDER BY room, name LIMIT 1 OFFSET ?",
            (*after, STEP - 1),
        ).fetchone()
        database.execute(
            "DELETE FROM keys WHERE (room, name) > (?, ?) AND (room, name) <= (?, ?) AND "
            "(expires <= ? OR offset <= (SELECT head FROM rooms WHERE id = keys.room) - ?)",
            (*after, *(last or _END), now, MAX_KEYS),
        )
        after = last or _END
        yield


# -- rooms -------------------------------------------------------------------------------------------


def _spans(database: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """All rooms, some at a time: ids above the first number, up to the second."""
    after = 0
    while True:
        found = database.execute(
            "SELECT max(id) FROM (SELECT id FROM rooms WHERE id > ? ORDER BY id LIMIT ?)", (after, STEP)
        ).fetchone()
        if found[0] is None:
            return
        yield after, found[0]
        after = found[0]


def _over(database: sqlite3.Connection, span: tuple[int, int]) -> list[Room]:
    rows = database.execute(
        "SELECT id, name, epoch FROM rooms AS room WHERE id > ? AND id <= ? AND (closed OR "
        "spoke_at < kept_since(name) OR "
        "EXISTS (SELECT 1 FROM rooms AS other WHERE other.name = room.name AND other.id > room.id))",
        span,
    )
    return [Room(*row) for row in rows]


def _with_old_events(database: sqlite3.Connection, span: tuple[int, int]) -> list[tuple[int, float]]:
    """The ids of rooms whose first events are too old, and the time from which on events are kept."""
    return database.execute(
        "SELECT id, kept_since(name) AS oldest FROM rooms WHERE id > ? AND id <= ? AND oldest > 0 AND "
        "(SELECT time FROM events WHERE events.room = rooms.id ORDER BY offset LIMIT 1) < oldest",
        span,
    ).fetchall()


def _minutes(database: sqlite3.Connection, span: tuple[int, int]) -> dict[int, int]:
    return dict(
        database.execute(
            f"SELECT spoke_at / {MINUTE}, count(*) FROM rooms WHERE id > ? AND id <= ? GROUP BY 1", span
        )
    )


def _drop_silent(
    database: sqlite3.Connection, minutes: Counter[int], excess: int, is_open: IsOpen
) -> Iterator[None]:
    """Drops `excess` rooms: those whose last event is the oldest, to the minute."""
    if excess <= 0:
        return
    for last in sorted(minutes):
        if minutes[last] >= excess:
            break
        excess -= minutes[last]
    for span in _spans(database):
        rows = database.execute(
            f"SELECT id, name, epoch, spoke_at / {MINUTE} FROM rooms "
            "WHERE id > ? AND id <= ? AND spoke_at < ?",
            (*span, (last + 1) * MINUTE),
        ).fetchall()
        for *row, minute in rows:
            room = Room(*row)
            if (minute < last or excess > 0) and not is_open(room.name, room.epoch):
                excess -= minute == last
                yield from _drop_room(database, room, is_open)
        yield


def drop_oldest(
    database: sqlite3.Connection, limits: Limits, now: float, is_open: IsOpen, opened: int
) -> Iterator[None]:
    """Drops rooms that are not open, those with the oldest last event first, as long as it is continued.

    Rooms with events that are still to be kept stay. `opened` is the number of open rooms.
    """
    since, inbox_since = (
        kept.since(now) if kept.age else now for kept in map(limits.retention_of, ("", inbox_of(0)))
    )
    question = (
        "SELECT id, name, epoch FROM rooms WHERE closed OR spoke_at < "
        "CASE WHEN name >= ? AND name < ? THEN ? ELSE ? END ORDER BY closed DESC, spoke_at LIMIT ?"
    )
    about = INBOX, INBOX + "\x7f", inbox_since, since, opened + STEP
    dropped = True
    while dropped:
        dropped = False
        for row in database.execute(question, about).fetchall():
            room = Room(*row)
            if not is_open(room.name, room.epoch):
                dropped = True
                yield from _drop_room(database, room, is_open)
                yield


# -- one room ----------------------------------------------------------------------------------------


def _drop_room(database: sqlite3.Connection, room: Room, is_open: IsOpen) -> Iterator[None]:
    """Drops the rows of a room, its own row last. Stops if the room is opened meanwhile."""
    for table, row in (("events", "offset"), ("keys", "name")):
        some = f"SELECT {row} FROM {table} WHERE room = ? ORDER BY {row} LIMIT {STEP}"
        gone = STEP
        while gone == STEP:
            if is_open(room.name, room.epoch):
                return
            gone = database.execute(
                f"DELETE FROM {table} WHERE room = ? AND {row} IN ({some})", (room.id, room.id)
            ).rowcount
            yield
    if not is_open(room.name, room.epoch):
        database.execute("DELETE FROM rooms WHERE id = ?", (room.id,))


def _drop_events(database: sqlite3.Connection, room: int, oldest: float) -> Iterator[None]:
    """Drops events older than that time."""
    gone = STEP
    while gone == STEP:
        gone = database.execute(
            "DELETE FROM events WHERE room = ? AND time < ? AND offset IN "
            f"(SELECT offset FROM events WHERE room = ? ORDER BY offset LIMIT {STEP})",
            (room, oldest, room),
        ).rowcount
        yield
