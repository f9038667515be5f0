"""What a client of the native dialect may say: every command of the protocol, each with its fields."""

from __future__ import annotations

from typing import Annotated, Final, get_args

import msgspec
from msgspec import Meta

from threadchat.chat.emitting import MAX_EVENT_NAME
from threadchat.chat.log.ids import MAX_ID
from threadchat.normalize import NAMING, nfc, nfc_id

MAX_NICKNAME: Final = 64
MAX_ROOM_NAME: Final = 128
MAX_ABOUT: Final = 1024
MAX_KEY: Final = 128
MAX_EPOCH: Final = 128
MAX_HISTORY: Final = 1000
MAX_LISTED: Final = 1000
MAX_USERS: Final = 100
MAX_NAMES: Final = 100
"""The first ones in characters; then in events, in rooms or people, and in users and names of a filter."""

# Which characters names may have, `names.py` says.
Nickname = Annotated[str, Meta(min_length=1, max_length=MAX_NICKNAME)]
RoomName = Annotated[str, Meta(min_length=1, max_length=MAX_ROOM_NAME)]
Id = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=MAX_ID)]
Words = Annotated[str, Meta(min_length=1)]
"""What is said: something, as the application's own publications have to."""
Users = Annotated[list[Id], Meta(max_length=MAX_USERS)]
EventNames = Annotated[list[str], Meta(max_length=MAX_NAMES)]
CommandId = int | str | None


class Since(msgspec.Struct, frozen=True, gc=False):
    """A position as a client sends it: both or nothing."""

    offset: Annotated[int, Meta(ge=0)]
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)]


class Command(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, kw_only=True):
    """What every command may carry; its reply carries `id` as `re`."""

    id: CommandId = None


class Hello(Command, frozen=True):
    """Says who one is, or was."""

    token: str | None = None
    resume: str | None = None
    nickname: Nickname | None = None
    inbox: Since | None = None


class Profile(Command, frozen=True):
    """Chooses a nickname, or another one."""

    nickname: Nickname
    about: Annotated[str, Meta(max_length=MAX_ABOUT)] | None = None


class Refresh(Command, frozen=True):
    """Shows a newer token than that of the hello."""

    token: str


class Listen(Command, frozen=True):
    """What `join` and `subscribe` have in common."""

    room: RoomName
    types: list[str] | None = None
    users: Users | None = None
    names: EventNames | None = None
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

    message: Words
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class SendDirect(Command, frozen=True, tag="direct"):
    """Says something to one person; the same key again says nothing new to whoever has an inbox."""

    to: Id
    message: Words
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class Call(Command, frozen=True):
    """Has the application do something of its own."""

    name: Annotated[str, Meta(max_length=MAX_EVENT_NAME)]
    data: msgspec.Raw = msgspec.Raw(b"null")


class Count(InRoom, frozen=True):
    """How many events a room's log holds."""

    types: list[str] | None = None
    users: Users | None = None
    names: EventNames | None = None


class History(InRoom, frozen=True):
    """A page of a room's log."""

    since: Since | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = 100
    reverse: bool = False


class Who(InRoom, frozen=True):
    """Who is in a room; of many those whose ids come after one."""

    after: Id | None = None


class Rooms(Command, frozen=True):
    """Which rooms there are, or those whose names begin so."""

    prefix: Annotated[str, Meta(max_length=MAX_ROOM_NAME)] = ""


class Typing(InRoom, frozen=True):
    """Somebody is typing."""


class Ping(Command, frozen=True):
    """Anybody there?"""


# For moderators


Place = Annotated[str, Meta(max_length=MAX_ROOM_NAME)]
"""A room; empty: everywhere."""


class Kick(Command, frozen=True):
    """Throws somebody out, who may come back."""

    user: Id
    room: Place = ""
    reason: str = ""


class Lifting(Command, frozen=True):
    """What takes a sanction back: against a user or an address."""

    user: Id | None = None
    address: str | None = None
    room: Place = ""


class Sanctioning(Lifting, frozen=True):
    """What imposes one, for a time or for good."""

    seconds: float | None = None
    reason: str = ""


class Ban(Sanctioning, frozen=True):
    """Throws somebody out and keeps them out; of a user maybe their addresses too."""

    with_address: bool = False


class Unban(Lifting, frozen=True):
    """Takes a ban back."""


class Mute(Sanctioning, frozen=True):
    """Lets somebody listen, but not speak."""


class Unmute(Lifting, frozen=True):
    """Takes a mute back."""


class Delete(InRoom, frozen=True):
    """Takes the text of a message out of a room's log."""

    event: int
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""


class Close(InRoom, frozen=True):
    """Closes a room, with its log."""


class Sanctions(Command, frozen=True):
    """Which bans and mutes there are: a room's own, or all."""

    room: Place = ""


AnyCommand = (
    Hello
    | Profile
    | Refresh
    | Join
    | Subscribe
    | Leave
    | Unsubscribe
    | Message
    | SendDirect
    | Call
    | Count
    | History
    | Who
    | Rooms
    | Typing
    | Ping
    | Kick
    | Ban
    | Unban
    | Mute
    | Unmute
    | Delete
    | Close
    | Sanctions
)
COMMANDS: Final = tuple(command.__struct_config__.tag for command in get_args(AnyCommand))


def normalized(command: AnyCommand) -> AnyCommand:
    """The same command with its names, and ids that are text, in NFC."""
    for field in NAMING:
        name = getattr(command, field, None)
        if isinstance(name, str) and not name.isascii():
            command = msgspec.structs.replace(command, **{field: nfc(name)})
    users: list[int | str] | None = getattr(command, "users", None)
    if users:
        command = msgspec.structs.replace(command, users=[nfc_id(user) for user in users])
    return command
