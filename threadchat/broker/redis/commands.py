"""Commands of room.lua: what every one of them tells the script."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from threadchat.broker.redis.connection import ROOM, Command
from threadchat.broker.redis.keys import RoomNames
from threadchat.chat.log.events import Position


class Retention(NamedTuple):
    """What is kept: events, bytes of them, their age in seconds (0: any); and for how long an unused room."""

    events: int
    size: int
    age: float
    room_ttl: float


def inbox_retention(events: int, size: int, age: float) -> Retention:
    """What is kept of an inbox: it lasts as long as its events do."""
    return Retention(events, size, age, age)


class Known(NamedTuple):
    """The newest event that a node has had of a room's log.

    The stamp is the second part of the event's id in Redis. A log that gave the same offset again, because
    Redis lost events, has another stamp there.
    """

    epoch: str
    offset: int
    stamp: str

    @property
    def position(self) -> Position:
        """The event's place."""
        return Position(self.offset, self.epoch)


NOTHING: Final = Known("", 0, "0")
"""What somebody knows who has had no event of the room."""


def room_command(
    names: RoomNames,
    retention: Retention,
    known: Known,
    command: str,
    *arguments: Any,
    message_keys: Sequence[str] = (),
) -> Command:
    """A command of room.lua. It ends the epoch where `known` shows that Redis lost events."""
    return ROOM(
        (*names.keys, *message_keys),
        command,
        secrets.token_hex(8),
        names.channel,
        retention.events,
        retention.size,
        int(retention.age * 1000),
        int(retention.room_ttl * 1000),
        *known,
        *arguments,
    )
