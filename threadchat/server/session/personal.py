"""The commands that concern only the person who sends them: read positions, block lists, logout."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from threadchat.chat.log.events import Position
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.chat.reading import Unread
from threadchat.errors import CloseCode, CommandError, ErrorCode
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth.resume import RESUME_TTL
from threadchat.server.protocol import commands, encoding
from threadchat.server.session.session import Session
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

Fields = dict[str, Any]

CLOSING: Final = 600.0
"""Seconds in which the connections that a logout ends are surely closed, on all nodes."""


def ping(session: Session, command: commands.Ping) -> Fields:
    """Answers."""
    return {}


def block(session: Session, command: commands.Block) -> Fields:
    """Takes no more private messages from somebody. Raises CommandError 106 if the list is full."""
    assert session.user is not None
    if not is_user_id(command.user, -LARGEST_ID):
        raise CommandError(ErrorCode.BAD_REQUEST, f"user is {command.user!r:.60}; an id is {ID_RULE}")
    if command.user == session.user:
        raise CommandError(ErrorCode.BAD_REQUEST, f"user {command.user} is you")
    session.hub.blocks_of(session.user).block(session.user, command.user)
    return {}


def unblock(session: Session, command: commands.Unblock) -> Fields:
    """Takes private messages from somebody again."""
    assert session.user is not None
    session.hub.blocks_of(session.user).unblock(session.user, command.user)
    return {}


def blocked(session: Session, command: commands.Blocked) -> Fields:
    """Lists those whom this person blocks."""
    assert session.user is not None
    users = session.hub.blocks_of(session.user).of(session.user)
    return {"users": sorted(users, key=lambda user: (isinstance(user, str), user))}


def log_out(session: Session, command: commands.Logout) -> None:
    """Revokes what the person could come back with, then replies and closes the connection.

    That is the token of somebody who has one, else a stranger's `resume`; a stranger's other connections end
    too. Raises CommandError 106, and 100 while the broker is away.
    """
    assert session.user is not None
    identity, revocations = session.identity, session.hub.revocations
    proof, expires = identity.proof, identity.expires
    identity.leaving = True
    try:
        if expires is not None:
            revocations.log_out(session.user, expires, proof.token)
        elif identity.identity is None:
            # Other connections may get a resume token until they are closed.
            revocations.log_out(session.user, revocations.now() + RESUME_TTL + CLOSING)
    except BaseException:
        identity.leaving = False
        raise
    if command.id is not None:
        session.connection.send(Text(encoding.ok_frame(command.id)))
    session.connection.close(CloseCode.NORMAL, "logged out")


def read(session: Session, command: commands.Read) -> Fields:
    """Notes a read position, and tells the person's other sessions."""
    if not _has_positions(session):
        reason = "read positions are kept for people with an inbox; you are unknown here, or there are none"
        raise CommandError(ErrorCode.NOT_AVAILABLE, reason)
    assert session.user is not None
    position = Position(command.event, command.epoch)
    session.hub.note_read(session.user, command.room, position, session=session.session)
    return {}


def unread(session: Session, prefix: str = "") -> Fields:
    """The field `unread` of a reply, if there is any room of which a position is known."""
    if not _has_positions(session):
        return {}
    assert session.user is not None

    def wanted(room: str) -> bool:
        seen = room.startswith(prefix) and session.identity.may_see(room)
        return seen and not session.sanction_check.is_banned(room)

    try:
        found = session.hub.unread(session.user, wanted)
    except CommandError as error:  # without it, the reply is good all the same
        log.info("connection %d: unread messages are not counted: %s", session.connection.number, error)
        return {}
    return {"unread": {room: _described(item) for room, item in found.items()}} if found else {}


def _has_positions(session: Session) -> bool:
    known = session.identity.identity is not None and session.user is not None
    return known and session.user is not None and session.hub.keeps_inbox(session.user)


def _described(item: Unread) -> Fields:
    fields = {"offset": item.read.offset, "epoch": item.read.epoch}
    counts = {"messages": item.messages, "mentions": item.mentions}
    return {**fields, **counts, **({"more": True} if item.more else {})}


HANDLERS: Final[dict[type[commands.Command], Callable[[Any, Any], Fields | None]]] = {
    commands.Ping: ping,
    commands.Read: read,
    commands.Block: block,
    commands.Unblock: unblock,
    commands.Blocked: blocked,
    commands.Logout: log_out,
}
