"""Which rooms there are in Redis, and which of them a node may have people in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time
from typing import Final

from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.log import RoomLog
from threadchat.chat.broker_interface import RoomInfo, fullest_first
from threadchat.chat.log.events import is_inbox
from threadchat.errors import CommandError, ErrorCode

PRUNED_AT_ONCE: Final = 20
"""KeyNames that are looked at, at random, each time: the list stays about as long as there are rooms."""
PROBES: Final = 32
"""Rooms that are looked at for an unused one to go in a new one's favour."""
CHUNK: Final = 200
"""Rooms in one round trip, so that others have their turn in between, in Redis and in this process."""
FRESH: Final = 50
"""Rooms up to which a list is made anew for each who asks; a longer one serves all for a while."""
SHORTEST_AGE: Final = 1.0
"""Seconds for which a longer list serves at least."""
SHARE: Final = 0.1
"""Part of the time that may go into making longer lists."""


class RoomIndex:
    """A list of names, some of rooms that Redis has forgotten meanwhile. To be used on any thread.

    All methods raise CommandError 100, temporary, where Redis is away. `_gathering` guards `_listed` and its
    times; it is held while the list is made, so that one thread at a time does that.
    """

    def __init__(
        self,
        names: KeyNames,
        connection: RedisConnection,
        log_of: Callable[[str], RoomLog],
        max_rooms: int,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`log_of` makes a room's log; there are `max_rooms` rooms in Redis, 0 for any number."""
        self._names = names
        self._connection = connection
        self._log_of = log_of
        self._max_rooms = max_rooms
        self._clock = clock
        self._gathering = threading.Lock()
        self._listed: list[RoomInfo] = []
        self._begun = self._stale_at = float("-inf")

    def exists(self, room: str) -> bool:
        """Whether there is such a room, and it is not closed."""
        return bool(self._describe([room])[0])

    def rooms(self) -> list[RoomInfo]:
        """All rooms, the fullest first. A long list may be some seconds old, and all who ask share it."""
        asked = self._clock()
        with self._gathering:
            if self._begun < asked and self._clock() >= self._stale_at:
                begun = self._clock()
                self._listed = self._gather()
                self._begun, now = begun, self._clock()
                long = len(self._listed) > FRESH
                self._stale_at = now + max(SHORTEST_AGE, (now - begun) / SHARE) if long else now
            return self._listed

    def register(self, node: str, rooms: Sequence[str]) -> None:
        """Notes that there are these rooms, and that a node may have people there."""
        rooms = [room for room in rooms if not is_inbox(room)]  # nobody asks for these by a list
        for start in range(0, len(rooms), CHUNK):
            self._connection.execute(*self._registration(node, rooms[start : start + CHUNK]))

    def admit(self, node: str, room: str) -> None:
        """Registers a room that is being opened; inboxes are not listed, and end by themselves.

        Where there are too many rooms in Redis, one that nobody uses goes. Raises CommandError 106,
        temporary, where none was found.
        """
        if is_inbox(room):
            return
        listed = "ZCARD", self._names.rooms
        _, added, count = self._connection.execute(*self._registration(node, [room]), listed)
        if not added or not self._max_rooms or count <= self._max_rooms or self._make_place(room):
            return
        self._connection.execute(
            ("SREM", self._names.rooms_of(node), room), ("ZREM", self._names.rooms, room)
        )
        reason = f"there are {count - 1} rooms in use on all nodes, and no more may be; try again later"
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)

    def forget(self, node: str, rooms: Iterable[str]) -> None:
        """Notes that a node has these rooms open no more."""
        if gone := list(rooms):
            self._connection.execute(("SREM", self._names.rooms_of(node), *gone))

    def prune(self) -> None:
        """Takes some names off the list whose rooms are gone; a node that has one open enters it again."""
        self._existing(self._sample(PRUNED_AT_ONCE))

    # Helpers

    def _registration(self, node: str, rooms: Sequence[str]) -> list[tuple[object, ...]]:
        now = int(time() * 1000)
        scored = [part for room in rooms for part in (now, room)]
        return [("SADD", self._names.rooms_of(node), *rooms), ("ZADD", self._names.rooms, "NX", *scored)]

    def _make_place(self, room: str) -> bool:
        """Has some rooms that nobody uses go, but not that one; whether there was any."""
        names = [name for name in self._sample(PROBES) if name != room]
        answers = (
            self._connection.execute(*[self._log_of(name).command("drop") for name in names]) if names else []
        )
        gone = [name for name, is_gone in zip(names, answers, strict=True) if is_gone]
        if gone:
            self._connection.execute(("ZREM", self._names.rooms, *gone))
        return bool(gone)

    def _sample(self, count: int) -> list[str]:
        found = self._connection.execute(("ZRANDMEMBER", self._names.rooms, count))[0]
        return [name.decode() for name in found]

    def _gather(self) -> list[RoomInfo]:
        found = self._connection.execute(("ZRANGE", self._names.rooms, 0, -1))[0]
        names = [name.decode() for name in found]
        parts = [self._existing(names[start : start + CHUNK]) for start in range(0, len(names), CHUNK)]
        return fullest_first(info for part in parts for info in part)

    def _existing(self, names: Sequence[str]) -> list[RoomInfo]:
        """The rooms of these names that there are; the others' names are taken off the list."""
        found = self._describe(names)
        gone = [name for name, info in zip(names, found, strict=True) if info is None]
        if gone:
            with contextlib.suppress(CommandError):  # who reads does not mind that Redis takes no writes
                self._connection.execute(("ZREM", self._names.rooms, *gone))
        return [info for info in found if info is not None]

    def _describe(self, names: Sequence[str]) -> list[RoomInfo | None]:
        questions = []
        for name in names:
            keys = self._names.room(name).keys
            questions += [("HMGET", keys.meta, "head", "closed"), ("HLEN", keys.people)]
        answers = self._connection.execute(*questions) if questions else []
        return [
            None if head is None or closed else RoomInfo(name, people, int(head))
            for name, (head, closed), people in zip(names, answers[::2], answers[1::2], strict=True)
        ]
