"""Who is in a room: the people on this node, and what a broker that many nodes share adds to them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from threadchat.chat.log.events import ADD, JOIN, LEAVE, REMOVE, UserId


class Occupant(NamedTuple):
    """A person in a room, with as many sessions as they have windows open."""

    user: UserId
    nickname: str
    sessions: frozenset[str]
    about: str = ""


class Presence(Protocol):
    """Who is in one room on any node. Told of this node's people, it announces them; nobody else does.

    To be called on any thread, by one at a time for each session.
    """

    def enter(self, user: UserId, session: str, nickname: str, about: str) -> None:
        """A session came here. Never fails: what cannot be told now is told later."""

    def leave(self, user: UserId, session: str) -> None:
        """A session that came here left. Never fails."""

    def rename(self, user: UserId, nickname: str, about: str) -> None:
        """A person who is here calls themselves something else. Never fails."""

    def who(self) -> list[Occupant]:
        """Everybody in the room. Raises CommandError 100, temporary, where that cannot be found out."""


class People:
    """The people whom one node has in a room, in its memory. Its owner locks it."""

    def __init__(self) -> None:
        self._occupants: dict[UserId, Occupant] = {}

    def __len__(self) -> int:
        return len(self._occupants)

    def enter(self, user: UserId, session: str, nickname: str, about: str = "") -> str | None:
        """Notes a session; whether that is a `join` or an `add`, None where it is here already."""
        occupant = self._occupants.get(user)
        sessions = occupant.sessions if occupant else frozenset()
        if session in sessions:
            return None
        self._occupants[user] = Occupant(user, nickname, sessions | {session}, about)
        return ADD if sessions else JOIN

    def leave(self, user: UserId, session: str) -> tuple[str, Occupant] | None:
        """Forgets a session; whether that is a `remove` or a `leave`, and whose. None where it is not."""
        occupant = self._occupants.get(user)
        if occupant is None or session not in occupant.sessions:
            return None
        remaining = occupant.sessions - {session}
        if remaining:
            self._occupants[user] = occupant._replace(sessions=remaining)
        else:
            del self._occupants[user]
        return (REMOVE if remaining else LEAVE), occupant

    def rename(self, user: UserId, nickname: str, about: str = "") -> bool:
        """Notes a new nickname; False where that person is not here."""
        if user not in self._occupants:
            return False
        self._occupants[user] = self._occupants[user]._replace(nickname=nickname, about=about)
        return True

    def who(self) -> list[Occupant]:
        """Everybody here."""
        return list(self._occupants.values())

    def has(self, user: UserId | None, session: str) -> bool:
        """Whether that session is here."""
        occupant = None if user is None else self._occupants.get(user)
        return occupant is not None and session in occupant.sessions
