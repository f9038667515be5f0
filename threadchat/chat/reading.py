"""Notes up to where known people have read rooms, and counts what they have not read."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Final, NamedTuple

from threadchat.chat.broker_interface import Broker, Cluster
from threadchat.chat.log.events import MESSAGE, READ, Event, Position, UserId, encoded
from threadchat.chat.log.sequencer import Page, check_target
from threadchat.chat.room import Room
from threadchat.chat.room_registry import RoomRegistry
from threadchat.chat.user_directory import UserDirectory
from threadchat.errors import CommandError, ErrorCode

MOST_COUNTED: Final = 200
"""The number of events after a read position among which unread messages are counted."""
MOST_LISTED: Final = 100
"""The number of rooms whose unread messages are counted for one person: those read last."""


class Unread(NamedTuple):
    """What a person has not read of a room: how many messages of others, and how many that mention them.

    With `more` there may be others, which were not counted.
    """

    read: Position
    messages: int
    mentions: int
    more: bool


class Reading:
    """The part of a hub that knows what people have read. Every method may be called from any thread."""

    broker: Broker
    _sessions: UserDirectory
    _cluster: Cluster
    _rooms: RoomRegistry

    def find(self, name: str) -> Room:
        """Returns the room of that name. Raises CommandError 102 if it does not exist."""
        raise NotImplementedError("Hub implements this")

    def note_read(self, user: UserId, name: str, read: Position, *, session: str = "") -> bool:
        """Notes up to where a person has read a room, and tells their sessions, except that one.

        A position before the known one changes nothing; returns whether this one did. Raises CommandError:
        102 for an unknown room, 112 if its log has another epoch, 100 if the broker is away.
        """
        head = self.find(name).fanout.head
        check_target(read, head.epoch)
        read = Position(min(read.offset, head.offset), read.epoch)
        if not self.broker.reads.advance(user, name, read):
            return False
        told = encoded(
            Event(type=READ, room=name, target=read.offset, epoch=read.epoch, skip=session, time=int(time()))
        )
        self._sessions.notify(user, told)
        self._cluster.notify(user, told.json, kept=False)
        return True

    def unread(self, user: UserId, wanted: Callable[[str], bool]) -> dict[str, Unread]:
        """What a person has not read, by room, for the rooms of which a position is known.

        Raises CommandError 100 if the broker is away.
        """
        rooms = [room for room in reversed(self.broker.reads.of(user).items()) if wanted(room[0])]
        found = {name: self._unread_in(name, read, user) for name, read in rooms[:MOST_LISTED]}
        return {name: unread for name, unread in found.items() if unread is not None}

    def _unread_in(self, name: str, read: Position, user: UserId) -> Unread | None:
        room = self._rooms.get(name)
        if room is not None and room.fanout.head == read:
            return Unread(read, 0, 0, more=False)

        def page(since: Position | None) -> Page | None:
            if room is None:
                return self._cluster.read_log(name, since, MOST_COUNTED)
            return room.fanout.history(since, MOST_COUNTED, reverse=False)

        reached = True
        try:
            found = page(read)
        except CommandError as error:
            if error.code != ErrorCode.UNRECOVERABLE_POSITION:
                raise
            found, reached = page(None), False
        if found is None:
            return None
        others = [event for event in found if event.type == MESSAGE and event.user != user]
        unread = [event for event in others if not event.deleted]
        mentions = [event for event in unread if event.everybody or user in event.mentions]
        first, last = (found[0].id, found[-1].id) if found else (1, found.head.offset)
        more = last < found.head.offset or (not reached and first > 1)
        return Unread(read, len(unread), len(mentions), more)
