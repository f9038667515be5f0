"""What a moderator may order over HTTP: bans, mutes, kicks, deleted messages, closed rooms."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from threadchat.chat.sanctions import Sanction
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.admin.api_schema import Call, Fields
from threadchat.server.protocol.commands import MAX_EPOCH, Id, RoomName

EventId = Annotated[int, Meta(ge=1)]
Span = Annotated[float, Meta(gt=0)]


class Subject(Call, frozen=True):
    """Whom a sanction is for: a user or an address, in one room or everywhere."""

    user: Id | None = None
    address: str | None = None
    room: str = ""


class Sanctioning(Subject, frozen=True):
    """A sanction to be; without `seconds` it has no end."""

    seconds: Span | None = None
    reason: str = ""
    by: Id | None = None


class Ban(Sanctioning, frozen=True):
    """Keeps somebody out."""

    with_address: bool = False

    def answer(self, chat: AdministeredChat) -> Fields:
        imposed = chat.ban(
            self.user,
            address=self.address,
            room=self.room,
            seconds=self.seconds,
            reason=self.reason,
            with_address=self.with_address,
            by=self.by,
        )
        return _described(imposed)


class Mute(Sanctioning, frozen=True):
    """Lets somebody listen only."""

    def answer(self, chat: AdministeredChat) -> Fields:
        imposed = chat.mute(
            self.user,
            address=self.address,
            room=self.room,
            seconds=self.seconds,
            reason=self.reason,
            by=self.by,
        )
        return _described(imposed)


class Unban(Subject, frozen=True):
    """Takes a ban back."""

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"lifted": chat.lift("ban", self.user, address=self.address, room=self.room)}


class Unmute(Subject, frozen=True):
    """Takes a mute back."""

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"lifted": chat.lift("mute", self.user, address=self.address, room=self.room)}


class Sanctions(Call, frozen=True):
    """Which bans and mutes there are: all of them, those of one room, or with "" those everywhere."""

    room: str | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        return _described(chat.sanctions(self.room))


class Kick(Call, frozen=True):
    """Puts somebody out, of one room or of the chat; they may come back."""

    user: Id
    room: str = ""
    reason: str = ""
    by: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"ended": chat.kick(self.user, room=self.room, reason=self.reason, by=self.by)}


class Delete(Call, frozen=True):
    """Deletes one message of a room's log."""

    room: RoomName
    event: EventId
    epoch: Annotated[str, Meta(max_length=MAX_EPOCH)] = ""
    by: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        chat.delete(self.room, self.event, epoch=self.epoch, by=self.by)
        return {}


class Close(Call, frozen=True):
    """Closes a room."""

    room: RoomName

    def answer(self, chat: AdministeredChat) -> Fields:
        chat.close_room(self.room)
        return {}


def _described(sanctions: list[Sanction]) -> Fields:
    return {"sanctions": [sanction.describe() for sanction in sanctions]}
