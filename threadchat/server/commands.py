"""What a client of the native dialect may say: every command of the protocol, each with its fields."""

from __future__ import annotations

from typing import Annotated, Final, get_args

import msgspec
from msgspec import Meta

from threadchat.chat.events import UserId

MAX_NICKNAME: Final = 64
MAX_ROOM_NAME: Final = 128
MAX_ABOUT: Final = 1024
MAX_KEY: Final = 128
MAX_HISTORY: Final = 1000
"""All but the last in characters; that in events."""

Nickname = Annotated[str, Meta(min_length=1, max_length=MAX_NICKNAME, pattern=r"\S")]
RoomName = Annotated[str, Meta(min_length=1, max_length=MAX_ROOM_NAME, pattern=r"\S")]
CommandId = int | str | None


class Since(msgspec.Struct, frozen=True, gc=False):
    """A position as a client sends it: both or nothing."""

    offset: Annotated[int, Meta(ge=0)]
    epoch: str


class Command(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, kw_only=True):
    """What every command may carry; its reply carries `id` as `re`."""

    id: CommandId = None


class Hello(Command, frozen=True):
    """Says who one is, or was."""

    token: str | None = None
    resume: str | None = None
    nickname: Nickname | None = None


class Profile(Command, frozen=True):
    """Chooses a nickname, or another one."""

    nickname: Nickname
    about: Annotated[str, Meta(max_length=MAX_ABOUT)] | None = None


class Listen(Command, frozen=True):
    """What `join` and `subscribe` have in common."""

    room: RoomName
    types: list[str] | None = None
    users: list[UserId] | None = None
    since: Since | None = None


class Join(Listen, frozen=True):
    """Becomes a member, and listens."""


class Subscribe(Listen, frozen=True):
    """Only listens."""


class InRoom(Command, frozen=True):
    """A command about one room."""

    room: RoomName


class Leave(InRoom, frozen=True):
    """Ends a membership."""


class Unsubscribe(InRoom, frozen=True):
    """Ends a subscription."""


class Message(InRoom, frozen=True):
    """Says something to a room; the same key again says nothing new."""

    message: str
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class SendDirect(Command, frozen=True, tag="direct"):
    """Says something to one person."""

    to: UserId
    message: str


class Count(InRoom, frozen=True):
    """How many events a room's log holds."""

    types: list[str] | None = None
    users: list[UserId] | None = None


class History(InRoom, frozen=True):
    """A page of a room's log."""

    since: Since | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = 100
    reverse: bool = False


class Who(InRoom, frozen=True):
    """Who is in a room."""


class Rooms(Command, frozen=True):
    """Which rooms there are."""


class Typing(InRoom, frozen=True):
    """Somebody is typing."""


class Ping(Command, frozen=True):
    """Anybody there?"""


AnyCommand = (
    Hello
    | Profile
    | Join
    | Subscribe
    | Leave
    | Unsubscribe
    | Message
    | SendDirect
    | Count
    | History
    | Who
    | Rooms
    | Typing
    | Ping
)
COMMANDS: Final = tuple(command.__struct_config__.tag for command in get_args(AnyCommand))
