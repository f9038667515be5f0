"""Bans and mutes that outlive the process: a table in the database, and a copy of it in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from threadchat.broker.sqlite.writer import Work, Writer
from threadchat.chat.sanctions import Sanction, Sanctions
from threadchat.errors import CommandError, ErrorCode, RoomClosed

_KEEP: Final = "INSERT OR REPLACE INTO sanctions VALUES (?, ?, ?, ?, ?, ?)"
_ERASE: Final = "DELETE FROM sanctions WHERE kind = ? AND subject = ? AND room = ?"
_COLUMNS: Final = "kind, subject, room, until, reason, imposer"


class SqliteSanctions(Sanctions):
    """See Sanctions. When a change returns, it is on the disk. Every method may be called from any thread."""

    def __init__(self, database: sqlite3.Connection, writer: Writer, clock: Callable[[], float]) -> None:
        """Reads the table from `database`, which it does not keep. Raises sqlite3.Error."""
        super().__init__(clock=clock)
        self._writer = writer
        for row in database.execute(f"SELECT {_COLUMNS} FROM sanctions"):
            with self._changing:
                self._put_locked(Sanction(*row))

    def _keep_locked(self, sanction: Sanction) -> None:
        row = sanction.kind, sanction.subject, sanction.room, sanction.until, sanction.reason, sanction.by
        self._do(_Statement(_KEEP, row))

    def _erase_locked(self, sanction: Sanction) -> None:
        self._do(_Statement(_ERASE, sanction.key))

    def _do(self, work: Work) -> None:
        try:
            self._writer.do(work)
        except RoomClosed:
            raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


class _Statement(Work):
    """One change to the table."""

    def __init__(self, statement: str, values: Sequence[Any]) -> None:
        super().__init__()
        self._statement = statement
        self._values = values

    def apply(self, database: sqlite3.Connection) -> None:
        """See Work."""
        database.execute(self._statement, self._values)


def sweep_sanctions(database: sqlite3.Connection, now: float) -> None:
    """Drops expired sanctions. Runs on: the writer's thread, in a transaction."""
    database.execute("DELETE FROM sanctions WHERE until <= ?", (now,))
