"""Reads one room's log in Redis, and finds out what an edit, a reaction or a deletion changes there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

from threadchat.broker.redis import encoding
from threadchat.broker.redis.commands import NOTHING, Known, Retention, room_command
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import RoomNames
from threadchat.broker.redis.topology.interface import Command
from threadchat.chat.log.alterations import altered, check, superseded_edit, without_text
from threadchat.chat.log.events import Draft, Position, Record, record
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

    def at(self, position: Position) -> Record | None:
        """The event at a position; None if it is no longer there."""
        if position.offset < 1:
            return None
        try:
            page = self.history(Position(position.offset - 1, position.epoch), 1, False)
        except CommandError as error:
            if error.code != ErrorCode.UNRECOVERABLE_POSITION:
                raise
            return None
        return page.records[0] if page.records else None

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


_ITS_ID: Final = 1 << 60
"""Stands for the id of an event that has none yet. room.lua puts the right one in."""


class Change(NamedTuple):
    """Replaces the body of the event `offset`, if it is still the one with this digest (empty: any).

    Without a body, it only says that a draft refers to that event, so that it belongs in the same log.
    """

    offset: int
    body: bytes = b""
    digest: str = ""

    @property
    def argument(self) -> bytes:
        """As `publish` of room.lua takes it."""
        return b"%b %b" % (self.digest.encode() or b"-", self.body) if self.body else b""


def changes_of(log: RoomLog, draft: Draft, epoch: str) -> list[Change] | None:
    """What a draft changes in the log of `epoch` as it is now; None if the draft has no effect.

    Raises CommandError 112 if it refers to another log, and what `alterations.check` raises.
    """
    if draft.refers is None:
        return []
    check_target(draft.refers, epoch)
    if draft.target is None:
        return [Change(draft.refers.offset)]
    message = log.at(draft.target)
    if not check(message, draft, log.room):
        return None
    assert message is not None, "it was checked"
    by = record(draft, _ITS_ID, log.room, 0).event
    digest = hashlib.sha1(encoding.body_in(message), usedforsecurity=False).hexdigest()
    changes = [Change(draft.target.offset, encoding.body_in(altered(message, by)), digest)]
    edit = superseded_edit(message.event, by)
    if edit and (last_edit := log.at(Position(edit, epoch))) is not None:
        changes.append(Change(edit, encoding.body_in(without_text(last_edit))))
    return changes
