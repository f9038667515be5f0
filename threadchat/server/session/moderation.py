"""The commands for moderators on the native dialect, and the check of bans and mutes before a command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from threadchat.chat.access.addresses import spelled, within
from threadchat.chat.access.sanctions import BAN, MUTE, user_of
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode, Refuse
from threadchat.server.auth.sanction_check import SanctionCheck
from threadchat.server.protocol import commands
from threadchat.server.session import sanctioning
from threadchat.server.session.session import Session

log = logging.getLogger(__name__)

MAX_LISTED: Final = 1000
"""Sanctions in one reply. Its `count` is the total number."""

Fields = dict[str, Any]


def check_sanctions(sanction_check: SanctionCheck, command: commands.Command) -> None:
    """Raises CommandError 103 if a ban or a mute forbids a command."""
    if isinstance(command, (commands.Message, commands.Edit, commands.React, commands.Typing)):
        sanction_check.check_muted(command.room)
    elif isinstance(command, (commands.SendDirect, commands.TypingTo)):
        sanction_check.check_muted()
    elif isinstance(command, (commands.Leave, commands.Unsubscribe)):
        return
    elif isinstance(command, (commands.Listen, commands.InRoom)):
        sanction_check.check_banned(command.room)


def kick(session: Session, command: commands.Kick) -> Fields:
    """Removes somebody from a room or, with an empty room, disconnects them. They may come back."""
    _check(session, command.room, command.user)
    by = session.user
    return {
        "ended": sanctioning.kick(session.hub, command.user, room=command.room, reason=command.reason, by=by)
    }


def ban(session: Session, command: commands.Ban) -> Fields:
    """Removes somebody and keeps them out."""
    if command.with_address and command.room:
        _check_addresses(session)
    return _impose(session, BAN, command, command.with_address)


def mute(session: Session, command: commands.Mute) -> Fields:
    """Lets somebody listen but not send."""
    return _impose(session, MUTE, command)


def unban(session: Session, command: commands.Unban) -> Fields:
    """Lifts a ban."""
    return _lift(session, BAN, command)


def unmute(session: Session, command: commands.Unmute) -> Fields:
    """Lifts a mute."""
    return _lift(session, MUTE, command)


def close(session: Session, command: commands.Close) -> Fields:
    """Closes a room and deletes its log."""
    _check(session, command.room)
    session.hub.close_room(command.room)
    log.info("user %s closed room %r", session.user, command.room)
    return {}


def sanctions(session: Session, command: commands.Sanctions) -> Fields:
    """Lists the sanctions of one room or, with an empty room, all of them.

    Somebody who may not moderate everywhere does not get those of addresses.
    """
    _check(session, command.room)
    with session.budget.question():
        found = session.hub.sanctions.list(command.room or None)
        if command.room and not session.identity.may(session.person, "moderate", ""):
            found = [item for item in found if user_of(item.subject) is not None]
        return {"sanctions": [item.describe() for item in found[-MAX_LISTED:]], "count": len(found)}


def _impose(session: Session, kind: str, command: commands.Sanctioning, with_address: bool = False) -> Fields:
    _check(session, command.room, command.user, command.address)
    imposed = sanctioning.impose(
        session.hub,
        kind,
        command.user,
        command.address,
        room=command.room,
        seconds=command.seconds,
        reason=command.reason,
        by=session.user,
        with_address=with_address,
        spared=session.address,
    )
    return {"sanctions": [item.describe() for item in imposed]}


def _lift(session: Session, kind: str, command: commands.Lifting) -> Fields:
    _check(session, command.room, command.user, command.address)
    by = session.user
    lifted = sanctioning.lift(session.hub, kind, command.user, command.address, room=command.room, by=by)
    return {"lifted": lifted}


def _check(session: Session, room: str, user: UserId | None = None, address: str | None = None) -> None:
    """Raises CommandError 103 if the person may not moderate there, and 107 if the target is themselves.

    Moderators may moderate each other. Nobody may lift a sanction against themselves. Whoever names an
    address must be allowed to moderate everywhere.
    """
    session.identity.check(session.person, "moderate", room)
    if address is not None and room:
        _check_addresses(session)
    if user is not None and user == session.user:
        raise CommandError(ErrorCode.BAD_REQUEST, f"user {user} is you; another moderator has to do that")
    if address is not None and within(session.address, spelled(address)):
        reason = f"your own address, {session.address}, is in {address}; another moderator has to do that"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)


def _check_addresses(session: Session) -> None:
    """Raises CommandError 103 if the person may not moderate everywhere.

    A sanction against an address also hits people whom the moderator of one room cannot see, and its reply or
    its effect would tell the addresses of those in the room.
    """
    if not session.identity.may(session.person, "moderate", ""):
        raise Refuse("addresses are for those who may moderate everywhere; name the user instead")


HANDLERS: Final[dict[type[commands.Command], Callable[[Session, Any], Fields]]] = {
    commands.Kick: kick,
    commands.Ban: ban,
    commands.Unban: unban,
    commands.Mute: mute,
    commands.Unmute: unmute,
    commands.Close: close,
    commands.Sanctions: sanctions,
}
