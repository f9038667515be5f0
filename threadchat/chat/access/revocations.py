"""Revocations: of everything that was issued to a user before a time, and of single tokens."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from threadchat.chat.access.sanctions import MOST, Sanction, Sanctions, Subject, subject_for
from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import spelled_id
from threadchat.errors import CloseCode, CommandError, ErrorCode

log = logging.getLogger(__name__)

KEPT: Final = 30 * 86_400.0
"""Seconds for which a revocation is remembered by default: longer than any token should be valid."""
MOST_LOGOUTS: Final = MOST // 2
"""The share of all revocations for people who logged out. The rest is left for the application."""

_USER: Final = "user"  # by the application
_LOGOUT: Final = "logout"  # by the person
_TOKEN: Final = "token"  # of a single token


class Revocation(Sanction, frozen=True, array_like=True, gc=False):
    """Ends what was issued to a user (`subject`) up to `since`, in Unix time; or one token of the user `by`.

    It is stored, and made known to all nodes, in the same way as a ban. `until` is when it is forgotten.
    """

    since: float = 0.0


class Proof(NamedTuple):
    """What proves who somebody is: when it was issued, in Unix time, and the id of a token, if it is one."""

    issued: float
    token: str = ""


class ProvenSession(Protocol):
    """One connection of a person, as far as revocations need it."""

    @property
    def proof(self) -> Proof: ...

    def close(self, code: int, reason: str | None = None) -> None: ...


class Revocations:
    """The revocations of a hub. `store` keeps them, for the time that each is given; all nodes have all.

    Every method may be called from any thread. Changes raise CommandError as those of `Sanctions` do.
    """

    def __init__(self, store: Sanctions, sessions_of: Callable[[UserId], tuple[ProvenSession, ...]]) -> None:
        """`sessions_of` returns a person's sessions on this node. Those that a revocation ends are closed."""
        self._store = store
        self._sessions_of = sessions_of
        store.connect(self._carry_out)

    def now(self) -> float:
        """Unix time."""
        return self._store.clock()

    def revoke(self, user: UserId, seconds: float, token: str = "") -> None:
        """Ends everything issued to a user so far, or only the token with that id. Closes connections.

        It is remembered for `seconds`.
        """
        kind, subject = (_TOKEN, _subject_of(token)) if token else (_USER, subject_for(user))
        self._impose(kind, subject, user, self.now() + seconds)

    def log_out(self, user: UserId, until: float, token: str = "") -> None:
        """Ends everything issued to a stranger so far, or the token of a known user; see `revoke`.

        Raises CommandError 106, temporary, if too many people have logged out lately.
        """
        logouts = sum(item.reason == _LOGOUT for item in self._store.list())
        if logouts >= MOST_LOGOUTS:
            reason = "too many people have logged out lately; discard what you have, and it will expire"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)
        kind, subject = (_TOKEN, _subject_of(token)) if token else (_LOGOUT, subject_for(user))
        self._impose(kind, subject, user, until, reason=_LOGOUT)

    def refuses(self, user: UserId, proof: Proof) -> bool:
        """Whether something that proves who somebody is has been revoked."""
        if not self._store.by_subject:
            return False
        subject = subject_for(user)
        for kind in (_USER, _LOGOUT):
            found = self._store.find(kind, subject)
            if isinstance(found, Revocation) and proof.issued <= found.since:
                return True
        return proof.token != "" and self._store.find(_TOKEN, _subject_of(proof.token)) is not None

    def await_loaded(self) -> None:
        """Waits a moment until this node knows the revocations. Raises CommandError 100 if it does not."""
        self._store.await_loaded()

    def _impose(self, kind: str, subject: Subject, user: UserId, until: float, *, reason: str = "") -> None:
        before = self._store.find(kind, subject)
        last = math.ceil(until)
        if before is not None and before.until is not None:
            last = max(last, before.until)  # it also ends what the earlier one ended
        self._store.impose(Revocation(kind, subject, "", last, reason, user, self.now()))

    def _carry_out(self, revocation: Sanction) -> None:
        user = revocation.by
        if user is None:
            return
        ended = [session for session in self._sessions_of(user) if self.refuses(user, session.proof)]
        for session in ended:
            session.close(CloseCode.FORCE_DISCONNECT, REVOKED)
        log.info("what user %s had was revoked; %d connections ended", spelled_id(user), len(ended))


REVOKED: Final = "revoked; sign in again"
"""The reason in the Close of a connection that a revocation ends."""


def _subject_of(token: str) -> Subject:
    """The subject that stands for a token. Ids of any length become equally long."""
    return subject_for(hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest())
