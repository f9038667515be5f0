"""Who is online on this node: people by id, and the sessions of each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from threadchat.chat.access.blocks import MOST_BLOCKED_BY_STRANGER, MOST_STRANGERS, BlocksInMemory
from threadchat.chat.access.revocations import Proof
from threadchat.chat.access.sanctions import Sanction
from threadchat.chat.broker_interface import Reach
from threadchat.chat.log.events import TYPING, Direct, Record, UserId
from threadchat.chat.room import Room
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
        """The user's id. None if the user is unknown, or not known yet."""

    @property
    def about(self) -> str:
        """What the user says of themselves. May be empty."""

    @property
    def address(self) -> str:
        """The address that the connection comes from. Empty if unknown."""

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message, or answers NO or GONE. Never blocks. Runs on: the sender's thread."""

    @property
    def session(self) -> str:
        """The session's id. Empty if its dialect has none."""

    @property
    def has_inbox(self) -> bool:
        """Whether it is subscribed to its user's inbox, or will be as soon as there is something in it."""

    def open_inbox(self, inbox: Room) -> None:
        """Subscribes to the user's inbox, unless it is subscribed already. Raises RoomClosed.

        Runs on: any thread.
        """

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """Takes an event that comes from no room, or answers NO or GONE. Runs on: any thread.

        A `light` event is taken only if there is plenty of room, and replaces an older one of the same name.
        """

    def move(self, action: str, room: str) -> bool:
        """Joins, leaves, subscribes to or unsubscribes from a room. Returns whether that changed anything.

        May block. Raises CommandError. Runs on: any thread.
        """

    @property
    def proof(self) -> Proof:
        """What proves who the user is."""

    def close(self, code: int, reason: str | None = None) -> None:
        """Closes the connection. Never blocks. With `reason` None, uses the code's own.

        Runs on: any thread.
        """

    def evict(self, room: str, reason: str) -> bool:
        """Ends its membership or subscription in a room and tells the peer. Returns whether it had one.

        Blocks as long as announcing takes. Runs on: any thread.
        """


class UserDirectory:
    """Every method may be called from any thread.

    Methods that change a membership or a subscription may block. `_lock` guards `_sessions` and `_present`
    and is a leaf. Tuples of sessions are replaced, never changed, so a direct message reads them without the
    lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[UserId, tuple[Session, ...]] = {}
        self._present: set[Session] = set()  # all sessions, with a user or without
        self.blocks = BlocksInMemory(MOST_BLOCKED_BY_STRANGER, MOST_STRANGERS, self.__contains__)
        """The lists of people without an inbox."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, user: UserId) -> bool:
        return user in self._sessions

    def of(self, user: UserId) -> tuple[Session, ...]:
        """The user's sessions, the newest last."""
        return self._sessions.get(user, ())

    def attend(self, session: Session) -> None:
        """Adds a session that has no user yet. From now on its address can be looked up."""
        with self._lock:
            self._present.add(session)

    def arrive(self, session: Session) -> None:
        """Adds a session under its user, which must be set."""
        assert session.user is not None
        with self._lock:
            self._present.add(session)
            self._sessions[session.user] = (*self.of(session.user), session)

    def leave(self, session: Session) -> None:
        """Removes a session that has no user any more."""
        with self._lock:
            self._present.discard(session)

    def depart(self, session: Session) -> bool:
        """Removes a session from its user. Returns False if it never arrived."""
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
        """Forgets everybody in a forked process. Runs on: its only thread, first."""
        self.__init__()  # type: ignore[misc]

    def offer(self, direct: Direct) -> Reach:
        """Offers a direct message to every session of the person whom it is for.

        Who has only sessions that are gone, or that take none, or blocks the sender, is not online for it.
        """
        sessions = self.of(direct.to)
        if not sessions or (direct.sender is not None and self.blocks.holds(direct.to, direct.sender)):
            return None
        answers = entering(lambda listed: [session.offer_direct(direct, listed) for session in sessions])
        if Answer.YES in answers or Answer.HIGH in answers:
            return True
        return False if Answer.NO in answers else None

    def notify(self, user: UserId, told: Record, *, kept: bool = False) -> bool:
        """Offers an event to a person's sessions. Returns whether there are any.

        A `kept` event is offered only to sessions without an inbox, and not as a light one.
        """
        sessions = self.of(user)
        event = told.event
        if event.type == TYPING and event.user is not None and self.blocks.holds(user, event.user):
            return False

        def offer(listed: list[Any]) -> None:
            for session in sessions:
                skipped = told.event.skip != "" and session.session == told.event.skip
                if not skipped and not (kept and session.has_inbox):
                    session.offer_event(told, listed, light=not kept)

        entering(offer)
        return bool(sessions)

    def open_inbox(self, user: UserId, inbox: Room) -> None:
        """Subscribes a person's sessions to their inbox. Raises RoomClosed."""
        for session in self.of(user):
            session.open_inbox(inbox)

    def sessions(self, user: UserId) -> list[str]:
        """The ids of those of a person's sessions that have an id."""
        return [session.session for session in self.of(user) if session.session]

    def move(self, user: UserId, action: str, room: str) -> int:
        """Makes a person's sessions do `action` in a room. Returns for how many it changed anything.

        May block.
        """
        moved = 0
        for session in self.of(user):
            try:
                moved += session.move(action, room)
            except (CommandError, RoomClosed) as error:
                log.info("a session of user %s could not %s room %r: %s", user, action, room, error)
        return moved

    def end(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Closes every connection of one person. Returns how many there were."""
        sessions = self.of(user)
        for session in sessions:
            session.close(code, reason)
        return len(sessions)

    def evict(self, user: UserId, room: str, reason: str) -> int:
        """Ends a person's memberships and subscriptions in a room. Returns how many sessions had one."""
        return sum([session.evict(room, reason) for session in self.of(user)])

    def addresses(self, user: UserId) -> set[str]:
        """The addresses of one person's connections."""
        return {session.address for session in self.of(user)} - {""}

    def carry_out(self, ban: Sanction, covers: Covers) -> None:
        """Ends everything that a new ban forbids. A mute ends nothing."""
        with self._lock:
            present = list(self._present)
        for session in present:
            if not covers(ban, session.user, session.address):
                continue
            if ban.room:
                session.evict(ban.room, ban.sentence())
            else:
                session.close(CloseCode.FORCE_DISCONNECT, ban.sentence())
