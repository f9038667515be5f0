"""The HTTP API's calls for applications: each with its fields and its answer."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from threadchat.errors import CloseCode
from threadchat.normalize import nfc, nfc_id
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.protocol import commands
from threadchat.server.protocol.commands import MAX_EPOCH, MAX_HISTORY, MAX_ROOM_NAME, Id, RoomName
from threadchat.server.session import queries

Fields = dict[str, Any]
EventId = Annotated[int, Meta(ge=1)]
Code = Annotated[int, Meta(ge=3000, le=4999)]  # RFC 6455 section 7.4.2: those for applications


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of calls. `answer` carries one out and returns the reply.

    Raises CommandError. Runs on: any thread.
    """

    def answer(self, chat: AdministeredChat) -> Fields:
        raise NotImplementedError


class Publish(Call, frozen=True):
    """Publishes a message in a room."""

    room: str
    message: str
    user: Id | None = None
    nickname: str = ""
    key: str = ""
    reply_to: Annotated[int, Meta(ge=0)] = 0
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""

    def answer(self, chat: AdministeredChat) -> Fields:
        place = chat.publish(
            self.room,
            self.message,
            self.user,
            nickname=self.nickname,
            key=self.key,
            reply_to=self.reply_to,
            epoch=self.epoch,
        )
        return {"offset": place.offset, "epoch": place.epoch}


class ToMessage(Call, frozen=True, kw_only=True):
    """The base of calls about one message: its id, and the log in which it was read."""

    room: RoomName
    event: EventId
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""


class Edit(ToMessage, frozen=True, kw_only=True):
    """Gives a message another text."""

    message: str
    by: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        place = chat.edit(self.room, self.event, self.message, epoch=self.epoch, by=self.by)
        return {"offset": place.offset, "epoch": place.epoch}


class React(ToMessage, frozen=True, kw_only=True):
    """Puts an emoji to a message for somebody."""

    emoji: str
    user: Id
    nickname: str = ""

    def answer(self, chat: AdministeredChat) -> Fields:
        return self.change(chat, undo=False)

    def change(self, chat: AdministeredChat, *, undo: bool) -> Fields:
        """Does it, or undoes it."""
        place = chat.react(
            self.room,
            self.event,
            self.emoji,
            self.user,
            nickname=self.nickname,
            epoch=self.epoch,
            undo=undo,
        )
        return {} if place is None else {"offset": place.offset, "epoch": place.epoch}


class Unreact(React, frozen=True, kw_only=True):
    """Takes somebody's emoji back."""

    def answer(self, chat: AdministeredChat) -> Fields:
        return self.change(chat, undo=True)


class Emit(Call, frozen=True):
    """Emits an application event, in a room or for one person."""

    name: str
    room: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    user: Id | None = None
    keep: bool = True
    skip: str = ""
    key: str = ""

    def answer(self, chat: AdministeredChat) -> Fields:
        place = chat.emit(
            self.room, self.name, self.data, user=self.user, keep=self.keep, skip=self.skip, key=self.key
        )
        return {} if place is None else {"offset": place.offset, "epoch": place.epoch}


class SendDirect(Call, frozen=True):
    """Sends a message to one person."""

    to: Id
    message: str
    user: Id | None = None
    nickname: str = ""
    key: str = ""

    def answer(self, chat: AdministeredChat) -> Fields:
        stored = chat.direct(self.to, self.message, self.user, nickname=self.nickname, key=self.key)
        return {"stored": True} if stored else {}


class Disconnect(Call, frozen=True):
    """Closes a person's connections on all nodes."""

    user: Id
    code: Code = int(CloseCode.FORCE_DISCONNECT)

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"connections": chat.hub.disconnect(nfc_id(self.user), self.code)}


class Rooms(Call, frozen=True):
    """Lists the rooms."""

    prefix: Annotated[str, Meta(max_length=MAX_ROOM_NAME)] = ""

    def answer(self, chat: AdministeredChat) -> Fields:
        return queries.rooms(chat.hub, commands.Rooms(prefix=nfc(self.prefix)))


class Who(Call, frozen=True):
    """Lists the people in a room."""

    room: RoomName
    after: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        after = None if self.after is None else nfc_id(self.after)
        return queries.who(chat.hub, commands.Who(room=nfc(self.room), after=after))


class History(Call, frozen=True):
    """A page of a room's log."""

    room: RoomName
    since: commands.Since | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = 100
    reverse: bool = False

    def answer(self, chat: AdministeredChat) -> Fields:
        page = commands.History(room=nfc(self.room), since=self.since, limit=self.limit, reverse=self.reverse)
        return queries.history(chat.hub, page)
