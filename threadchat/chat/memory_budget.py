"""Bounds the memory that the logs of all rooms take together: above it, the largest get shorter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Final, NamedTuple

from threadchat.chat.room import Room
from threadchat.wire.threads.periodic import Periodic, rest_for
from threadchat.wire.threads.reports import REPORTS

log = logging.getLogger(__name__)

TELLING: Final = 60.0
"""Seconds for which no second warning follows one."""


class Weighed(NamedTuple):
    """A room, and the bytes of memory that its log took a moment ago."""

    weight: int
    room: Room


class MemoryBudget:
    """Looks at all logs now and then, as long as there are rooms; writing to one costs nothing more.

    So between two looks the logs may grow by what comes in meanwhile. Where they take more than they may,
    the largest drop their oldest events until all fit, and so that the longest that are left are alike;
    those of rooms that nobody is in do so first.
    """

    def __init__(
        self,
        rooms: Callable[[], list[Room]],
        schedule: Callable[[float, Callable[[], None]], object],
        most: int,
    ) -> None:
        """`most` bytes may the logs of `rooms` take. `schedule` is a pinger's `call_later`."""
        self._rooms = rooms
        self._most = most
        self._told_at = -inf
        self.rounds = Periodic(self.look, schedule)
        self.watch = self.rounds.watch  # told after a room was made; on any thread

    def look(self) -> float | None:
        """Shortens what it has to; the seconds until the next look. Runs on: the pinger's thread."""
        rooms = self._rooms()
        taken = sum([weight_of(room) for room in rooms])
        if taken > self._most:
            self._shorten(rooms)
        return rest_for(taken, self._most) if rooms else None

    def _shorten(self, rooms: list[Room]) -> None:
        lively: list[Weighed] = []
        empty: list[Weighed] = []
        for room in rooms:
            (empty if room.idle_for() else lively).append(Weighed(weight_of(room), room))
        spare = self._most - sum(weight for weight, _ in lively)
        count = fit(empty, max(0, spare)) + fit(lively, self._most)
        if monotonic() > self._told_at + TELLING:
            self._told_at = monotonic()
            what = "the logs of %d rooms took more than %d bytes of memory (logs_bytes): %d were shortened"
            REPORTS.log(log, logging.WARNING, what, len(rooms), self._most, count)


def weight_of(room: Room) -> int:
    """Bytes of memory that a room's log takes, with its message keys."""
    return room.fanout.weight + room.channel.weight


def fit(weighed: list[Weighed], most: int) -> int:
    """Shortens the largest logs until all together take `most` bytes; returns how many it shortened."""
    excess = sum(weight for weight, _ in weighed) - most
    if excess <= 0:
        return 0
    weighed.sort(key=lambda each: each.weight, reverse=True)
    level = level_of([weight for weight, _ in weighed], most)
    count = 0
    while excess > 0 and count < len(weighed):
        weight, room = weighed[count]
        shorten(room, level)
        excess -= weight - weight_of(room)
        count += 1
    return count


def level_of(weights: Sequence[int], most: int) -> int:
    """What `weights`, the largest first, may be at most, so that together they are `most`."""
    rest = sum(weights)
    for count, weight in enumerate(weights, 1):
        rest -= weight
        level = (most - rest) // count
        if level >= (weights[count] if count < len(weights) else 0):
            return level
    return most


def shorten(room: Room, most: int) -> None:
    """Drops a log's oldest events down to `most` bytes, with the keys of those that are gone."""
    room.channel.forget(room.fanout.shorten(most))
    aim = most
    while weight_of(room) > most and aim:  # those that stay have many keys
        aim //= 2
        room.channel.forget(room.fanout.shorten(aim))
