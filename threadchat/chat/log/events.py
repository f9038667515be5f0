"""What an event is, on its way in (a draft) and with its place in a room's log (a record)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

UserId = int | str
"""The application's, or the server's own; a program that uses rooms as a library names them as it likes."""

MESSAGE: Final = "message"
EVENT: Final = "event"  # the application's own, with a name and data
JOIN: Final = "join"  # a person's first session in the room
ADD: Final = "add"  # a further one
REMOVE: Final = "remove"  # one of several ended
LEAVE: Final = "leave"  # the last one ended
DELETE: Final = "delete"  # a message was deleted: its text is gone from the log
CLOSE: Final = "close"  # the room was closed: the last event of every stream
DIRECT: Final = "direct"  # a message from one person to another, in an inbox
EVENT_TYPES: Final = frozenset({MESSAGE, EVENT, JOIN, ADD, REMOVE, LEAVE, DELETE, CLOSE})

INBOX: Final = "\0inbox:"
"""Begins the name of a person's inbox; no room that a client names has such a character."""
_NOTHING: Final = msgspec.Raw()


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Something that happened in a room; immutable, so any thread may have it.

    `id` counts from 1 in each room, without holes; 0 for one that is in no log. `room` is its name, `type`
    one of `message`, `event` (the application's own), `join` (a person's first session), `add` (a further
    one), `remove` (one of several ended), `leave` (the last one did), `delete` (the message with the id
    `target` was deleted) and `close` (the room was closed; nothing follows). `user` and `nickname` say whose
    it was, None and empty for `close`; `message` what was said, `session` which session came or went. A
    message that was `deleted` keeps its place, without its text. An `event` has a `name` and `data`; `skip`
    is a session that does not get it. What is in a person's `inbox` has no room; there, `direct` is a message
    to the user `to`. `time` is Unix time, in whole seconds. Its JSON has the names `chatroomId`, `userId`,
    `from`, `sessionId` and `unixTime`, and no empty fields.
    """

    id: int = 0
    room: str = msgspec.field(name="chatroomId", default="")
    inbox: bool = False
    type: str
    name: str = ""
    user: UserId | None = msgspec.field(name="userId", default=None)
    nickname: str = msgspec.field(name="from", default="")
    to: UserId | None = None
    message: str = ""
    raw: msgspec.Raw = msgspec.field(name="data", default=_NOTHING)
    """The `data` of an event, in JSON."""
    session: str = msgspec.field(name="sessionId", default="")
    target: int = 0
    deleted: bool = False
    skip: str = ""
    time: int = msgspec.field(name="unixTime")

    @property
    def data(self) -> Any:
        """The data of an event, decoded anew each time that it is asked for; None where there is none."""
        return msgspec.json.decode(self.raw) if self.raw else None


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that has no place yet: what `Room.publish` takes; the fields are those of `Event`.

    The same `key` of the same user is published once within five minutes; an empty one is none. A `target` is
    in the log that it names: a channel whose log is another one refuses it.
    """

    type: str
    user: UserId | None = None
    nickname: str = ""
    message: str = ""
    session: str = ""
    key: str = ""
    target: Position | None = None
    name: str = ""
    data: bytes = b""
    to: UserId | None = None
    skip: str = ""


class Direct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, tag="direct"):
    """A message from one person to another; in no log."""

    sender: UserId | None = msgspec.field(name="from", default=None)
    to: UserId
    nickname: str = ""
    message: str
    time: int = msgspec.field(name="unixTime")


class KeptDirect(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A Direct in an inbox: its names in JSON are those of a Direct, not those of an Event."""

    id: int
    inbox: bool
    type: str
    sender: UserId | None = msgspec.field(name="from", default=None)
    to: UserId
    nickname: str = ""
    message: str
    skip: str = ""
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


def plain(value: object) -> str | int:
    """A template engine's marked text, an enum: the text or number that such a kind of str or int holds."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"an event holds text and numbers, not {value!r:.80}")


_encode = msgspec.json.Encoder(enc_hook=plain).encode


_decode = msgspec.json.Decoder(Event).decode
_decode_direct = msgspec.json.Decoder(KeptDirect).decode


def inbox_of(user: UserId) -> str:
    """The name of the room that is a user's inbox; 7 and "7" have two."""
    return INBOX + _encode(user).decode()


def is_inbox(room: str) -> bool:
    """Whether that is the name of somebody's inbox."""
    return room.startswith(INBOX)


def record(draft: Draft, offset: int, room: str, time: int) -> Record:
    """Gives a draft its place; offset 0 is none."""
    inbox = room.startswith(INBOX)
    event = Event(
        id=offset,
        room="" if inbox else room,
        inbox=inbox,
        type=draft.type,
        name=draft.name,
        user=draft.user,
        nickname=draft.nickname,
        to=draft.to,
        message=draft.message,
        raw=msgspec.Raw(draft.data) if draft.data else _NOTHING,
        session=draft.session,
        target=draft.target.offset if draft.target else 0,
        skip=draft.skip,
        time=time,
    )
    return Record(event, _encode(event if draft.type != DIRECT else _as_direct(event)))


def record_of(json: bytes) -> Record:
    """An event that was encoded before. Raises msgspec.DecodeError."""
    try:
        event = _decode(json)
    except msgspec.ValidationError:  # a direct message from a user whose id is an integer
        event = None
    if event is None or event.type == DIRECT:
        kept = _decode_direct(json)
        event = Event(
            id=kept.id,
            inbox=True,
            type=DIRECT,
            user=kept.sender,
            nickname=kept.nickname,
            to=kept.to,
            message=kept.message,
            skip=kept.skip,
            time=kept.time,
        )
    return Record(event, json)


def _as_direct(event: Event) -> KeptDirect:
    assert event.to is not None
    return KeptDirect(
        id=event.id,
        inbox=True,
        type=DIRECT,
        sender=event.user,
        to=event.to,
        nickname=event.nickname,
        message=event.message,
        skip=event.skip,
        time=event.time,
    )


def without_text(deleted: Record) -> Record:
    """What stays of a message that was deleted: its place, its time, and whose it was."""
    event = msgspec.structs.replace(deleted.event, message="", deleted=True)
    return Record(event, _encode(event))
