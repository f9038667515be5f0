"""Who is admitted besides those whom the application authenticates: people with a token, or anybody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from threadchat.chat.access.revocations import REVOKED, Proof, Revocations
from threadchat.chat.log.events import UserId
from threadchat.config.settings import Config
from threadchat.errors import BadToken, Refuse
from threadchat.server.auth.failures import Failures
from threadchat.server.auth.known_names import KnownNames
from threadchat.server.auth.tokens import Pass, Tokens

log = logging.getLogger(__name__)


class Admission(NamedTuple):
    """Who is admitted besides those whom the application authenticates."""

    tokens: Tokens | None = None
    anonymous: bool = True
    failures: Failures | None = None
    known_names: KnownNames | None = None
    revocations: Revocations | None = None

    @staticmethod
    def of(
        config: Config,
        tokens: Tokens | None,
        anonymous: bool | None,
        failures: Failures,
        revocations: Revocations,
    ) -> Admission:
        """The admission of one chat. `anonymous`, if not None, replaces the setting."""
        if anonymous is None:
            anonymous = config.admits_anonymous
            if tokens is not None and config.anonymous == "auto":
                name = "token_keys" if config.token_keys else "token_key"
                log.info("%s is set: only people with a token may connect, unless anonymous is yes", name)
        return Admission(tokens, anonymous, failures, KnownNames(), revocations)

    def verify(self, tokens: Tokens, token: str, failed: Callable[[Failures], None]) -> Pass:
        """Verifies a token and returns its content. Calls `failed` for a bad one and raises BadToken."""
        try:
            shown = tokens.verify(token)
            if self.revocations is not None and self.revocations.refuses(shown.user.id, shown.proof):
                raise BadToken("it was revoked")
            return shown
        except BadToken:
            if self.failures is not None:
                failed(self.failures)
            raise

    def check_revoked(self, user: UserId, proof: Proof) -> None:
        """Raises CommandError 103 for what was revoked, and 100 while this node does not know what was."""
        if self.revocations is not None:
            self.revocations.await_loaded()
            if self.revocations.refuses(user, proof):
                raise Refuse(REVOKED)

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        for part in (self.failures, self.known_names):
            if part is not None:
                part.leave_behind()


ANYBODY: Final = Admission()
