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
DELETE: Final = "delete"  # a message was deleted: its text is gone from the log
CLOSE: Final = "close"  # the room was closed: the last event of every stream
EVENT_TYPES: Final = frozenset({MESSAGE, JOIN, ADD, REMOVE, LEAVE, DELETE, CLOSE})


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Something that happened in a room; immutable, so any thread may have it.

    `id` counts from 1 in each room, without holes. `room` is its name, `type` one of `message`, `join` (a
    person's first session), `add` (a further one), `remove` (one of several ended), `leave` (the last one
    did), `delete` (the message with the id `target` was deleted) and `close` (the room was closed; nothing
    follows). `user` and `nickname` say whose it was, None and empty for `close`; `message` what was said,
    `session` which session came or went. A message that was `deleted` keeps its place, without its text.
    `time` is Unix time, in whole seconds. Its JSON has the names `chatroomId`, `userId`, `from`, `sessionId`
    and `unixTime`, and no empty fields.
    """

    id: int
    room: str = msgspec.field(name="chatroomId")
    type: str
    user: UserId | None = msgspec.field(name="userId", default=None)
    nickname: str = msgspec.field(name="from", default="")
    message: str = ""
    session: str = msgspec.field(name="sessionId", default="")
    target: int = 0
    deleted: bool = False
    time: int = msgspec.field(name="unixTime")


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that has no place yet: what `Room.publish` takes; the fields are those of `Event`.

    The same `key` of the same user is published once within five minutes; an empty one is none.
    """

    type: str
    user: UserId | None = None
    nickname: str = ""
    message: str = ""
    session: str = ""
    key: str = ""
    target: int = 0


class Direct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, tag="direct"):
    """A message from one person to another; in no log."""

    sender: UserId | None = msgspec.field(name="from", default=None)
    to: UserId
    nickname: str = ""
    message: str
    time: int = msgspec.field(name="unixTime")


class Position(NamedTuple):
    """A place in a room's log: `offset` is an event's id, or 0 before the first; `epoch` names the log.

    Offsets of different epochs have nothing to do with each other: a room that was made anew, under the same
    name, counts from 1 again.
    """

    offset: int
    epoch: str


class Record(NamedTuple):
    """An event together with its JSON, which is encoded once for everybody who ever gets it."""

    event: Event
    json: bytes


def _plain(value: object) -> str | int:
    """A template engine's marked text, an enum: the text or number that such a kind of str or int holds."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"an event holds text and numbers, not {value!r:.80}")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


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
        target=draft.target,
        time=time,
    )
    return Record(event, _encode(event))


def without_text(deleted: Record) -> Record:
    """What stays of a message that was deleted: its place, its time, and whose it was."""
    event = msgspec.structs.replace(deleted.event, message="", deleted=True)
    return Record(event, _encode(event))
