"""Keeps the write-ahead log short. SQLite can restart it only at a moment when nobody reads."""

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

Paused = Callable[[float], AbstractContextManager[bool]]
"""Pauses readers for the block.

Takes the seconds for which current readers may finish; gives whether all did.
"""


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
        """Checks the file. Called outside a transaction. Raises sqlite3.Error."""
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
    """Moves the whole log into the database. Returns whether the file is empty now."""
    database.execute(f"PRAGMA busy_timeout = {OTHERS * 1000:.0f}")
    try:
        return not database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        database.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
