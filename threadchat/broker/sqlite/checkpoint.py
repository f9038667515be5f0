"""Keeps the write-ahead log short and free of deleted text. SQLite restarts it only while nobody reads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from threadchat.broker.sqlite.schema import PATIENCE, transaction

WAL_BYTES: Final = 16 << 20
"""The size of the log file above which readers are paused. It is four times the size to which SQLite itself
lets the file grow if there are pauses between readers.
"""
WAIT: Final = 0.5
"""Seconds for which current readers may finish. A new reader waits at most this long, and for the checkpoint
itself.
"""
OTHERS: Final = 0.1
"""Seconds to wait for other programs that read, for example a backup."""
RETRY: Final = 5.0
"""Seconds until the next attempt, if somebody was still reading."""
PAUSE: Final = 1.0
"""Minimum seconds between two checkpoints that erase deleted text."""
ROOMS: Final = 4
"""The number of rooms whose deleted texts are erased at a time, so that a flood of deletions costs little."""
AROUND: Final = 128
"""The number of rows before and after a deleted text that are written again. When SQLite splits a page, the
unused part of the page keeps a copy of rows that moved to its neighbours. Writing the rows again frees these
pages, and what is freed is overwritten.
"""

Paused = Callable[[float], AbstractContextManager[bool]]
"""Pauses readers for the block.

Takes the seconds for which current readers may finish; gives whether all did.
"""


class Checkpoint:
    """Empties the write-ahead log once its file is large, or has deleted text in it.

    Until then the log has the pages as they were before a message was deleted. Runs on: the writer's thread.
    """

    def __init__(
        self,
        path: Path,
        paused: Paused,
        *,
        most: int = WAL_BYTES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._paused = paused
        self._most = most
        self._clock = clock
        self._not_before = clock()
        self._erasing = True  # a process that was killed may have left deleted text
        self._deleted: dict[int, tuple[int, int]] = {}  # the lowest and the highest offset in each room

    def erase(self, room: int, offset: int) -> None:
        """Notes that a text was deleted, which is still in the files."""
        low, high = self._deleted.get(room, (offset, offset))
        self._deleted[room] = min(low, offset), max(high, offset)
        self._erasing = True

    def __call__(self, database: sqlite3.Connection) -> float:
        """Checks the file. Returns the seconds after which it must be called again, even if nothing happens.

        Called outside a transaction. Raises sqlite3.Error.
        """
        wait = self._not_before - self._clock()
        if wait > 0 or not (self._erasing or self._size() > self._most):
            return wait if self._erasing else inf
        done = False
        try:
            self._write_again(database)
            with self._paused(WAIT) as alone:
                done = alone and _truncate(database)
        finally:
            self._erasing = self._erasing and not (done and not self._deleted)
            self._not_before = self._clock() + (PAUSE if done else RETRY)
        return self._not_before - self._clock() if self._erasing else inf

    def _write_again(self, database: sqlite3.Connection) -> None:
        """Writes the rows around deleted texts again."""
        where = "WHERE room = ? AND offset BETWEEN ? AND ?"
        for room, (low, high) in list(self._deleted.items())[:ROOMS]:
            rows = room, low - AROUND, high + AROUND
            with transaction(database):
                found = database.execute(f"SELECT * FROM events {where}", rows).fetchall()
                database.execute(f"DELETE FROM events {where}", rows)
                database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", found)
            del self._deleted[room]

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except OSError:
            return 0


def _truncate(database: sqlite3.Connection) -> bool:
    """Moves the whole log into the database. Returns whether the file is empty now."""
    database.execute(f"PRAGMA busy_timeout = {OTHERS * 1000:.0f}")
    try:
        return not database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        database.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
