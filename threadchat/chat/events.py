"""What an event is, on its way in (a draft) and with its place in a room's log (a record)."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

UserId = int | str
"""The server numbers its users; a program that uses rooms as a library may name them as it likes."""

MESSAGE: Final = "message"
JOIN: Final = "join"  # a person's first session in the room
ADD: Final = "add"  # a further one
REMOVE: Final = "remove"  # one of several ended
LEAVE: Final = "leave"  # the last one ended
CLOSE: Final = "close"  # the room was closed: the last event of every stream
EVENT_TYPES: Final = frozenset({MESSAGE, JOIN, ADD, REMOVE, LEAVE, CLOSE})


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Something that happened in a room. `id` counts from 1 in each room, without holes."""

    id: int
    room: str = msgspec.field(name="chatroomId")
    type: str
    user: UserId | None = msgspec.field(name="userId", default=None)
    nickname: str = msgspec.field(name="from", default="")
    message: str = ""
    session: str = msgspec.field(name="sessionId", default="")
    time: int = msgspec.field(name="unixTime")


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that has no place yet. The same `key` of the same user is published once."""

    type: str
    user: UserId | None = None
    nickname: str = ""
    message: str = ""
    session: str = ""
    key: str = ""


class Direct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, tag="direct"):
    """A message from one person to another; in no log."""

    sender: UserId | None = msgspec.field(name="from", default=None)
    to: UserId
    nickname: str = ""
    message: str
    time: int = msgspec.field(name="unixTime")


class Position(NamedTuple):
    """A place in a room's log. Offsets of different epochs have nothing to do with each other."""

    offset: int
    epoch: str


class Record(NamedTuple):
    """An event together with its JSON, which is encoded once for everybody who ever gets it."""

    event: Event
    json: bytes


_encode = msgspec.json.Encoder().encode


def record(draft: Draft, offset: int, room: str, time: int) -> Record:
    """Gives a draft its place."""
    event = Event(
        id=offset,
        room=room,
        type=draft.type,
        user=draft.user,
        nickname=draft.nickname,
        message=draft.message,
        session=draft.session,
        time=time,
    )
    return Record(event, _encode(event))
