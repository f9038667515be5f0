"""Block lists in the SQLite file."""

from __future__ import annotations

from threadchat.broker.sqlite.reader import Reader
from threadchat.broker.sqlite.sanctions import Statement
from threadchat.broker.sqlite.writer import Writer
from threadchat.chat.access.blocks import check_space
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode, RoomClosed


class SqliteBlocks:
    """See Blocks. Every method may be called from any thread."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    def block(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        check_space(len(set(self.of(owner)) - {sender}))
        self._do("INSERT OR IGNORE INTO blocks VALUES (?, ?)", owner, sender)

    def unblock(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        self._do("DELETE FROM blocks WHERE owner = ? AND sender = ?", owner, sender)

    def of(self, owner: UserId) -> list[UserId]:
        """See Blocks."""
        return [sender for (sender,) in self._reader.rows("SELECT sender FROM blocks WHERE owner = ?", owner)]

    def holds(self, owner: UserId, sender: UserId) -> bool:
        """See Blocks."""
        return bool(self._reader.rows("SELECT 1 FROM blocks WHERE owner = ? AND sender = ?", owner, sender))

    def _do(self, statement: str, *values: UserId) -> None:
        try:
            self._writer.do(Statement(statement, values))
        except RoomClosed:
            raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None
