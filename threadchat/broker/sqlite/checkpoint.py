"""Keeps the write-ahead log short: SQLite starts it over only at a moment when nobody reads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import Final

from threadchat.broker.sqlite.schema import PATIENCE

WAL_BYTES: Final = 16 << 20
"""Size of the log's file above which readers are held back: four times what SQLite lets it grow to by itself
where nobody reads all the time."""
WAIT: Final = 0.5
"""Seconds for which readers may finish. Whoever wants to begin waits so long at most, and for the checkpoint
itself."""
OTHERS: Final = 0.1
"""Seconds to wait for other programs that read, such as one that makes a backup."""
RETRY: Final = 5.0
"""Seconds until the next attempt, after one that somebody was in the way of."""

Paused = Callable[[float], AbstractContextManager[bool]]
"""Holds readers back for the block; takes the seconds for which those who read may finish, gives whether all
did."""


class Checkpoint:
    """Empties the write-ahead log once its file is large. Runs on: the writer's thread."""

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

    def __call__(self, database: sqlite3.Connection) -> None:
        """Looks at the file, outside of a transaction. Raises sqlite3.Error."""
        if self._size() <= self._most or self._clock() < self._not_before:
            return
        done = False
        try:
            with self._paused(WAIT) as alone:
                done = alone and _truncate(database)
        finally:
            if not done:
                self._not_before = self._clock() + RETRY

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except OSError:
            return 0


def _truncate(database: sqlite3.Connection) -> bool:
    """Whether all of it is in the database now, and the file empty."""
    database.execute(f"PRAGMA busy_timeout = {OTHERS * 1000:.0f}")
    try:
        return not database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        database.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
