"""The commands on the native dialect that concern only the person who sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.errors import CloseCode, CommandError, ErrorCode
from threadchat.server.auth.resume import RESUME_TTL
from threadchat.server.protocol import commands
from threadchat.server.session.application import ApplicationSession

Fields = dict[str, Any]

CLOSING: Final = 600.0
"""Seconds in which the connections that a logout ends are surely closed, on all nodes."""


def ping(session: ApplicationSession, command: commands.Ping) -> Fields:
    """Answers."""
    return {}


def block(session: ApplicationSession, command: commands.Block) -> Fields:
    """Takes no more private messages from somebody. Raises CommandError 106 if the list is full."""
    assert session.user is not None
    if not is_user_id(command.user, -LARGEST_ID):
        raise CommandError(ErrorCode.BAD_REQUEST, f"user is {command.user!r:.60}; an id is {ID_RULE}")
    if command.user == session.user:
        raise CommandError(ErrorCode.BAD_REQUEST, f"user {command.user} is you")
    session.hub.blocks_of(session.user).block(session.user, command.user)
    return {}


def unblock(session: ApplicationSession, command: commands.Unblock) -> Fields:
    """Takes private messages from somebody again."""
    assert session.user is not None
    session.hub.blocks_of(session.user).unblock(session.user, command.user)
    return {}


def blocked(session: ApplicationSession, command: commands.Blocked) -> Fields:
    """Lists those whom this person blocks."""
    assert session.user is not None
    users = session.hub.blocks_of(session.user).of(session.user)
    return {"users": sorted(users, key=lambda user: (isinstance(user, str), user))}


def typing_to(session: ApplicationSession, command: commands.TypingTo) -> Fields:
    """Tells somebody, who may be away or block this person, that a private message is being typed to them."""
    assert session.user is not None
    session.hub.tell_typing(command.to, session.user, session.nickname)
    return {}


def log_out(session: ApplicationSession, command: commands.Logout) -> None:
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
    session.reply(command.id, {})
    session.connection.close(CloseCode.NORMAL, "logged out")


HANDLERS: Final[dict[type[commands.Command], Callable[[Any, Any], Fields | None]]] = {
    commands.Ping: ping,
    commands.Block: block,
    commands.Unblock: unblock,
    commands.Blocked: blocked,
    commands.TypingTo: typing_to,
    commands.Logout: log_out,
}
