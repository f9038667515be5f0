"""Who is online on this node: people by their ids, and the sessions of each."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from threadchat.chat.cluster import Reach
from threadchat.chat.events import Direct, UserId
from threadchat.chat.fanout import enter
from threadchat.wire.outbox import Answer


class Session(Protocol):
    """One connection of a person, as the hub sees it."""

    @property
    def user(self) -> UserId | None:
        """Whose it is; never None while the hub knows it."""

    @property
    def about(self) -> str:
        """What its user says of themselves; may be empty."""

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message or answers NO, at once. Runs on: the sender's thread."""

    def close(self, code: int) -> None:
        """Ends the connection; never blocks. Runs on: any thread."""


class Online:
    """Every method may be called from any thread, and none blocks.

    `_lock` guards `_sessions`; a leaf. Its tuples are replaced, never changed, so that
    a direct message reads them without the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[UserId, tuple[Session, ...]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, user: UserId) -> bool:
        return user in self._sessions

    def of(self, user: UserId) -> tuple[Session, ...]:
        """That user's sessions, the newest last."""
        return self._sessions.get(user, ())

    def arrive(self, session: Session) -> None:
        """Notes a session. Its `user` is set."""
        assert session.user is not None
        with self._lock:
            self._sessions[session.user] = (*self.of(session.user), session)

    def depart(self, session: Session) -> bool:
        """Forgets a session; False where it never arrived."""
        if session.user is None:
            return False
        with self._lock:
            sessions = self.of(session.user)
            remaining = tuple(other for other in sessions if other is not session)
            if remaining:
                self._sessions[session.user] = remaining
            else:
                self._sessions.pop(session.user, None)
            return len(remaining) < len(sessions)

    def offer(self, direct: Direct) -> Reach:
        """Offers a direct message to every session of the person whom it is for."""
        sessions = self.of(direct.to)
        if not sessions:
            return None
        listed: list[Any] = []
        try:
            answers = [session.offer_direct(direct, listed) for session in sessions]
        finally:
            enter(listed)
        return any(answer in (Answer.YES, Answer.HIGH) for answer in answers)

    def end(self, user: UserId, code: int) -> int:
        """Ends every connection of one person; returns how many there were."""
        sessions = self.of(user)
        for session in sessions:
            session.close(code)
        return len(sessions)
