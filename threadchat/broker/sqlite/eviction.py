"""Keeps the database within its limit of bytes: drops rooms that nobody is in, then shortens the rest."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Final, Protocol

from threadchat.broker.sqlite.retention import Limits, drop_oldest
from threadchat.broker.sqlite.room_store import Retention
from threadchat.broker.sqlite.schema import transaction
from threadchat.chat.log.storage import StorageBudget

log = logging.getLogger(__name__)

SLICE: Final = 0.05
"""Seconds after which dropping gives way to waiting works."""
RETRY: Final = 1.0
"""Seconds until the next attempt, if too little could be dropped."""
TELLING: Final = 60.0
"""Minimum seconds between two warnings."""
SPARED: Final = 1024
"""Bytes that the log of an open room always keeps."""


class OpenLog(Protocol):
    """The log of a room that is open."""

    room: str

    def stored(self, database: sqlite3.Connection) -> int:
        """The bytes of its events in the database."""

    def shorten(self, database: sqlite3.Connection, most: int) -> None:
        """Deletes its oldest events from the database until they take `most` bytes."""


class Open(Protocol):
    """What the broker knows of the rooms that are open. Every method may be called from any thread."""

    def is_open(self, room: str, epoch: str) -> bool:
        """Whether the room of that name and epoch is open."""

    def open_logs(self) -> Sequence[OpenLog]:
        """The logs of the open rooms."""

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept."""


class Eviction:
    """Drops old data after a transaction, if the database has become too large. Runs on: the writer's thread.

    Whole rooms go first: those that are not open, the one with the oldest last event before the others. If
    that is not enough, the largest logs of open rooms lose their oldest events. Events that are younger than
    `history_age`, or `inbox_age` in an inbox, are never dropped for this: then publishing is refused until
    they are old enough.
    """

    def __init__(
        self,
        budget: StorageBudget,
        limits: Limits,
        rooms: Open,
        now: Callable[[], float],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`now` returns Unix time, and `clock` monotonic seconds."""
        self._budget = budget
        self._limits = limits
        self._rooms = rooms
        self._now = now
        self._clock = clock
        self._steps: Iterator[None] | None = None
        self._not_before = -inf
        self._told_at = -inf

    def __call__(self, database: sqlite3.Connection) -> float:
        """Measures the database and drops what it must, for `SLICE` seconds.

        Returns 0 if there is more to drop, otherwise infinity. Called outside a transaction. Raises
        sqlite3.Error.
        """
        budget = self._budget
        if not (budget.due or self._steps):
            return inf
        refused = budget.refused
        budget.measured(stored_bytes(database))
        if not (self._steps or refused or budget.pressed) or self._clock() < self._not_before:
            return inf
        try:
            with transaction(database):
                done = self._drop(database)
        except BaseException:
            self._steps = None
            self._not_before = self._clock() + RETRY
            raise
        return inf if done else 0.0

    def _drop(self, database: sqlite3.Connection) -> bool:
        """Returns whether that is all for now."""
        budget = self._budget
        if self._steps is None:
            self._steps = self._all_steps(database)
            self._tell()
        until = self._clock() + SLICE
        for _ in self._steps:
            budget.measured(stored_bytes(database))
            if budget.used <= budget.aim:
                break
            if self._clock() >= until:
                return False
        else:
            self._not_before = self._clock() + RETRY
        self._steps = None
        return True

    def _all_steps(self, database: sqlite3.Connection) -> Iterator[None]:
        logs = self._rooms.open_logs()
        yield from drop_oldest(database, self._limits, self._now(), self._rooms.is_open, len(logs))
        yield from self._shorten(database, logs)

    def _shorten(self, database: sqlite3.Connection, logs: Sequence[OpenLog]) -> Iterator[None]:
        """Shortens the largest logs first: to half of the largest, again and again."""
        weighed = []
        for each in logs:
            if not self._rooms.retention_of(each.room).age:
                weighed.append((each.stored(database), each))
                yield
        while weighed:
            weighed.sort(key=lambda pair: pair[0])
            level = weighed[-1][0] // 2
            if level < SPARED:
                return
            while weighed and weighed[-1][0] > level:
                _, each = weighed.pop()
                each.shorten(database, level)
                weighed.insert(0, (level, each))
                yield

    def _tell(self) -> None:
        if self._clock() > self._told_at + TELLING:
            self._told_at = self._clock()
            what = "the database takes %d bytes of the %d that storage_bytes allows; the oldest events go"
            log.warning(what, self._budget.used, self._budget.most)


def stored_bytes(database: sqlite3.Connection) -> int:
    """The bytes of the pages that hold something. The file also has empty pages, which are used again."""
    pages, empty, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (int(pages) - int(empty)) * int(size)
