"""Reads one room's log in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from threadchat.broker.redis import encoding
from threadchat.broker.redis.commands import NOTHING, Known, Retention, room_command
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import RoomNames
from threadchat.broker.redis.topology.interface import Command
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page, check_target
from threadchat.errors import CommandError, ErrorCode

NEWEST = 0
"""Reads from the newest event. No event has this offset."""
_NOWHERE = -1


class Extract(NamedTuple):
    """Some events of a log.

    `head` is the log's newest event, and `floor` the offset before its oldest. `stamp` is that of the last
    event read, or of the head if none was read.
    """

    head: Known
    floor: int
    records: list[Record]
    stamp: str


class RoomLog:
    """Every method may be called from any thread. All raise CommandError 100, temporary, if Redis is away."""

    def __init__(
        self,
        room: str,
        names: RoomNames,
        connection: RedisConnection,
        retention: Retention,
        known: Callable[[], Known] = lambda: NOTHING,
    ) -> None:
        """`known` returns the newest event that this node has received. It is called on any thread."""
        self.room = room
        self.names = names
        self._connection = connection
        self.retention = retention
        self._known = known

    def command(self, name: str, *arguments: object) -> Command:
        """A command of room.lua for this room."""
        context = self._connection.script_context
        return room_command(self.names, self.retention, self._known(), name, *arguments, context=context)

    def read(self, first: int, limit: int, size: int, *, backwards: bool) -> Extract:
        """Reads up to `limit` events from `first` on, up to `size` bytes, but at least one event.

        If the room was closed, a new log begins, unless this node has the log that was closed.
        """
        command = self.command("read", first, limit, size, int(backwards))
        epoch, offset, stamp, floor, found = self._connection.execute(command)[0]
        head = Known(epoch.decode(), offset, stamp.decode())
        last = found[-1][0].partition(b"-")[2].decode() if found else head.stamp
        return Extract(head, floor, encoding.entries(found), last)

    def blank(self, target: Position, epoch: str) -> tuple[int, bytes]:
        """The offset of a message to delete in the log of `epoch`, and what replaces its body.

        Raises CommandError 112 if the log has no such message.
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
