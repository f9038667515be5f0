"""The users by nickname of one room, kept from one mention to the next."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from threadchat.chat.log.events import JOIN, MESSAGE, RENAME, Event, UserId
from threadchat.chat.presence import Occupant
from threadchat.errors import CommandError

MAX_AGE: Final = 2.0
"""Seconds after which the names are collected anew: who has left is forgotten, and so many people as come
without an event, or on other nodes, are known.
"""
_WRITING: Final = frozenset({MESSAGE})
_TELLING: Final = frozenset({MESSAGE, JOIN, RENAME})
_FIRST_WORD: Final = re.compile(r"[^\W_]+|.", re.DOTALL)


class Names(dict[str, tuple[UserId, ...]]):
    """Users by nickname, in small letters. One thread adds while others look up; no entry is ever changed."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths: dict[str, tuple[int, ...]] = {}  # of the names that begin with a word
        self._longest = 1  # one letter more than the longest of these words has: nobody's word is longer

    def add(self, nickname: str, user: UserId) -> None:
        """Adds a user, unless they are there."""
        name = nickname.casefold()
        users = self.get(name, ())
        if user in users:
            return
        self[name] = (*users, user)
        if word := _FIRST_WORD.match(name):
            self._longest = max(self._longest, len(word[0]) + 1)  # first, for those who look up meanwhile
            lengths = self._lengths.get(word[0], ())
            if len(name) not in lengths:
                self._lengths[word[0]] = tuple(sorted((*lengths, len(name)), reverse=True))

    def lengths_at(self, text: str, start: int) -> tuple[int, ...]:
        """How long a name may be that begins as `text` does at `start`, the longest first.

        A thousand people may be called "guest" and a number: looking at lengths is no more work for that.
        """
        word = _FIRST_WORD.match(text, start, start + self._longest)
        return self._lengths.get(word[0], ()) if word else ()


class Source(Protocol):
    """A room, as the names need it."""

    @property
    def changes(self) -> int:
        """How often the people of this node in the room have changed."""

    def events_after(self, offset: int) -> tuple[list[Event], int]:
        """The events after an offset that are still in the log, and the offset of the newest."""

    def who(self) -> list[Occupant]:
        """Everybody in the room, on all nodes. May block. Raises CommandError 100."""

    def who_is_here(self) -> list[Occupant]:
        """Everybody in the room on this node."""


class RoomNames:
    """Who is in a room, and who wrote what is in its log. Every method may be called from any thread.

    Only what is new is looked at, because a busy room has a mention in every other message. `_lock` guards
    everything here; the locks of the room are acquired under it.
    """

    __slots__ = ("_changes", "_clock", "_collected_at", "_lock", "_names", "_seen")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._names: Names | None = None
        self._collected_at = 0.0
        self._seen = 0  # the offset up to which events are in the names
        self._changes = 0  # those of the people here that are in the names

    def current(self, room: Source) -> Names:
        """The users by nickname. If the broker is away, those who are only on other nodes are left out.

        May block.
        """
        with self._lock:
            names = self._names
            if names is not None and self._clock() < self._collected_at + MAX_AGE:
                events, self._seen = room.events_after(self._seen)
                _add(names, events, _TELLING)
                if room.changes != self._changes:
                    self._changes = room.changes
                    _add_people(names, room.who_is_here())
                return names
        names, changes = Names(), room.changes
        events, newest = room.events_after(0)
        _add(names, events, _WRITING)
        try:
            _add_people(names, room.who())  # without the lock: the broker may make it wait
        except CommandError:
            _add(names, events, _TELLING)
            _add_people(names, room.who_is_here())
        with self._lock:
            self._names, self._seen, self._changes = names, newest, changes
            self._collected_at = self._clock()
        return names


def _add(names: Names, events: Iterable[Event], types: frozenset[str]) -> None:
    for event in events:
        if event.type in types and event.user is not None and event.nickname:
            names.add(event.nickname, event.user)


def _add_people(names: Names, people: Iterable[Occupant]) -> None:
    for occupant in people:
        names.add(occupant.nickname, occupant.user)
