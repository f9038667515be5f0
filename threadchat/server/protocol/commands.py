"""The commands that a client of the native dialect may send, each with its fields."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threadchat.chat.emitting import MAX_EVENT_NAME
from threadchat.chat.log.ids import MAX_ID

MAX_NICKNAME: Final = 64
MAX_ROOM_NAME: Final = 128
MAX_ABOUT: Final = 1024
MAX_KEY: Final = 128
MAX_EPOCH: Final = 128
MAX_EMOJI_LENGTH: Final = 16
MAX_HISTORY: Final = 1000
MAX_LISTED: Final = 1000
MAX_USERS: Final = 100
MAX_NAMES: Final = 100
"""MAX_NICKNAME to MAX_EMOJI_LENGTH are in characters. MAX_HISTORY is in events, MAX_LISTED in rooms or
people, and MAX_USERS and MAX_NAMES in the users and event names of a filter."""

# `auth/name_policy.py` defines which characters names may have.
Nickname = Annotated[str, Meta(min_length=1, max_length=MAX_NICKNAME)]
RoomName = Annotated[str, Meta(min_length=1, max_length=MAX_ROOM_NAME)]
Id = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=MAX_ID)]
Words = Annotated[str, Meta(min_length=1)]
"""The text of a message, never empty."""
Users = Annotated[list[Id], Meta(max_length=MAX_USERS)]
EventNames = Annotated[list[str], Meta(max_length=MAX_NAMES)]
CommandId = int | str | None


class Since(msgspec.Struct, frozen=True, gc=False):
    """A position as a client sends it. Both fields are required."""

    offset: Annotated[int, Meta(ge=0)]
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)]


class Command(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, kw_only=True):
    """The base of all commands. The reply carries the command's `id` as `re`."""

    id: CommandId = None


class Hello(Command, frozen=True):
    """Begins a session; says who the person is, or resumes who they were."""

    token: str | None = None
    resume: str | None = None
    nickname: Nickname | None = None
    inbox: Since | None = None


class Profile(Command, frozen=True):
    """Sets or changes the nickname."""

    nickname: Nickname
    about: Annotated[str, Meta(max_length=MAX_ABOUT)] | None = None


class Refresh(Command, frozen=True):
    """Replaces the token by a newer one."""

    token: str


class Listen(Command, frozen=True):
    """The base of `join` and `subscribe`."""

    room: RoomName
    types: list[str] | None = None
    users: Users | None = None
    names: EventNames | None = None
    since: Since | None = None


class Join(Listen, frozen=True):
    """Becomes a member of a room and subscribes to it."""


class Subscribe(Listen, frozen=True):
    """Subscribes to a room without becoming a member."""


class InRoom(Command, frozen=True):
    """The base of commands about one room."""

    room: RoomName


class Leave(InRoom, frozen=True):
    """Ends a membership."""


class Unsubscribe(InRoom, frozen=True):
    """Ends a subscription."""


class Message(InRoom, frozen=True):
    """Publishes a message in a room. A second one with the same key is not published.

    `reply_to` is the id of the message that this one answers, and `epoch` the log in which it was read.
    """

    message: Words
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""
    reply_to: Annotated[int, Meta(ge=0)] = 0
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""


class ToMessage(InRoom, frozen=True, kw_only=True):
    """The base of commands about one message: its id, and the log in which it was read."""

    event: int
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""


class Edit(ToMessage, frozen=True):
    """Gives one's own message another text."""

    message: Words


class React(ToMessage, frozen=True):
    """Puts an emoji to a message."""

    emoji: Annotated[str, Meta(min_length=1, max_length=MAX_EMOJI_LENGTH)]


class Unreact(React, frozen=True):
    """Takes one's own emoji back."""


class Read(InRoom, frozen=True):
    """Notes up to which event of a log this person has read a room."""

    event: Annotated[int, Meta(ge=0)]
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)]


class Delete(ToMessage, frozen=True):
    """Removes the text of one's own message from a room's log, or as a moderator that of another's."""


class SendDirect(Command, frozen=True, tag="direct"):
    """Sends a message to one person. To an inbox, a second one with the same key is not sent."""

    to: Id
    message: Words
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class Call(Command, frozen=True):
    """Calls a command of the application."""

    name: Annotated[str, Meta(max_length=MAX_EVENT_NAME)]
    data: msgspec.Raw = msgspec.Raw(b"null")


class Count(InRoom, frozen=True):
    """Asks how many events a room's log holds."""

    types: list[str] | None = None
    users: Users | None = None
    names: EventNames | None = None


class History(InRoom, frozen=True):
    """Asks for a page of a room's log."""

    since: Since | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = 100
    reverse: bool = False


class Who(InRoom, frozen=True):
    """Asks who is in a room. `after` continues a long list: only people with higher ids."""

    after: Id | None = None


class Rooms(Command, frozen=True):
    """Asks for the rooms, or for those whose names begin with `prefix`."""

    prefix: Annotated[str, Meta(max_length=MAX_ROOM_NAME)] = ""


class Typing(InRoom, frozen=True):
    """Tells a room's members that this person is typing."""


class TypingTo(Command, frozen=True, tag="typing_to"):
    """Tells one person that this person is typing a private message to them."""

    to: Id


class Ping(Command, frozen=True):
    """Asks for a reply, and nothing else."""


class Block(Command, frozen=True):
    """Takes no more private messages from somebody."""

    user: Id


class Unblock(Command, frozen=True):
    """Takes private messages from somebody again."""

    user: Id


class Blocked(Command, frozen=True):
    """Asks whom this person blocks."""


class Logout(Command, frozen=True):
    """Revokes what the person could come back with, and ends the connection."""


# For moderators


Place = Annotated[str, Meta(max_length=MAX_ROOM_NAME)]
"""A room's name; empty means everywhere."""


class Kick(Command, frozen=True):
    """Removes somebody from a room or the chat. They may come back."""

    user: Id
    room: Place = ""
    reason: str = ""


class Lifting(Command, frozen=True):
    """The base of commands that lift a sanction against a user or an address."""

    user: Id | None = None
    address: str | None = None
    room: Place = ""


class Sanctioning(Lifting, frozen=True):
    """The base of commands that impose a sanction. Without `seconds` it has no end."""

    seconds: float | None = None
    reason: str = ""


class Ban(Sanctioning, frozen=True):
    """Removes somebody and keeps them out; `with_address` also bans a user's addresses."""

    with_address: bool = False


class Unban(Lifting, frozen=True):
    """Lifts a ban."""


class Mute(Sanctioning, frozen=True):
    """Lets somebody listen but not send."""


class Unmute(Lifting, frozen=True):
    """Lifts a mute."""


class Close(InRoom, frozen=True):
    """Closes a room and deletes its log."""


class Sanctions(Command, frozen=True):
    """Asks for the bans and mutes of a room, or for all of them."""

    room: Place = ""
