"""Who is in a room: the people on this node, and the interface for a broker that adds those of others."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from threadchat.chat.log.events import ADD, JOIN, LEAVE, REMOVE, UserId


class Occupant(NamedTuple):
    """A person in a room. They have one session for each open window."""

    user: UserId
    nickname: str
    sessions: frozenset[str]
    about: str = ""


class Presence(Protocol):
    """Who is in one room, on all nodes.

    It is told of this node's people and is the only one to announce them. Every method may be called from any
    thread, but for one session by one thread at a time.
    """

    def enter(self, user: UserId, session: str, nickname: str, about: str) -> None:
        """A session on this node entered the room.

        Never fails: if it cannot be recorded now, that is done later.
        """

    def leave(self, user: UserId, session: str) -> None:
        """A session on this node that had entered has left. Never fails."""

    def rename(self, user: UserId, nickname: str, about: str) -> None:
        """A person on this node has a nickname, maybe a new one.

        Never fails: if it cannot be announced now, that is done later.
        """

    def who(self) -> list[Occupant]:
        """Everybody in the room. Raises CommandError 100, temporary, if that is unknown at the moment."""


class People:
    """The people whom one node has in a room, in memory. The owner does the locking."""

    def __init__(self) -> None:
        self._occupants: dict[UserId, Occupant] = {}
        self.changes = 0  # how often somebody entered, left or got another name

    def __len__(self) -> int:
        return len(self._occupants)

    def enter(self, user: UserId, session: str, nickname: str, about: str = "") -> str | None:
        """Adds a session. Returns `join` or `add`, or None if the session is in the room already."""
        occupant = self._occupants.get(user)
        sessions = occupant.sessions if occupant else frozenset()
        if session in sessions:
            return None
        self._occupants[user] = Occupant(user, nickname, sessions | {session}, about)
        self.changes += 1
        return ADD if sessions else JOIN

    def leave(self, user: UserId, session: str) -> tuple[str, Occupant] | None:
        """Removes a session. Returns `remove` or `leave`, and whose session it was.

        None if it is not in the room.
        """
        occupant = self._occupants.get(user)
        if occupant is None or session not in occupant.sessions:
            return None
        remaining = occupant.sessions - {session}
        if remaining:
            self._occupants[user] = occupant._replace(sessions=remaining)
        else:
            del self._occupants[user]
        self.changes += 1
        return (REMOVE if remaining else LEAVE), occupant

    def rename(self, user: UserId, nickname: str, about: str = "") -> str | None:
        """Sets a nickname. Returns the one before, or None if the person is not in the room."""
        occupant = self._occupants.get(user)
        if occupant is None:
            return None
        self._occupants[user] = occupant._replace(nickname=nickname, about=about)
        self.changes += 1
        return occupant.nickname

    def who(self) -> list[Occupant]:
        """Everybody in the room on this node."""
        return list(self._occupants.values())

    def has(self, user: UserId | None, session: str) -> bool:
        """Whether the session is in the room."""
        occupant = None if user is None else self._occupants.get(user)
        return occupant is not None and session in occupant.sessions
