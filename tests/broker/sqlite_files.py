"""What the tests of `broker/sqlite/` share: files that are opened again and again, seen from outside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from threadchat.broker.sqlite import SqliteBroker
from threadchat.broker.sqlite.writer import Work

Make = Callable[..., SqliteBroker]


def rows(broker: SqliteBroker, question: str) -> list[Any]:
    """What the file says, seen from outside."""
    with contextlib.closing(sqlite3.connect(broker.path)) as database:
        return database.execute(question).fetchall()


class Sweep(Work):
    """One look at everything, at once."""

    def __init__(self, broker: SqliteBroker) -> None:
        super().__init__()
        self._broker = broker

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""
        for _ in self._broker._sweep(database):
            pass


def sweep(broker: SqliteBroker) -> None:
    """Has the writer look at everything at once."""
    broker.writer.do(Sweep(broker))


@contextlib.contextmanager
def refusing(broker: SqliteBroker) -> Iterator[None]:
    """Makes every commit fail."""
    broker.writer.database.execute("PRAGMA query_only = 1")
    yield
    broker.writer.database.execute("PRAGMA query_only = 0")


class Nothing(Work):
    """Writes nothing."""

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""


@contextlib.contextmanager
def one_file(path: Path) -> Iterator[Make]:
    """Opens a file; a broker that is still open is closed before, as a restart would."""
    made: list[SqliteBroker] = []

    def open_one(**options: Any) -> SqliteBroker:
        for broker in made:
            broker.close()
        made.append(SqliteBroker(path, **options))
        return made[-1]

    yield open_one
    for broker in made:
        broker.close()
