"""Reads one room's log in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from threadchat.broker.redis import encoding
from threadchat.broker.redis.commands import NOTHING, Known, Retention, room_command
from threadchat.broker.redis.connection import Command, RedisConnection
from threadchat.broker.redis.keys import RoomNames
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page, check_target
from threadchat.errors import CommandError, ErrorCode

NEWEST = 0
"""Where to begin reading; no event has this offset."""
_NOWHERE = -1


class Extract(NamedTuple):
    """Some events of a log: where the log ends, the offset before its oldest event, and the stamp of the last
    event that was read (of the head where there is none)."""

    head: Known
    floor: int
    records: list[Record]
    stamp: str


class RoomLog:
    """To be used on any thread. All methods raise CommandError 100, temporary, where Redis is away."""

    def __init__(
        self,
        room: str,
        names: RoomNames,
        connection: RedisConnection,
        retention: Retention,
        known: Callable[[], Known] = lambda: NOTHING,
    ) -> None:
        """`known` tells the newest event that this node has had; called on any thread."""
        self.room = room
        self.names = names
        self._connection = connection
        self.retention = retention
        self._known = known

    def command(self, name: str, *arguments: object) -> Command:
        """A command of room.lua for this room."""
        return room_command(self.names, self.retention, self._known(), name, *arguments)

    def read(self, first: int, limit: int, size: int, *, backwards: bool) -> Extract:
        """Up to `limit` events from `first` on, with `size` bytes at most, but at least one.

        Where the room was closed, another log begins, unless this node has the one that was closed.
        """
        command = self.command("read", first, limit, size, int(backwards))
        epoch, offset, stamp, floor, found = self._connection.execute(command)[0]
        head = Known(epoch.decode(), offset, stamp.decode())
        last = found[-1][0].partition(b"-")[2].decode() if found else head.stamp
        return Extract(head, floor, encoding.entries(found), last)

    def blank(self, target: Position, epoch: str) -> tuple[int, bytes]:
        """What takes the place of a message's body when it is deleted, in the log of `epoch`.

        Raises CommandError 112 where the log has no such message.
        """
        check_target(target, epoch)
        offset = target.offset
        page = self.history(Position(offset - 1, epoch), 1, False)
        if not page.records:
            raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        return offset, encoding.body_without_text(page.records[0])

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel."""
        backwards = since is None or reverse
        first = NEWEST
        if since is not None:
            first = since.offset + (-1 if backwards else 1)
            first = first if first > 0 else _NOWHERE
        head, floor, records, _ = self.read(first, limit, MAX_HISTORY_BYTES, backwards=backwards)
        if since is not None:
            beyond = since.offset > head.offset + backwards
            if since.epoch != head.epoch or beyond or (not backwards and since.offset < floor):
                raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        if since is None and not reverse:
            records.reverse()
        return Page(records, head.position)
