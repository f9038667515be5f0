"""Events: first as a draft, then as a record with a position in a room's log."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

UserId = int | str
"""The application's id of a user, or one that the server assigned.

A program that uses rooms as a library is free to choose.
"""

MESSAGE: Final = "message"
EVENT: Final = "event"  # an event of the application's own, with a name and data
JOIN: Final = "join"  # a person's first session in the room
ADD: Final = "add"  # a further session of that person
REMOVE: Final = "remove"  # one of several sessions ended
LEAVE: Final = "leave"  # the last session ended
RENAME: Final = "rename"  # a member has a new nickname
EDIT: Final = "edit"  # a message has a new text
REACT: Final = "react"  # somebody put an emoji to a message
UNREACT: Final = "unreact"  # somebody took an emoji back
DELETE: Final = "delete"  # a message was deleted: its text is gone from the log
CLOSE: Final = "close"  # the room was closed: the last event of every stream
TYPING: Final = "typing"  # somebody is typing to a person; told to their sessions, and in no log
READ: Final = "read"  # somebody has read a room up to `target`; told to their own sessions, and in no log
DIRECT: Final = "direct"  # a message from one person to another, in an inbox
EVENT_TYPES: Final = frozenset(
    {MESSAGE, EVENT, JOIN, ADD, REMOVE, LEAVE, RENAME, EDIT, REACT, UNREACT, DELETE, CLOSE}
)

INBOX: Final = "\0inbox:"
"""Begins the name of a person's inbox. Clients cannot name such a room, because NUL is forbidden in names."""
_NOTHING: Final = msgspec.Raw()


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Something that happened in a room. Immutable, so threads may share it.

    `id` counts from 1 in each room, without holes; 0 means that the event is in no log. `room` is the room's
    name. `type` is `message`, `event` (the application's own), `join` (a person's first session), `add` (a
    further session), `remove` (one of several sessions ended), `leave` (the last session ended), `rename` (a
    member who `was` called otherwise has a new nickname), `edit` (the message with the id `target` has the
    text `message` now), `react` and `unreact` (somebody put the `emoji` to the message `target`, or took it
    back), `delete` (the message `target` was deleted) or `close` (the room was closed; nothing follows).
    `user` and `nickname` say who caused the event; they are None and empty for `close`. `message` is the
    text, and `session` the session that came or went. An `event` has a `name` and `data`. `skip` is the id of
    a session that does not get the event. Events in an `inbox` have no room; there, `direct` is a message to
    the user `to`. A `read`, which is in no log, tells somebody's other sessions up to which event (`target`,
    in the log of `epoch`) they have read a room. `time` is Unix time in whole seconds.

    A message may answer another one, whose id is `reply_to`. It `mentions` users, and with `everybody` all
    who read the room. In the log, a message shows what became of it: `edited` is the id of its last edit, and
    `reactions` are the users of each emoji. A `deleted` message keeps its place but not its text; so does an
    `edit` that was followed by another one.

    In JSON the fields are called `chatroomId`, `userId`, `from`, `sessionId` and `unixTime`, and empty fields
    are left out.
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
    """The `data` of an event, as JSON."""
    session: str = msgspec.field(name="sessionId", default="")
    was: str = ""
    target: int = 0
    epoch: str = ""
    emoji: str = ""
    reply_to: int = 0
    mentions: tuple[UserId, ...] = ()
    everybody: bool = False
    edited: int = 0
    reactions: dict[str, tuple[UserId, ...]] | None = None
    deleted: bool = False
    skip: str = ""
    time: int = msgspec.field(name="unixTime")

    @property
    def data(self) -> Any:
        """The data of an event, or None. It is decoded on each access."""
        return msgspec.json.decode(self.raw) if self.raw else None


class Details(NamedTuple):
    """What few drafts have. The fields are those of `Event`, but `reply_to` also names the log."""

    reply_to: Position | None = None
    mentions: tuple[UserId, ...] = ()
    everybody: bool = False
    emoji: str = ""
    was: str = ""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event without a position: what `Room.publish` takes. The fields are those of `Event`.

    Drafts with the same `key` of the same user are published once within five minutes; an empty key means
    none. `target` names the log in which it is a position. A channel whose log has another epoch refuses the
    draft. `source` stands for whoever sends it under many user ids: an anonymous person's address.
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
    source: str = ""
    details: Details | None = None

    @property
    def refers(self) -> Position | None:
        """The event that this one changes or answers."""
        return self.target or (self.details.reply_to if self.details else None)


class Direct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, tag="direct"):
    """A message from one person to another, which is in no log."""

    sender: UserId | None = msgspec.field(name="from", default=None)
    to: UserId
    nickname: str = ""
    message: str
    time: int = msgspec.field(name="unixTime")


class KeptDirect(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A direct message in an inbox. In JSON its fields are called as in Direct, not as in Event."""

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
    """A place in a room's log. `offset` is the id of an event, or 0 before the first.

    `epoch` identifies the log. Offsets of different epochs cannot be compared: a new room of the same name
    counts from 1 again.
    """

    offset: int
    epoch: str


class Record(NamedTuple):
    """An event and its JSON, which is encoded once for all subscribers."""

    event: Event
    json: bytes


def plain(value: object) -> str | int:
    """The plain text or number in a subclass of str or int: a template engine's marked text, an enum."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"an event holds text and numbers, not {value!r:.80}")


_encode = msgspec.json.Encoder(enc_hook=plain).encode


_decode = msgspec.json.Decoder(Event).decode
_decode_direct = msgspec.json.Decoder(KeptDirect).decode


def inbox_of(user: UserId) -> str:
    """The name of the room that is a user's inbox. The ids 7 and "7" have different inboxes."""
    return INBOX + _encode(user).decode()


def is_inbox(room: str) -> bool:
    """Whether a room is somebody's inbox."""
    return room.startswith(INBOX)


def record(draft: Draft, offset: int, room: str, time: int) -> Record:
    """Makes a record of a draft. With offset 0 it is in no log."""
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
    if draft.details is not None:
        event = _with_details(event, draft.details)
    return Record(event, _encode(event if draft.type != DIRECT else _as_direct(event)))


def record_of(json: bytes) -> Record:
    """Decodes an event. Raises msgspec.DecodeError."""
    try:
        event = _decode(json)
    except msgspec.ValidationError:  # a direct message: `from` is an id, and may be an integer
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


def _with_details(event: Event, details: Details) -> Event:
    reply_to = details.reply_to.offset if details.reply_to else 0
    return msgspec.structs.replace(event, **{**details._asdict(), "reply_to": reply_to})


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


def encoded(event: Event) -> Record:
    """An event with its JSON."""
    return Record(event, _encode(event))
