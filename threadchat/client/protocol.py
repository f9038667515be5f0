"""What goes between client and server, as types: commands out, replies and events in; no I/O."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.client.synchronous import Awaited
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode
from threadchat.normalize import NAMING, nfc, nfc_id

# Beside the types of a room's events, and `direct` and `typing`, the client tells these itself:
DISCONNECTED: Final = "disconnected"  # the connection is lost; it comes back, or the iteration ends
CONNECTED: Final = "connected"  # back again, in the same rooms
GAP: Final = "gap"  # events of a room were missed for good; it goes on after `id`
RESET: Final = "reset"  # a room's log is another one now: its ids start anew; it goes on after `id`
REFUSED: Final = "refused"  # the server does not let one into a room any more
KICKED: Final = "kicked"  # the server's own: one was thrown out of a room, and is not in it any more
PUT: Final = frozenset({"joined", "subscribed"})  # the application put one into a room
GONE: Final = frozenset({"left", "unsubscribed"})  # and out of it again
INBOX: Final = "inbox"  # where one's inbox begins, once it does
NOTICES: Final = frozenset({DISCONNECTED, CONNECTED, GAP, RESET, REFUSED, KICKED})


class ChatEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Something that happened: `type` says what, and what does not apply is empty.

    In a room, `id` counts from 1 without holes: `message`, `event` (the application's own, with a `name` and
    `data`), `join`, `add`, `remove`, `leave`, `delete` (of the message with the id `target`, which is
    `deleted` from then on), `close`. What is in one's `inbox` has no room: events, and `direct`, private
    messages. In no log, and without an id, is what is only for those who are there, and `typing`, and what
    the application did: `joined` and `subscribed` (one is in a room now), `left` and `unsubscribed`. Told by
    the client itself: `disconnected` and `connected`; `gap` and `reset`, where events of a room were missed
    or its log is a new one; `refused`, where one is not let back into a room; `kicked`, where one was thrown
    out of it. `message` then says what happened, in words.
    """

    type: str
    id: int = 0
    inbox: bool = False
    name: str = ""
    room: str = msgspec.field(name="chatroomId", default="")
    user: UserId | None = msgspec.field(name="userId", default=None)
    nickname: str = msgspec.field(name="from", default="")
    to: UserId | None = None
    message: str = ""
    data: Any = None
    session: str = msgspec.field(name="sessionId", default="")
    target: int = 0
    deleted: bool = False
    time: int = msgspec.field(name="unixTime", default=0)


# -- replies -----------------------------------------------------------------------------------------


class Reply(msgspec.Struct, Awaited, frozen=True):
    """What a command answers; one without fields was just done."""


class Joined(Reply, frozen=True):
    """Where the events begin: with ids above `offset`, in the log called `epoch`.

    `recovered` says whether `since` could be honoured; None where none was given.
    """

    offset: int
    epoch: str
    recovered: bool | None = None


class Welcome(Reply, frozen=True):
    """Who one is: `user` is the id, `resume` proves it to the next connection.

    `inbox` is where that stands, for those who have one. `nickname` is that of an application with accounts,
    and empty where one has it from oneself. `expires` is when the token does, in Unix time.
    """

    user: UserId
    session: str
    resume: str
    nickname: str = ""
    expires: int | None = None
    inbox: Joined | None = None


class Refreshed(Reply, frozen=True):
    """Until when the newer token is good, in Unix time."""

    expires: int


class Renamed(Reply, frozen=True):
    """The proof of who one is, under another nickname."""

    resume: str


class Published(Reply, frozen=True):
    """The id of the event that a message became."""

    offset: int


class Counted(Reply, frozen=True):
    """How many events there are."""

    count: int


class Page(Reply, frozen=True):
    """Some events of a room's log; `offset` is the newest there is, not the newest of the page."""

    events: tuple[ChatEvent, ...]
    offset: int
    epoch: str


class Person(msgspec.Struct, frozen=True):
    """Somebody in a room, with a number of connections."""

    id: UserId
    nickname: str
    sessions: int
    about: str = ""


class People(Reply, frozen=True):
    """Who is in a room; whether there are more."""

    users: tuple[Person, ...]
    more: bool = False


class RoomInfo(msgspec.Struct, frozen=True):
    """A room, how many people are in it, and the id of its newest event."""

    name: str
    people: int
    offset: int


class RoomList(Reply, frozen=True):
    """Which rooms there are; whether there are more."""

    rooms: tuple[RoomInfo, ...]
    more: bool = False


