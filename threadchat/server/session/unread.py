"""Up to where somebody has read their rooms, and what they have not read; for people with an inbox."""

from __future__ import annotations

import logging
from typing import Any

from threadchat.chat.log.events import Position
from threadchat.chat.reading import Unread
from threadchat.errors import CommandError, ErrorCode
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.protocol import commands
from threadchat.server.session.session import Session

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

Fields = dict[str, Any]


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
