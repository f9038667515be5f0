"""The HTTP API's calls for moderation: bans, mutes, kicks, deleted messages, closed rooms."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from threadchat.chat.access.revocations import KEPT
from threadchat.chat.access.sanctions import Sanction
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.admin.api_schema import Call, Fields, ToMessage
from threadchat.server.protocol.commands import Id, RoomName

Span = Annotated[float, Meta(gt=0)]


class Subject(Call, frozen=True):
    """The subject of a sanction: a user or an address, in one room or everywhere."""

    user: Id | None = None
    address: str | None = None
    room: str = ""


class Sanctioning(Subject, frozen=True):
    """A new sanction. Without `seconds` it has no end."""

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
    """Lets somebody listen but not send."""

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
    """Lifts a ban."""

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"lifted": chat.unban(self.user, address=self.address, room=self.room)}


class Unmute(Subject, frozen=True):
    """Lifts a mute."""

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"lifted": chat.unmute(self.user, address=self.address, room=self.room)}


class Sanctions(Call, frozen=True):
    """Lists bans and mutes: all of them, those of one room, or with "" those that hold everywhere."""

    room: str | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        return _described(chat.sanctions(self.room))


class Kick(Call, frozen=True):
    """Removes somebody from one room or from the chat. They may come back."""

    user: Id
    room: str = ""
    reason: str = ""
    by: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        return {"ended": chat.kick(self.user, room=self.room, reason=self.reason, by=self.by)}


class Revoke(Call, frozen=True):
    """Ends what a user could come back with, or one token."""

    user: Id
    token_id: str = ""
    seconds: Span = KEPT

    def answer(self, chat: AdministeredChat) -> Fields:
        chat.revoke(self.user, token_id=self.token_id, seconds=self.seconds)
        return {}


class Delete(ToMessage, frozen=True):
    """Removes the text of one message from a room's log."""

    by: Id | None = None

    def answer(self, chat: AdministeredChat) -> Fields:
        chat.delete(self.room, self.event, epoch=self.epoch, by=self.by)
        return {}


class Close(Call, frozen=True):
    """Closes a room and deletes its log."""

    room: RoomName

    def answer(self, chat: AdministeredChat) -> Fields:
        chat.close_room(self.room)
        return {}


def _described(sanctions: list[Sanction]) -> Fields:
    return {"sanctions": [sanction.describe() for sanction in sanctions]}
