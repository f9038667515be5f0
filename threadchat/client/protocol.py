"""The protocol between client and server as types: encodes commands, decodes replies and events; no I/O."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.client.event import KICKED, ChatEvent, notice
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode
from threadchat.normalize import NAMING, nfc, nfc_id
from threadchat.wire.threads.synchronous import Awaited

# -- replies -----------------------------------------------------------------------------------------


class Reply(msgspec.Struct, Awaited, frozen=True):
    """The reply to a command; a reply without fields only confirms it."""


class Joined(Reply, frozen=True):
    """The position where events begin: with ids above `offset`, in the log with id `epoch`.

    `recovered` says whether the events after `since` follow; None if `since` was not given.
    """

    offset: int
    epoch: str
    recovered: bool | None = None


class Welcome(Reply, frozen=True):
    """The client's identity: `user` is the id, and `resume` proves it on the next connection.

    `inbox` is the position in the user's inbox, for users who have one. `nickname` is the one that the
    application or the token assigns; empty if users choose it themselves. `expires` is when the token
    expires, in Unix time.
    """

    user: UserId
    session: str
    resume: str
    nickname: str = ""
    expires: int | None = None
    inbox: Joined | None = None


class Refreshed(Reply, frozen=True):
    """When the newer token expires, in Unix time."""

    expires: int


class Renamed(Reply, frozen=True):
    """The new proof of identity, which includes the changed nickname."""

    resume: str


class Published(Reply, frozen=True):
    """The id of the event that a message became."""

    offset: int


class Counted(Reply, frozen=True):
    """The number of events."""

    count: int


class Page(Reply, frozen=True):
    """Some events of a room's log; `offset` is the newest event of the log, not of the page."""

    events: tuple[ChatEvent, ...]
    offset: int
    epoch: str


class Person(msgspec.Struct, frozen=True):
    """A person in a room, and the number of their connections."""

    id: UserId
    nickname: str
    sessions: int
    about: str = ""


class People(Reply, frozen=True):
    """The people in a room, and whether there are more."""

    users: tuple[Person, ...]
    more: bool = False


class RoomInfo(msgspec.Struct, frozen=True):
    """A room, the number of people in it, and the id of its newest event."""

    name: str
    people: int
    offset: int


class Unread(msgspec.Struct, frozen=True):
    """What the user has not read of a room: the read position, and how many messages, and mentions, follow.

    With `more` there may be others, which were not counted.
    """

    offset: int
    epoch: str
    messages: int
    mentions: int
    more: bool = False


class RoomList(Reply, frozen=True):
    """The rooms, and whether there are more; and what the user has not read, by room."""

    rooms: tuple[RoomInfo, ...]
    more: bool = False
    unread: dict[str, Unread] = {}


class Delivered(Reply, frozen=True):
    """The result of a direct message: whether it is `stored` in the recipient's inbox."""

    stored: bool = False


class Called(Reply, frozen=True):
    """The result of a command of the application."""

    data: Any = None


# -- frames ------------------------------------------------------------------------------------------


class Head(msgspec.Struct, frozen=True):
    """The part of a frame that says what kind it is and which command it answers."""

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
    """Encodes a command, without the fields that are None, and with names in NFC, as on the server.

    Raises CommandError (107), as the server would, for a value that JSON cannot carry.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name in NAMING:
        if isinstance(given.get(name), str):
            given[name] = nfc(given[name])
    if isinstance(given.get("users"), list | tuple):
        given["users"] = [nfc_id(user) for user in given["users"]]
    for name, value in given.items():
        if isinstance(value, bytes | bytearray | memoryview):  # msgspec would encode them as base64
            raise CommandError(ErrorCode.BAD_REQUEST, f"{command}: {name} is bytes; decode() them")
    try:
        return _encode({"type": command, "id": number, **given}).decode()
    except (TypeError, ValueError, OverflowError) as error:  # for example, text with surrogates
        raise CommandError(ErrorCode.BAD_REQUEST, f"{command} cannot be sent: {error}") from error


def decode_head(text: str | bytes) -> Head:
    """Decodes the type of a frame. Raises ConnectionClosed (1002) if it does not belong to the protocol."""
    try:
        return _head(text)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error


def decode_reply(text: str | bytes, kind: type[AnyReply]) -> AnyReply:
    """Decodes a reply of a given type. Raises ConnectionClosed (1002)."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error


def decode_refusal(text: str | bytes) -> CommandError:
    """Decodes an error reply; an unknown code becomes 100. Raises ConnectionClosed (1002)."""
    try:
        refusal = _refusal(text)
    except msgspec.DecodeError as error:
        raise _not_ours(text, error) from error
    try:
        code = next(code for code in ErrorCode if code == refusal.code)
    except StopIteration:  # from a newer server
        return CommandError(
            ErrorCode.INTERNAL, f"{refusal.code} {refusal.reason}".rstrip(), temporary=refusal.temporary
        )
    return CommandError(code, refusal.reason, temporary=refusal.temporary)


def decode_event(text: str | bytes, kind: str) -> ChatEvent:
    """Decodes an event or another frame that is not a reply. Raises ConnectionClosed (1002)."""
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
    what = f"the server sent {text[:80]!r}, which does not belong to the chat protocol: {error}"
    return ConnectionClosed(CloseCode.PROTOCOL_ERROR, what)
