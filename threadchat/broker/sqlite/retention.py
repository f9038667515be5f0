"""Drops from the database what nobody writes to any more: old events, spent keys, rooms that are over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container

from threadchat.broker.sqlite.room_store import Retention
from threadchat.chat.log.sequencer import MAX_KEYS


def sweep(
    database: sqlite3.Connection,
    retention_of: Callable[[str], Retention],
    now: float,
    in_use: Container[tuple[str, str]],
) -> None:
    """One look at everything. `in_use` are the rooms, by name and epoch, that somebody has open."""
    database.execute("DELETE FROM keys WHERE expires <= ?", (now,))
    # A flood of keys has a bound, as in memory: so many events later the first are forgotten.
    database.execute(
        "DELETE FROM keys WHERE offset <= (SELECT head FROM rooms WHERE id = keys.room) - ?", (MAX_KEYS,)
    )
    newest = {row for (row,) in database.execute("SELECT max(id) FROM rooms GROUP BY name")}
    for row, name, epoch, spoke_at, closed in database.execute(
        "SELECT id, name, epoch, spoke_at, closed FROM rooms"
    ).fetchall():
        oldest = retention_of(name).since(now)
        if (name, epoch) in in_use:
            _drop_events(database, row, oldest)
        elif closed or row not in newest or spoke_at < oldest:
            for table, column in (("rooms", "id"), ("events", "room"), ("keys", "room")):
                database.execute(f"DELETE FROM {table} WHERE {column} = ?", (row,))
        else:
            _drop_events(database, row, oldest)


def _drop_events(database: sqlite3.Connection, room: int, oldest: float) -> None:
    if not oldest:
        return
    last = 0
    for offset, time in database.execute(
        "SELECT offset, time FROM events WHERE room = ? ORDER BY offset", (room,)
    ):
        if time >= oldest:
            break
        last = offset
    if last:
        database.execute("DELETE FROM events WHERE room = ? AND offset <= ?", (room, last))
