"""Keeps what all nodes store in Redis within a limit: one node at a time adds it up, and drops the oldest."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple

from threadchat.broker.redis.commands import Retention
from threadchat.broker.redis.connection import PAGE, RedisConnection, is_away
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.log import RoomLog
from threadchat.chat.log.events import is_inbox
from threadchat.chat.log.storage import StorageBudget
from threadchat.chat.memory_budget import level_of
from threadchat.errors import CommandError
from threadchat.wire.threads.worker_pool import WorkerPool

log = logging.getLogger(__name__)

CALM: Final = 10.0
"""Seconds after which the sum is out of date. Near the limit, a new one is made with every tick."""
LOCK: Final = 0.9
"""Minimum seconds between two sums, whichever node makes them."""
SHARE: Final = 0.1
"""The maximum share of time to spend on sums. While a long one is followed by a pause, the limit may be
exceeded by what is published meanwhile.
"""
UNUSED_FOR: Final = 10_000
"""Milliseconds after its last use from which on room.lua drops a room."""
ROOM: Final = 3000
"""Bytes that a room takes in addition to its events; measured with Redis 7."""
EVENT: Final = 40
"""Bytes that an event takes in addition to its JSON, of which Redis takes an eighth more."""
TELLING: Final = 60.0
"""Minimum seconds between two warnings."""


class Stored(NamedTuple):
    """A room or an inbox in Redis. `stamp` and `expiry` are in Unix time in milliseconds."""

    name: str
    bytes: int
    events: int
    stamp: int
    expiry: int

    @property
    def weight(self) -> int:
        """An estimate of the bytes of memory that it takes."""
        return self.bytes + self.bytes // 8 + self.events * EVENT + ROOM


class RedisStorage:
    """One node's part in it. Every node has its own estimate between two sums.

    Above the limit, rooms that nobody uses go first, those that were used last before the others. If that is
    not enough, the largest logs lose their oldest events. Neither happens to events that are younger than
    `history_age`, nor to inboxes: then publishing is refused until they are old enough.

    `_lock` guards `_inboxes`; it is a leaf. Everything else belongs to the heartbeat's thread, or to the one
    job that it has given to the workers.
    """

    def __init__(
        self,
        names: KeyNames,
        connection: RedisConnection,
        log_of: Callable[[str], RoomLog],
        retention: Retention,
        budget: StorageBudget,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`log_of` returns a room's log. `retention` is that of rooms."""
        self.budget = budget
        self._names = names
        self._connection = connection
        self._log_of = log_of
        self._retention = retention
        self._clock = clock
        self._lock = threading.Lock()
        self._inboxes: set[str] = set()  # in which this node has published since the last tick
        self._seen = b""  # the newest sum that this node knows
        self._due_at = self._told_at = -inf
        self._adding = False

    def admit(self, room: str, size: int, events: int) -> None:
        """Counts what is about to be published. Raises CommandError 106, temporary. Runs on: any thread."""
        self.budget.admit(size + size // 8 + events * EVENT)
        if is_inbox(room):  # no other list has it
            with self._lock:
                self._inboxes.add(room)

    def tick(self, node: str, workers: WorkerPool) -> None:
        """Takes over the newest sum, and has another one made if it is time.

        Raises CommandError if Redis is away. Runs on: the heartbeat's thread.
        """
        try:
            self._tick(node, workers)
        except CommandError as error:
            if is_away(error):
                raise
            log.info("what is stored in Redis will be added up later: %s", error)

    # Helpers

    def _tick(self, node: str, workers: WorkerPool) -> None:
        with self._lock:
            inboxes = list(self._inboxes)
        if inboxes:
            scored = [part for name in inboxes for part in (0, name)]
            self._connection.execute(("ZADD", self._names.inboxes, "NX", *scored))
            with self._lock:
                self._inboxes.difference_update(inboxes)
        self._take(self._connection.execute(("GET", self._names.storage))[0])
        if self._adding or not (self.budget.due or self._clock() >= self._due_at):
            return
        lock = "SET", self._names.storage_lock, node, "NX", "PX", int(LOCK * 1000)
        if self._connection.execute(lock)[0] is not None:
            self._adding = True
            if not workers.submit(lambda: self._sweep(node)):
                self._adding = False

    def _take(self, told: bytes | None) -> None:
        if told and told != self._seen:
            self._seen, self._due_at = told, self._clock() + CALM
            self.budget.measured(int(told.split(b" ")[0]))

    def _tell(self, total: int, since: int) -> None:
        """Tells all nodes the sum. `since` is what this node had published when it began to add up."""
        total += max(0, self.budget.unmeasured - since)
        told = b"%d %b" % (total, secrets.token_hex(4).encode())
        self._connection.execute(("SET", self._names.storage, told))
        self._take(told)

    def _sweep(self, node: str) -> None:
        """Adds everything up and drops what it must. Runs on: a worker's thread."""
        try:
            self._add_up(node)
        except CommandError as error:
            log.info("what is stored in Redis will be added up later: %s", error)
        finally:
            self._adding = False

    def _add_up(self, node: str) -> None:
        begun, since, refused = self._clock(), self.budget.unmeasured, self.budget.refused
        rooms = list({room.name: room for room in self._stored(self._names.rooms)}.values())
        kept = sum(inbox.weight for inbox in self._stored(self._names.inboxes))
        total = kept + sum(room.weight for room in rooms)
        if refused or total > self.budget.begin:
            self._warn(total)
            total = kept + self._shrink(rooms, self.budget.aim - kept)
        self._tell(total, since)
        pause = (self._clock() - begun) / SHARE
        if pause > LOCK:
            self._connection.execute(("SET", self._names.storage_lock, node, "PX", int(pause * 1000)))

    def _stored(self, index: str) -> Iterator[Stored]:
        """The rooms of a list; may yield one twice. Inboxes that are gone are removed from theirs."""
        fields = "bytes", "head", "floor", "stamp", "expiry"
        for page in self._connection.pages("ZSCAN", index):
            names = [name.decode() for name in page[::2]]
            metas = [self._names.room(name).keys.meta for name in names]
            answers = self._connection.execute(*[("HMGET", meta, *fields) for meta in metas]) if names else []
            gone = [name for name, answer in zip(names, answers, strict=True) if not answer[1]]
            if gone and index == self._names.inboxes:
                self._connection.execute(("ZREM", index, *gone))
            yield from [_read(*each) for each in zip(names, answers, strict=True) if each[1][1]]

    def _shrink(self, rooms: Sequence[Stored], most: int) -> int:
        """Drops and shortens rooms until they take `most` bytes. Returns what they take then."""
        seconds, micros = self._connection.execute(("TIME",))[0]
        now = int(seconds) * 1000 + int(micros) // 1000
        left = self._drop(sorted(rooms, key=lambda room: room.expiry), most, now)
        if self._retention.age:
            return sum(room.weight for room in left)
        left.sort(key=lambda room: room.weight, reverse=True)
        return self._shorten(left, most)

    def _drop(self, rooms: Sequence[Stored], most: int, now: int) -> list[Stored]:
        """Drops unused rooms, in this order. Returns the others."""
        latest = now + int(self._retention.room_ttl * 1000) - UNUSED_FOR
        oldest = now - int(self._retention.age * 1000)
        excess = sum(room.weight for room in rooms) - most
        asked: list[Stored] = []
        kept: list[Stored] = []
        for room in rooms:
            if excess > 0 and room.expiry <= latest and room.stamp <= oldest:
                asked.append(room)
                excess -= room.weight
            else:
                kept.append(room)
        for start in range(0, len(asked), PAGE):
            some = asked[start : start + PAGE]
            answers = self._connection.execute(*[self._log_of(room.name).command("drop") for room in some])
            gone = [room.name for room, is_gone in zip(some, answers, strict=True) if is_gone]
            if gone:
                self._connection.execute(("ZREM", self._names.rooms, *gone))
            kept += [room for room, is_gone in zip(some, answers, strict=True) if not is_gone]
        return kept

    def _shorten(self, rooms: Sequence[Stored], most: int) -> int:
        """Shortens the largest logs; they come first. Returns what all take then."""
        weights = [room.weight for room in rooms]
        total = sum(weights)
        if total <= most:
            return total
        level = max(ROOM, level_of(weights, most))
        large = [room for room in rooms if room.weight > level]
        for start in range(0, len(large), PAGE // 10):
            some = large[start : start + PAGE // 10]
            answers = self._connection.execute(
                *[
                    self._log_of(room.name).command("shorten", room.bytes * (level - ROOM) // room.weight)
                    for room in some
                ]
            )
            for room, (size, events) in zip(some, answers, strict=True):
                total -= room.weight - room._replace(bytes=size, events=events).weight
        return total

    def _warn(self, total: int) -> None:
        if self._clock() > self._told_at + TELLING:
            self._told_at = self._clock()
            what = "the rooms in Redis take about %d bytes of the %d that storage_bytes allows; the oldest go"
            log.warning(what, total, self.budget.most)


def _read(name: str, answer: Sequence[Any]) -> Stored:
    size, head, floor, stamp, expiry = answer
    return Stored(
        name, int(size or 0), int(head) - int(floor or 0), int((stamp or b"0")[:13]), int(expiry or 0)
    )
