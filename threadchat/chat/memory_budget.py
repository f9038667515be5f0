"""Limits the memory that the logs of all rooms take together, by shortening the largest logs."""

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
"""Minimum seconds between two warnings."""


SHARE: Final = 4
"""The logs of all rooms that one person or one address created may take this part of the limit: a quarter."""


class Weighed(NamedTuple):
    """A room, and the bytes of memory that its log took a moment ago."""

    weight: int
    room: Room


class MemoryBudget:
    """Checks all logs now and then, as long as there are rooms. Appending to a log costs nothing extra.

    Between two checks the logs may exceed the limit by what is published meanwhile. Above the limit, the
    largest logs drop their oldest events until all logs fit, so that the largest ones end up equally long.
    Logs of empty rooms are shortened first. Before that, the logs of whoever created rooms whose logs take
    more than a quarter of the limit are shortened to that quarter.
    """

    def __init__(
        self,
        rooms: Callable[[], list[Room]],
        schedule: Callable[[float, Callable[[], None]], object],
        most: int,
        by_opener: Callable[[], list[list[Room]]] = list,
    ) -> None:
        """`most` is the limit in bytes for the logs of all `rooms`. `schedule` is a pinger's `call_later`.

        `by_opener` returns the rooms of each person or address that created rooms.
        """
        self._rooms = rooms
        self._by_opener = by_opener
        self._most = most
        self._told_at = -inf
        self.rounds = Periodic(self.look, schedule)
        self.watch = self.rounds.watch  # called after a room was created; on any thread

    def look(self) -> float | None:
        """Shortens logs if needed. Returns the seconds until the next check. Runs on: the pinger's thread."""
        rooms = self._rooms()
        taken = sum([weight_of(room) for room in rooms])
        if taken > self._most:
            self._shorten(rooms)
        return rest_for(taken, self._most) if rooms else None

    def _shorten(self, rooms: list[Room]) -> None:
        count = sum([fit_rooms(theirs, self._most // SHARE) for theirs in self._by_opener()])
        count += fit_rooms(rooms, self._most)
        if monotonic() > self._told_at + TELLING:
            self._told_at = monotonic()
            what = "the logs of %d rooms took more than %d bytes of memory (logs_bytes): %d were shortened"
            REPORTS.log(log, logging.WARNING, what, len(rooms), self._most, count)


def fit_rooms(rooms: list[Room], most: int) -> int:
    """Shortens logs until all of them take `most` bytes in total, those of empty rooms first.

    Returns how many it shortened.
    """
    lively: list[Weighed] = []
    empty: list[Weighed] = []
    for room in rooms:
        (empty if room.idle_for() else lively).append(Weighed(weight_of(room), room))
    spare = most - sum(weight for weight, _ in lively)
    return fit(empty, max(0, spare)) + fit(lively, most)


def weight_of(room: Room) -> int:
    """Bytes of memory that a room's log and message keys take."""
    return room.fanout.weight + room.channel.weight


def fit(weighed: list[Weighed], most: int) -> int:
    """Shortens the largest logs until all of them take `most` bytes in total.

    Returns how many it shortened.
    """
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
    """The limit to apply to each of `weights` (the largest first) so that their sum becomes `most`."""
    rest = sum(weights)
    for count, weight in enumerate(weights, 1):
        rest -= weight
        level = (most - rest) // count
        if level >= (weights[count] if count < len(weights) else 0):
            return level
    return most


def shorten(room: Room, most: int) -> None:
    """Drops a log's oldest events, together with their keys, until it takes `most` bytes."""
    room.channel.forget(room.fanout.shorten(most))
    aim = most
    while weight_of(room) > most and aim:  # the events that are left have many keys
        aim //= 2
        room.channel.forget(room.fanout.shorten(aim))
