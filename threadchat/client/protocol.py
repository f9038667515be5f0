"""The protocol between client and server as types: encodes commands, decodes replies and events; no I/O."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.client.synchronous import Awaited
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode
from threadchat.normalize import NAMING, nfc, nfc_id

# Types besides those of a room's log, `direct` and `typing`. The client creates the first five itself.
DISCONNECTED: Final = "disconnected"  # the connection was lost; the client tries to reconnect
CONNECTED: Final = "connected"  # the client has reconnected and is in the same rooms
GAP: Final = "gap"  # events of a room are lost; the room continues after `id`
RESET: Final = "reset"  # a room has a new log, whose ids start again; the room continues after `id`
REFUSED: Final = "refused"  # the server refused to let the client back into a room
KICKED: Final = "kicked"  # from the server: the client was removed from a room
ADDED: Final = frozenset({"joined", "subscribed"})  # the application added the client to a room
REMOVED: Final = frozenset({"left", "unsubscribed"})  # the application removed the client from a room
INBOX: Final = "inbox"  # the user's inbox was created; carries its first position
NOTICES: Final = frozenset({DISCONNECTED, CONNECTED, GAP, RESET, REFUSED, KICKED})


class ChatEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An event. `type` says what happened; fields that do not apply to the type are empty.

    - Events in a room's log have an `id`, which counts from 1 without gaps: `message`, `event` (of the
      application, with a `name` and `data`), `join`, `add`, `remove`, `leave`, `delete` (of the message with
      the id `target`, which is `deleted` from then on) and `close`.
    - Events in the user's inbox have `inbox` set and no room: `event`, and `direct`, a private message.
    - Events that are in no log have no id: `typing`, events that the application emitted without keeping
      them, and moves by the application: `joined`, `subscribed`, `left` and `unsubscribed`.
    - Notices have a text for people in `message`: `disconnected`, `connected`, `gap` (events of a room are
      lost), `reset` (a room has a new log), `refused` (the client may not return to a room), and `kicked`
      (the client was removed from a room).
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


class RoomList(Reply, frozen=True):
    """The rooms, and whether there are more."""

    rooms: tuple[RoomInfo, ...]
    more: bool = False


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


def notice(kind: str, message: str, *, room: str = "", offset: int = 0) -> ChatEvent:
    """An event that the client creates itself."""
    return ChatEvent(type=kind, room=room, id=offset, message=message, time=int(time.time()))


def as_json(event: ChatEvent) -> str:
    """An event as one line of JSON, with the field names of the protocol."""
    return _encode(event).decode()
