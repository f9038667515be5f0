"""Which rooms there are in Redis, and which of them a node may have people in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import time
from typing import Final

from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.chat.broker_interface import RoomInfo
from threadchat.chat.log.events import is_inbox

PRUNED_AT_ONCE: Final = 20
"""KeyNames that are looked at, at random, each time: the list stays about as long as there are rooms."""


class RoomIndex:
    """A list of names, some of rooms that Redis has forgotten meanwhile. To be used on any thread.

    All methods raise CommandError 100, temporary, where Redis is away.
    """

    def __init__(self, names: KeyNames, connection: RedisConnection) -> None:
        self._names = names
        self._connection = connection

    def exists(self, room: str) -> bool:
        """Whether there is such a room, and it is not closed."""
        return bool(self._describe([room])[0])

    def rooms(self) -> list[RoomInfo]:
        """All rooms, the oldest first."""
        names = [name.decode() for name in self._connection.execute(("ZRANGE", self._names.rooms, 0, -1))[0]]
        return [info for info in self._describe(names) if info is not None]

    def register(self, node: str, rooms: Sequence[str]) -> None:
        """Notes that there are these rooms, and that a node may have people there."""
        rooms = [room for room in rooms if not is_inbox(room)]  # nobody asks for these by a list
        if rooms:
            now = int(time() * 1000)
            scored = [part for room in rooms for part in (now, room)]
            self._connection.execute(
                ("SADD", self._names.rooms_of(node), *rooms), ("ZADD", self._names.rooms, "NX", *scored)
            )

    def forget(self, node: str, rooms: Iterable[str]) -> None:
        """Notes that a node has these rooms open no more."""
        if gone := list(rooms):
            self._connection.execute(("SREM", self._names.rooms_of(node), *gone))

    def prune(self) -> None:
        """Takes some names off the list whose rooms are gone; a node that has one open enters it again."""
        found = self._connection.execute(("ZRANDMEMBER", self._names.rooms, PRUNED_AT_ONCE))[0]
        names = [name.decode() for name in found]
        gone = [name for name, info in zip(names, self._describe(names), strict=True) if info is None]
        if gone:
            self._connection.execute(("ZREM", self._names.rooms, *gone))

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
