"""Bans, mutes and revocations that outlive the process: tables in the database, copied to memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from threadchat.broker.sqlite.writer import Work, Writer
from threadchat.chat.access.revocations import Revocation
from threadchat.chat.access.sanctions import Sanction, Sanctions
from threadchat.errors import CommandError, ErrorCode, RoomClosed

RECORDS: Final[dict[str, type[Sanction]]] = {"sanctions": Sanction, "revocations": Revocation}
"""The type of the rows of each table. The columns are the type's fields, in the same order."""


class SqliteSanctions(Sanctions):
    """See Sanctions. When a change returns, it is on the disk. Every method may be called from any thread."""

    def __init__(
        self,
        database: sqlite3.Connection,
        writer: Writer,
        clock: Callable[[], float],
        table: str = "sanctions",
    ) -> None:
        """Reads the table from `database`, which it does not keep. Raises sqlite3.Error."""
        super().__init__(clock=clock)
        self._writer = writer
        self._table = table
        for row in database.execute(f"SELECT * FROM {table}"):
            with self._changing:
                self._put_locked(RECORDS[table](*row))

    def _keep_locked(self, sanction: Sanction) -> None:
        row = msgspec.structs.astuple(sanction)
        values = ", ".join("?" * len(row))
        self._do(Statement(f"INSERT OR REPLACE INTO {self._table} VALUES ({values})", row))

    def _erase_locked(self, sanction: Sanction) -> None:
        erase = f"DELETE FROM {self._table} WHERE kind = ? AND subject = ? AND room = ?"
        self._do(Statement(erase, sanction.key))

    def _do(self, work: Work) -> None:
        try:
            self._writer.do(work)
        except RoomClosed:
            raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


class Statement(Work):
    """One statement that changes a table."""

    def __init__(self, statement: str, values: Sequence[Any]) -> None:
        super().__init__()
        self._statement = statement
        self._values = values

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""
        database.execute(self._statement, self._values)


def sweep_sanctions(database: sqlite3.Connection, now: float) -> None:
    """Drops expired sanctions and revocations. Runs on: the writer's thread, in a transaction."""
    for table in RECORDS:
        database.execute(f"DELETE FROM {table} WHERE until <= ?", (now,))
