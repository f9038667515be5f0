"""The part of a session that establishes who somebody is: hello, profile, and the refresh of a token."""

from __future__ import annotations

import logging
import secrets
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final

from threadchat.chat.log.ids import spelled_id
from threadchat.errors import BadToken, CloseCode, CommandError, ErrorCode
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth import users
from threadchat.server.auth.name_policy import check_about
from threadchat.server.budgets.rate_limit import TokenBucket
from threadchat.server.protocol import commands
from threadchat.server.session.session import Session
from threadchat.version import __version__
from threadchat.wire.connection import ConnectionState

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


RENAMINGS: Final = 10
RENAMINGS_WINDOW: Final = 60.0
"""One connection may change its nickname `RENAMINGS` times per `RENAMINGS_WINDOW` seconds."""


class HelloSession(Session):
    """A session that begins with hello. Everything runs on the connection's reader thread."""

    says_hello = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.session = secrets.token_hex(8)
        self._renamings: TokenBucket | None = None  # made when the nickname first changes

    @abstractmethod
    def open_own_inbox(self, since: commands.Since | None) -> dict[str, Any]:
        """Returns the inbox fields of the reply to hello; empty without an inbox. Raises CommandError."""

    @abstractmethod
    def renamed(self) -> None:
        """Called after the nickname has changed."""

    def begin(self) -> None:
        """Sets the deadline for hello."""
        self._expect("hello", self._config.hello_timeout, lambda: self.user is not None)

    def hello(self, command: commands.Hello) -> dict[str, Any] | None:
        """Admits a person and returns the fields of the reply; None if a bad token closed the connection."""
        if self.user is not None:
            raise CommandError(ErrorCode.ALREADY, "said hello already")
        if command.token is not None and not self._show(command.token):
            return None
        if not self.identity.may_enter:
            reason = "this server admits nobody without a token; send one with hello"
            raise CommandError(ErrorCode.UNAUTHORIZED, reason)
        self._check_nickname(command.nickname)
        found = users.identify(
            command,
            self.identity.identity,
            self.hub.broker,
            self.hub.revocations,
            authenticates=self.authenticates,
        )
        user, self.nickname = found.user, found.nickname
        if self.identity.identity is None:
            self.identity.issued = found.issued
        self.connection.deadlines.clear("hello")
        try:
            self.arrive(user)
        except CommandError:  # the client may say hello again
            self.begin()
            raise
        if self.nickname or self.identity.identity is not None:  # known people may listen without a nickname
            self._enter_chat()
        else:
            self._expect("profile", self._config.profile_timeout, lambda: bool(self.nickname))
        given = {} if self.identity.given_name is None else {"nickname": self.identity.given_name}
        if self.identity.identity is not None:  # strangers could look up the faults of a version
            given["version"] = __version__
        return {
            "user": user,
            "session": self.session,
            **given,
            **({"known": True} if self.identity.identity is not None else {}),
            **({"resumed": True} if found.resumed else {}),
            **self.open_own_inbox(command.inbox),
            **self._resume(),
            **self._expires(),
        }

    def profile(self, command: commands.Profile) -> dict[str, Any]:
        """Sets or changes the nickname; returns the fields of the reply. Raises CommandError."""
        assert self.user is not None
        self.identity.check_name(command.nickname)
        self._check_nickname(command.nickname)
        about = self.about if command.about is None else check_about(command.about)
        if self.nickname and command.nickname != self.nickname:
            self._check_renaming()
        self.nickname, self.about = command.nickname, about
        self.connection.deadlines.clear("profile")
        self._enter_chat()
        self.renamed()
        return self._resume()

    def refresh(self, command: commands.Refresh) -> dict[str, Any]:
        """Replaces the token; returns the fields of the reply. If it is refused, the old one stays valid."""
        if self.identity.identity is None:
            reason = "you are anonymous on this connection; reconnect, and send the token with hello"
            raise CommandError(ErrorCode.BAD_REQUEST, reason)
        try:
            self.identity.renew(command.token)
        except BadToken as error:
            self._log_refusal(error)
            raise CommandError(ErrorCode.UNAUTHORIZED, "invalid token") from error
        self.screens = self.identity.screens
        return self._expires()

    def _expect(self, name: str, seconds: float, is_done: Callable[[], bool]) -> None:
        """Closes with 3502 in `seconds`, unless the deadline is cleared before.

        A command that has come but waits for its turn is in time. `is_done` tells whether one was handled
        while the deadline expired.
        """
        connection = self.connection
        give_up = lambda: None if is_done() else connection.close(CloseCode.STALE)  # noqa: E731
        connection.deadlines.give(name, seconds, give_up, connection.is_behind)

    def _show(self, token: str) -> bool:
        """Returns whether the token of a hello is valid; closes the connection (3500) if it is not."""
        try:
            self.identity.show(token)
        except (BadToken, CommandError) as error:
            self._log_refusal(error)
            self.connection.close(CloseCode.INVALID_TOKEN)
            return False
        self.screens = self.identity.screens
        return True

    def _log_refusal(self, error: Exception) -> None:
        number, label = self.connection.number, self.connection.label or "nobody"
        address = self.identity.address or "-"
        log.info("connection %d (%s) from %s: a token was refused: %s", number, label, address, error)

    def _check_nickname(self, asked: str | None) -> None:
        """Raises CommandError 107 for an invalid nickname. One given by the application is not checked."""
        if asked is not None and self.identity.given_name is None:
            self.names.nickname(asked)

    def _check_renaming(self) -> None:
        """Raises CommandError 111 if the nickname changed too often: each change is told in all rooms."""
        if self._renamings is None:
            self._renamings = TokenBucket(RENAMINGS / RENAMINGS_WINDOW, RENAMINGS, self._clock())
        if not self._renamings.take(1, self._clock()):
            reason = f"the nickname can change {RENAMINGS} times in {RENAMINGS_WINDOW:g} s; try again later"
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, reason)

    def _enter_chat(self) -> None:
        assert self.user is not None
        self.connection.label = f"user {spelled_id(self.user)} {self.nickname!r}"
        self.connection.advance(ConnectionState.IN_CHAT)

    def _resume(self) -> dict[str, Any]:
        return {"resume": users.resume_token(self.hub.broker, self.person, self.identity.issued)}

    def _expires(self) -> dict[str, Any]:
        return {} if self.identity.expires is None else {"expires": int(self.identity.expires)}
