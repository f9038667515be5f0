"""The commands on the native dialect that concern only the person who sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from threadchat.errors import CloseCode
from threadchat.server.auth.resume import RESUME_TTL
from threadchat.server.protocol import commands
from threadchat.server.session.application import ApplicationSession

Fields = dict[str, Any]


def ping(session: ApplicationSession, command: commands.Ping) -> Fields:
    """Answers."""
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
            revocations.log_out(session.user, revocations.now() + RESUME_TTL)
    except BaseException:
        identity.leaving = False
        raise
    session.reply(command.id, {})
    session.connection.close(CloseCode.NORMAL, "logged out")


HANDLERS: Final[dict[type[commands.Command], Callable[[Any, Any], Fields | None]]] = {
    commands.Ping: ping,
    commands.Logout: log_out,
}
