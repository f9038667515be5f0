"""Keeps up to where each known person has read each room, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from threadchat.chat.log.events import Position, UserId

MAX_READ_ROOMS: Final = 200
"""The number of rooms of which one person's position is kept. Above it, those go that were read least
recently."""
MAX_READERS: Final = 10_000
"""The number of people whose positions are kept in memory. Above it, those go who read least recently."""


class ReadPositions:
    """Positions only advance; in a new log they begin anew. Every method may be called from any thread.

    `_lock` guards everything here and is a leaf.
    """

    def __init__(self, max_readers: int = MAX_READERS) -> None:
        self._max_readers = max_readers
        self._lock = threading.Lock()
        self._readers: OrderedDict[UserId, dict[str, Position]] = OrderedDict()

    def of(self, user: UserId) -> dict[str, Position]:
        """A person's positions by room; the room that was read last comes last.

        Raises CommandError 100 if the broker is away.
        """
        with self._lock:
            return dict(self._readers.get(user, ()))

    def advance(self, user: UserId, room: str, position: Position) -> bool:
        """Notes a position, unless the one before is in the same log and as far; returns whether it did.

        Raises CommandError 100 if the broker is away.
        """
        with self._lock:
            rooms = self._readers.setdefault(user, {})
            if not advances(rooms.get(room), position):
                return False
            rooms.pop(room, None)
            rooms[room] = position  # at the end
            if len(rooms) > MAX_READ_ROOMS:
                del rooms[next(iter(rooms))]
            self._readers.move_to_end(user)
            if len(self._readers) > self._max_readers:
                self._readers.popitem(last=False)
            return True

    def leave_behind(self) -> None:
        """Starts from scratch. Runs on: the only thread of a forked process, before anything else."""
        self.__init__(self._max_readers)  # type: ignore[misc]


def advances(before: Position | None, position: Position) -> bool:
    """Whether a position says more than the one before."""
    return before is None or before.epoch != position.epoch or before.offset < position.offset
