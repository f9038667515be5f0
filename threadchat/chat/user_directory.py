"""Who is online on this node: people by their ids, and the sessions of each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from threadchat.chat.broker_interface import Reach
from threadchat.chat.log.events import Direct, Record, UserId
from threadchat.chat.room import Room
from threadchat.chat.sanctions import Sanction
from threadchat.errors import CloseCode, CommandError, RoomClosed
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer

log = logging.getLogger(__name__)

Covers = Callable[[Sanction, UserId | None, str], bool]
"""Whether a sanction is against a user or an address."""


class Session(Protocol):
    """One connection of a person, as the hub sees it."""

    @property
    def user(self) -> UserId | None:
        """Whose it is; None for nobody known, or nobody yet."""

    @property
    def about(self) -> str:
        """What its user says of themselves; may be empty."""

    @property
    def address(self) -> str:
        """Where it comes from; empty where that is unknown."""

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message or answers NO, or GONE, at once. Runs on: the sender's thread."""

    @property
    def session(self) -> str:
        """Its id; empty where its dialect has none."""

    @property
    def has_inbox(self) -> bool:
        """Whether it listens to its person's inbox, or will as soon as there is anything in it."""

    def open_inbox(self, inbox: Room) -> None:
        """Listens to its person's inbox, if it does not yet. Raises RoomClosed. Runs on: any thread."""

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """Takes an event for its person from no room, or answers NO, or GONE. Runs on: any thread.

        A `light` one it takes only with room to spare, and in the place of an older one of that name.
        """

    def move(self, deed: str, room: str) -> bool:
        """Joins, leaves, subscribes to or unsubscribes from a room; whether that changed anything.

        May wait. Raises CommandError. Runs on: any thread.
        """

    def close(self, code: int, reason: str | None = None) -> None:
        """Ends the connection; never blocks. `reason` None is the code's own. Runs on: any thread."""

    def evict(self, room: str, reason: str) -> bool:
        """Ends what it has in a room and says so to the peer; whether there was anything.

        May wait, as long as announcing that takes. Runs on: any thread.
        """


class UserDirectory:
    """Every method may be called from any thread, and none blocks but those that evict.

    `_lock` guards `_sessions` and `_present`; a leaf. Tuples of sessions are replaced, never changed, so
    that a direct message reads them without the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[UserId, tuple[Session, ...]] = {}
        self._present: set[Session] = set()  # these, and those who have no user, or none yet

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, user: UserId) -> bool:
        return user in self._sessions

    def of(self, user: UserId) -> tuple[Session, ...]:
        """That user's sessions, the newest last."""
        return self._sessions.get(user, ())

    def attend(self, session: Session) -> None:
        """Notes a session of nobody yet: it can be found by its address from here on."""
        with self._lock:
            self._present.add(session)

    def arrive(self, session: Session) -> None:
        """Notes a session's user, which is set."""
        assert session.user is not None
        with self._lock:
            self._present.add(session)
            self._sessions[session.user] = (*self.of(session.user), session)

    def leave(self, session: Session) -> None:
        """Forgets a session that is not a user's any more."""
        with self._lock:
            self._present.discard(session)

    def depart(self, session: Session) -> bool:
        """Forgets whose a session is; False where it never arrived."""
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

    def leave_behind(self) -> None:
        """Begins anew in a forked process, whose parent has the rest. Runs on: its only thread, first."""
        self.__init__()  # type: ignore[misc]

    def offer(self, direct: Direct) -> Reach:
        """Offers a direct message to every session of the person whom it is for.

        Who has only sessions that are gone, or that take none, is not online for it.
        """
        sessions = self.of(direct.to)
        if not sessions:
            return None
        answers = entering(lambda listed: [session.offer_direct(direct, listed) for session in sessions])
        if all(answer is Answer.GONE for answer in answers):
            return None
        return any(answer in (Answer.YES, Answer.HIGH) for answer in answers)

    def notify(self, user: UserId, told: Record, *, kept: bool = False) -> bool:
        """Offers an event to a person's sessions; whether there are any.

        What is `kept` goes to those without an inbox only, and gives way to nothing.
        """
        sessions = self.of(user)

        def offer(listed: list[Any]) -> None:
            for session in sessions:
                skipped = told.event.skip != "" and session.session == told.event.skip
                if not skipped and not (kept and session.has_inbox):
                    session.offer_event(told, listed, light=not kept)

        entering(offer)
        return bool(sessions)

    def open_inbox(self, user: UserId, inbox: Room) -> None:
        """Has a person's sessions listen to their inbox. Raises RoomClosed."""
        for session in self.of(user):
            session.open_inbox(inbox)

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions that have one."""
        return [session.session for session in self.of(user) if session.session]

    def move(self, user: UserId, deed: str, room: str) -> int:
        """Has a person's sessions do that in a room; how many did, that had not. May wait."""
        moved = 0
        for session in self.of(user):
            try:
                moved += session.move(deed, room)
            except (CommandError, RoomClosed) as error:
                log.info("a session of user %s could not %s room %r: %s", user, deed, room, error)
        return moved

    def end(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Ends every connection of one person; returns how many there were."""
        sessions = self.of(user)
        for session in sessions:
            session.close(code, reason)
        return len(sessions)

    def evict(self, user: UserId, room: str, reason: str) -> int:
        """Ends what one person has in a room; returns in how many sessions there was something."""
        return sum([session.evict(room, reason) for session in self.of(user)])

    def addresses(self, user: UserId) -> set[str]:
        """Where one person's sessions come from."""
        return {session.address for session in self.of(user)} - {""}

    def carry_out(self, ban: Sanction, covers: Covers) -> None:
        """Ends all that a new ban ends. A mute ends nothing."""
        with self._lock:
            present = list(self._present)
        for session in present:
            if not covers(ban, session.user, session.address):
                continue
            if ban.room:
                session.evict(ban.room, ban.sentence())
            else:
                session.close(CloseCode.FORCE_DISCONNECT, ban.sentence())
