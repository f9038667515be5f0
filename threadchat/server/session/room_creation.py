"""Decides who may create a room by a command: somebody who may write there, as `create_rooms` says.

The hook `authorize` is not asked again: whom the application lets subscribe to a room may also open it.
"""

from __future__ import annotations

from threadchat.errors import CommandError, ErrorCode
from threadchat.server.auth.permissions import WRITE
from threadchat.server.protocol.commands import Listen
from threadchat.server.session.session import Session


def is_excluded(session: Session, create_rooms: str) -> bool:
    """Whether the setting keeps this person from creating rooms, whatever their permissions."""
    return create_rooms == "no" or (create_rooms == "known" and session.identity.identity is None)


def check_creation(session: Session, command: Listen, create_rooms: str) -> None:
    """Raises CommandError 102 if a join or subscribe would create a room that this person may not create."""
    may_create = _may_write(session, command.room) and not is_excluded(session, create_rooms)
    if not may_create and not session.hub.exists(command.room):
        raise unknown_room(command.room)


def check_message(session: Session, room: str, create_rooms: str) -> None:
    """Raises CommandError 102 if a message, which the person may write, would create such a room."""
    if is_excluded(session, create_rooms) and not session.hub.exists(room):
        raise unknown_room(room)


def unknown_room(room: str) -> CommandError:
    """The answer to somebody who may not create the room."""
    return CommandError(ErrorCode.UNKNOWN_ROOM, f"there is no room {room}, and you may not create it")


def _may_write(session: Session, room: str) -> bool:
    permissions = session.identity.permissions
    return session.sanction_check.may_speak(room) and (permissions is None or permissions.allow(WRITE, room))