class Delivered(Reply, frozen=True):
    """What became of a direct message: whether it is `stored` until its recipient comes."""

    stored: bool = False


class Called(Reply, frozen=True):
    """What a command of the application's returned."""

    data: Any = None


# -- frames ------------------------------------------------------------------------------------------


class Head(msgspec.Struct, frozen=True):
    """As much of a frame as is needed to tell whom it is for."""

    type: str
    re: int | str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    code: int
    reason: str = ""
    temporary: bool = False


class _Direct(msgspec.Struct, frozen=True):
    id: int = 0
    inbox: bool = False
    to: UserId | None = None
    sender: UserId | None = msgspec.field(name="from", default=None)
    nickname: str = ""
    message: str = ""
    time: int = msgspec.field(name="unixTime", default=0)


class _Kicked(msgspec.Struct, frozen=True):
    room: str = msgspec.field(name="chatroomId", default="")
    reason: str = ""


AnyReply = TypeVar("AnyReply", bound=Reply)

_head = msgspec.json.Decoder(Head).decode
_event = msgspec.json.Decoder(ChatEvent).decode
_direct = msgspec.json.Decoder(_Direct).decode
_kicked = msgspec.json.Decoder(_Kicked).decode
_refusal = msgspec.json.Decoder(_Refusal).decode
_encode = msgspec.json.Encoder().encode


def encode_command(command: str, number: int, fields: dict[str, Any]) -> str:
    """A command's text, without the fields that are None, and with names in NFC, as the server has them.

    Raises CommandError (107), as the server would, for what JSON cannot carry.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name in NAMING:
        if isinstance(given.get(name), str):
            given[name] = nfc(given[name])
    if isinstance(given.get("users"), list | tuple):
        given["users"] = [nfc_id(user) for user in given["users"]]
    for name, value in given.items():
        if isinstance(value, bytes | bytearray | memoryview):  # msgspec would make base64 of them
            raise CommandError(ErrorCode.BAD_REQUEST, f"{command}: {name} is bytes; decode() them")
    try:
        return _encode({"type": command, "id": number, **given}).decode()
    except (TypeError, ValueError, OverflowError) as error:  # half characters, say, are no text
        raise CommandError(ErrorCode.BAD_REQUEST, f"{command} cannot be sent: {error}") from error


def decode_head(text: str | bytes) -> Head:
    """What kind of frame it is. Raises ConnectionClosed (1002) for what is no frame of the protocol."""
    try:
        return _head(text)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error


def decode_reply(text: str | bytes, kind: type[AnyReply]) -> AnyReply:
    """A reply of some kind. Raises ConnectionClosed (1002)."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error


def decode_refusal(text: str | bytes) -> CommandError:
    """The error of an error reply; a code of no table counts as 100. Raises ConnectionClosed (1002)."""
    try:
        refusal = _refusal(text)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error
    try:
        code = next(code for code in ErrorCode if code == refusal.code)
    except StopIteration:  # of a newer server
        return CommandError(
            ErrorCode.INTERNAL, f"{refusal.code} {refusal.reason}".rstrip(), temporary=refusal.temporary
        )
    return CommandError(code, refusal.reason, temporary=refusal.temporary)


def decode_event(text: str | bytes, kind: str) -> ChatEvent:
    """An event, or what else comes unasked. Raises ConnectionClosed (1002)."""
    try:
        if kind == KICKED:
            kicked = _kicked(text)
            return notice(KICKED, kicked.reason, room=kicked.room)
        if kind != "direct":
            return _event(text)
        direct = _direct(text)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error
    return ChatEvent(
        type=kind,
        id=direct.id,
        inbox=direct.inbox,
        user=direct.sender,
        nickname=direct.nickname,
        to=direct.to,
        message=direct.message,
        time=direct.time,
    )


def _not_ours(text: str | bytes, error: Exception) -> ConnectionClosed:
    what = f"the server said {text[:80]!r}, which is not the protocol of a chat: {error}"
    return ConnectionClosed(CloseCode.PROTOCOL_ERROR, what)


def notice(kind: str, message: str, *, room: str = "", offset: int = 0) -> ChatEvent:
    """Something that the client itself tells."""
    return ChatEvent(type=kind, room=room, id=offset, message=message, time=int(time.time()))


def as_json(event: ChatEvent) -> str:
    """An event as one line of JSON, with the names that it has in the protocol."""
    return _encode(event).decode()
