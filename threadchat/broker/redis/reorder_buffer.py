"""A room's events that a node received but did not deliver yet, and who waits for their delivery."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final

from threadchat.broker.redis.commands import NOTHING, Known
from threadchat.broker.redis.encoding import RoomMessage
from threadchat.chat.log.events import Position, Record

MAX_BUFFERED: Final = 1024
"""The maximum number of events to keep while the room's gate is shut. Further events are read from the log
later.
"""


class ReorderBuffer:
    """Received events in order. The owner does the locking; `newest` may be read without the lock."""

    def __init__(self) -> None:
        self.newest: Known = NOTHING  # the newest event that was taken or is buffered
        self.delivered = 0  # the offset of the newest event taken, in the same epoch
        self.hole = False  # the log has events that are missing here
        self._records: deque[Record] = deque()  # consecutive, beginning after `delivered`

    def __len__(self) -> int:
        return len(self._records)

    @property
    def epoch(self) -> str:
        """The epoch of the log."""
        return self.newest.epoch

    def begin(self, head: Known, records: Sequence[Record]) -> Position:
        """Replaces everything by the end of a log. Returns the position before it."""
        self.newest = head
        self.delivered = records[0].event.id - 1 if records else head.offset
        self._records = deque(records)
        return Position(self.delivered, self.epoch)

    def receive(self, message: RoomMessage) -> None:
        """Keeps events that follow.

        Notes a hole if events are missing, if there are too many, or if the log is another one.
        """
        if len(self) >= MAX_BUFFERED or not self._follows(message):
            self.hole = True
        else:
            self.add(message.records, message.stamp)

    def add(self, records: Sequence[Record], stamp: str) -> None:
        """Keeps those of the events that are new. They must not leave a hole.

        `stamp` is that of the last event.
        """
        newest = self.newest.offset
        if records and records[-1].event.id > newest:
            self._records.extend(item for item in records if item.event.id > newest)
            self.newest = Known(self.epoch, records[-1].event.id, stamp)

    def take(self, count: int) -> list[Record]:
        """Removes and returns the oldest events, for delivery."""
        records = [self._records.popleft() for _ in range(min(count, len(self)))]
        if records:
            self.delivered = records[-1].event.id
        return records

    def _follows(self, message: RoomMessage) -> bool:
        """Whether the message continues or repeats what is here.

        A message of a log that lost events does neither.
        """
        epoch, newest, stamp = self.newest
        if message.epoch != epoch or message.first > newest + 1:
            return False
        if message.first == newest + 1:
            return message.before == stamp
        return message.first + len(message.records) <= newest or message.stamp == stamp


class DeliveryWaiter:
    """Lets publishers wait until their events are delivered. The owner does the locking.

    Each publisher is woken once.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, threading.Lock]] = []
        self._numbers = itertools.count()

    def expect(self, offset: int) -> threading.Lock:
        """Returns a lock that can be acquired once that event is delivered."""
        arrival = threading.Lock()
        arrival.acquire()
        heapq.heappush(self._waiting, (offset, next(self._numbers), arrival))
        return arrival

    def arrived(self, offset: float = inf) -> None:
        """Wakes those who wait for events up to `offset`. Without it, wakes everybody."""
        while self._waiting and self._waiting[0][0] <= offset:
            heapq.heappop(self._waiting)[2].release()
