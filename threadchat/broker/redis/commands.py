"""Commands of room.lua: the arguments that all of them have in common."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from threadchat.broker.redis.connection import ROOM
from threadchat.broker.redis.keys import RoomNames
from threadchat.broker.redis.topology.interface import Command
from threadchat.chat.log.events import Position

IN_USE: Final = 24 * 3600.0
"""Seconds for which Redis keeps a room in use without a sign from its nodes: longer than an outage."""


class Retention(NamedTuple):
    """What is kept: events, bytes of them, their age in seconds (0: any), and the life of an unused room."""

    events: int
    size: int
    age: float
    room_ttl: float


def inbox_retention(events: int, size: int, age: float) -> Retention:
    """What is kept of an inbox. The inbox lives as long as its events."""
    return Retention(events, size, age, age)


class Known(NamedTuple):
    """The newest event of a room's log that a node has received.

    The stamp is the second part of the event's id in Redis. If Redis loses events and assigns their offsets
    again, the new events have other stamps.
    """

    epoch: str
    offset: int
    stamp: str

    @property
    def position(self) -> Position:
        """The position of the event."""
        return Position(self.offset, self.epoch)


NOTHING: Final = Known("", 0, "0")
"""For a caller that has received no event of the room."""


def room_command(
    names: RoomNames,
    retention: Retention,
    known: Known,
    command: str,
    *arguments: Any,
    context: tuple[str, str],
    message_keys: Sequence[str] = (),
) -> Command:
    """A command of room.lua. If `known` shows that Redis lost events, the script starts a new epoch.

    `context` is the connection's `script_context`.
    """
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
        *context,
        *arguments,
    )
