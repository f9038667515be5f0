"""The list of rooms in Redis, and for each node the rooms in which it may have people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import time
from typing import Final

from threadchat.broker.redis.connection import PAGE, RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.log import RoomLog
from threadchat.chat.broker_interface import RoomInfo, fullest_first
from threadchat.chat.log.events import Position, is_inbox
from threadchat.chat.log.sequencer import Page
from threadchat.errors import CommandError, ErrorCode

PRUNED_AT_ONCE: Final = 20
"""The number of names, picked at random, to check each time, so that the list does not outgrow the rooms."""
PROBES: Final = 32
"""The number of rooms to check for an unused one that can be dropped for a new one."""


class RoomIndex:
    """A list of room names. Redis may have forgotten some of the rooms.

    Every method may be called from any thread. All methods raise CommandError 100, temporary, if Redis is
    away.
    """

    def __init__(
        self,
        names: KeyNames,
        connection: RedisConnection,
        log_of: Callable[[str], RoomLog],
        max_rooms: int,
    ) -> None:
        """`log_of` returns a room's log. Redis may have `max_rooms` rooms (0: any number)."""
        self._names = names
        self._connection = connection
        self._log_of = log_of
        self._max_rooms = max_rooms

    def exists(self, room: str) -> bool:
        """Whether the room exists and is not closed."""
        return bool(self._describe([room])[0])

    def rooms(self) -> list[RoomInfo]:
        """All rooms, the fullest first."""
        found: dict[str, RoomInfo] = {}  # a scan may name a room twice
        for page in self._connection.pages("ZSCAN", self._names.rooms):
            found.update((info.name, info) for info in self._existing([name.decode() for name in page[::2]]))
        return fullest_first(found.values())

    def rooms_of(self, node: str) -> Iterator[str]:
        """The rooms in which a node may have people. May name a room twice."""
        for page in self._connection.pages("SSCAN", self._names.rooms_of(node)):
            yield from [name.decode() for name in page]

    def register(self, node: str, rooms: Sequence[str]) -> None:
        """Notes that these rooms exist, and that a node may have people in them."""
        rooms = [room for room in rooms if not is_inbox(room)]  # inboxes are not listed
        for start in range(0, len(rooms), PAGE):
            self._connection.execute(*self._registration(node, rooms[start : start + PAGE]))

    def admit(self, node: str, room: str) -> None:
        """Registers a room that is being opened. Inboxes are not registered; they expire by themselves.

        If Redis has too many rooms, drops an unused one. Raises CommandError 106, temporary, if none is
        found.
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
        reason = f"there are {count - 1} rooms in use on all nodes, which is the maximum; try again later"
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)

    def forget(self, node: str, rooms: Iterable[str]) -> None:
        """Notes that a node no longer has these rooms open."""
        if gone := list(rooms):
            self._connection.execute(("SREM", self._names.rooms_of(node), *gone))

    def prune(self) -> None:
        """Removes some names whose rooms are gone. A node that has such a room open registers it again."""
        self._existing(self._sample(PRUNED_AT_ONCE))

    # Helpers

    def _registration(self, node: str, rooms: Sequence[str]) -> list[tuple[object, ...]]:
        now = int(time() * 1000)
        scored = [part for room in rooms for part in (now, room)]
        return [("SADD", self._names.rooms_of(node), *rooms), ("ZADD", self._names.rooms, "NX", *scored)]

    def _make_place(self, room: str) -> bool:
        """Drops some unused rooms other than `room`. Returns whether there was one."""
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

    def _existing(self, names: Sequence[str]) -> list[RoomInfo]:
        """The rooms of these names that exist. The other names are removed from the list."""
        found = self._describe(names)
        gone = [name for name, info in zip(names, found, strict=True) if info is None]
        if gone:
            with contextlib.suppress(CommandError):  # a reader does not depend on this write
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


class SharedRooms:
    """The part of a broker that knows rooms that are not open on this node; see Cluster."""

    room_index: RoomIndex

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster."""
        raise NotImplementedError("RedisBroker implements this")

    def log_of(self, room: str) -> RoomLog:
        """The log of a room, open here or not."""
        raise NotImplementedError("RedisBroker implements this")

    def exists(self, room: str) -> bool:
        """See Cluster."""
        self.await_ready()
        return self.room_index.exists(room)

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        """See Cluster."""
        self.await_ready()
        return self.room_index.rooms()

    def read_log(self, room: str, since: Position | None, limit: int) -> Page | None:
        """See Cluster."""
        return self.log_of(room).history(since, limit, reverse=False) if self.exists(room) else None
