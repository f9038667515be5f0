"""Reads one room's log in Redis."""

from __future__ import annotations

from threadchat.broker.redis import encoding
from threadchat.broker.redis.connection import Command, RedisConnection
from threadchat.broker.redis.keys import RoomNames
from threadchat.broker.redis.publish_pipeline import Retention, room_command
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page
from threadchat.errors import CommandError, ErrorCode

NEWEST = 0
"""Where to begin reading; no event has this offset."""
_NOWHERE = -1


class RoomLog:
    """To be used on any thread. All methods raise CommandError 100, temporary, where Redis is away."""

    def __init__(
        self, room: str, names: RoomNames, connection: RedisConnection, retention: Retention
    ) -> None:
        self.room = room
        self.names = names
        self._connection = connection
        self.retention = retention

    def command(self, name: str, *arguments: object) -> Command:
        """A command of room.lua for this room."""
        return room_command(self.names, self.retention, name, *arguments)

    def read(
        self, first: int, limit: int, size: int, *, backwards: bool, epoch: str = ""
    ) -> tuple[Position, int, list[Record]]:
        """Where the log ends, the offset before its oldest event, and up to `limit` events from `first` on.

        They have `size` bytes at most, but there is at least one. Where the room was closed, another
        log begins, unless the closed one is the one with the given epoch.
        """
        command = self.command("read", epoch, first, limit, size, int(backwards))
        now, head, floor, found = self._connection.execute(command)[0]
        return Position(head, now.decode()), floor, encoding.entries(found)

    def blank(self, epoch: str, offset: int) -> tuple[int, bytes]:
        """What takes the place of a message's body when it is deleted. Raises CommandError 112."""
        page = self.history(epoch, Position(offset - 1, epoch), 1, False)
        if not page.records:
            raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        return offset, encoding.body_without_text(page.records[0])

    def history(self, epoch: str, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel."""
        backwards = since is None or reverse
        first = NEWEST
        if since is not None:
            first = since.offset + (-1 if backwards else 1)
            first = first if first > 0 else _NOWHERE
        head, floor, records = self.read(first, limit, MAX_HISTORY_BYTES, backwards=backwards, epoch=epoch)
        if since is not None:
            beyond = since.offset > head.offset + backwards
            if since.epoch != head.epoch or beyond or (not backwards and since.offset < floor):
                raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        if since is None and not reverse:
            records.reverse()
        return Page(records, head)
