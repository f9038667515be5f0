"""The events that an application gets from the client, including the client's own."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from threadchat.chat.log.events import UserId

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
      application, with a `name` and `data`), `join`, `add`, `remove`, `leave`, `rename` (of somebody who
      `was` called otherwise), `edit` (the message with the id `target` has the text `message` now), `react`,
      `unreact` (somebody put the `emoji` to the message `target`, or took it back), `delete` (of the message
      `target`, which is `deleted` from then on) and `close`.
    - A message may answer another one (`reply_to`), and it `mentions` users, or `everybody`. Who reads the
      log later finds a message as it is then: with its last text if it was `edited` (the id of the last
      edit), and with its `reactions`, the users by emoji. An `edit` that is `deleted` was followed by
      another one.
    - Events in the user's inbox have `inbox` set and no room: `event`, and `direct`, a private message.
    - Events that are in no log have no id: `read` (another session of the user has read a room up to the
      event `target`, in the log of `epoch`), `typing`, events that the application emitted without keeping
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
    was: str = ""
    target: int = 0
    epoch: str = ""
    emoji: str = ""
    reply_to: int = 0
    mentions: tuple[UserId, ...] = ()
    everybody: bool = False
    edited: int = 0
    reactions: dict[str, tuple[UserId, ...]] = {}
    deleted: bool = False
    time: int = msgspec.field(name="unixTime", default=0)


def notice(kind: str, message: str, *, room: str = "", offset: int = 0) -> ChatEvent:
    """An event that the client creates itself."""
    return ChatEvent(type=kind, room=room, id=offset, message=message, time=int(time.time()))


def as_json(event: ChatEvent) -> str:
    """An event as one line of JSON, with the field names of the protocol."""
    return msgspec.json.encode(event).decode()
