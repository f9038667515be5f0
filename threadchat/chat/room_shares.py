"""Counts the open rooms by who created them, so that nobody takes all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple


class Opener(NamedTuple):
    """A person or an address that creates rooms, and how many of these may be open at the same time.

    `phrase` and `setting` are the words for it in the reason of a refusal.
    """

    key: Hashable
    most: int
    phrase: str
    setting: str


Openers = tuple[Opener, ...]
NOBODY: Final[Openers] = ()
"""A room of the application's or an operator's counts for nobody."""


class RoomShares:
    """The creators of the open rooms. It has no lock of its own: its owner calls it while holding one."""

    def __init__(self) -> None:
        self._openers: dict[str, Openers] = {}
        self._rooms: dict[Hashable, OrderedDict[str, None]] = {}  # by opener; the next to try comes first

    def full(self, openers: Iterable[Opener]) -> Opener | None:
        """The first of these that may not create another room."""
        return next((each for each in openers if self.count(each) >= each.most), None)

    def count(self, opener: Opener) -> int:
        """The number of open rooms of one opener."""
        return len(self._rooms.get(opener.key, ()))

    def largest(self, openers: Iterable[Opener]) -> int:
        """The number of open rooms of that opener who has the most."""
        return max(map(self.count, openers), default=0)

    def by_opener(self) -> list[tuple[str, ...]]:
        """The names of the rooms of each opener."""
        return [tuple(rooms) for rooms in self._rooms.values()]

    def add(self, room: str, openers: Openers) -> None:
        """Counts a room that is being opened."""
        self.remove(room)
        if openers:
            self._openers[room] = openers
        for opener in openers:
            self._rooms.setdefault(opener.key, OrderedDict())[room] = None

    def remove(self, room: str) -> None:
        """Uncounts a room that is forgotten."""
        for opener in self._openers.pop(room, NOBODY):
            rooms = self._rooms[opener.key]
            del rooms[room]
            if not rooms:
                del self._rooms[opener.key]

    def next_of(self, opener: Opener) -> str:
        """One of an opener's rooms, and each time another one; empty if there is none."""
        rooms = self._rooms.get(opener.key)
        if not rooms:
            return ""
        room = next(iter(rooms))
        rooms.move_to_end(room)
        return room
