"""What a node has heard of a room and not delivered yet, in order, and who waits for its delivery."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final

from threadchat.broker.redis.commands import NOTHING, Known
from threadchat.broker.redis.encoding import Heard
from threadchat.chat.log.events import Position, Record

MAX_HELD: Final = 1024
"""Events kept while the room's gate is shut; what exceeds them is read from the log later."""


class ReorderBuffer:
    """Its owner locks it; `newest` may be read without the lock."""

    def __init__(self) -> None:
        self.newest: Known = NOTHING  # the newest event that was taken or is here
        self.delivered = 0  # the offset of the newest event that was taken; of the same epoch
        self.hole = False  # something is in the log that is not here
        self._records: deque[Record] = deque()  # follow `delivered`, and each other

    def __len__(self) -> int:
        return len(self._records)

    @property
    def epoch(self) -> str:
        """The log's."""
        return self.newest.epoch

    def begin(self, head: Known, records: Sequence[Record]) -> Position:
        """Forgets everything for the end of a log; returns the place before it."""
        self.newest = head
        self.delivered = records[0].event.id - 1 if records else head.offset
        self._records = deque(records)
        return Position(self.delivered, self.epoch)

    def hear(self, message: Heard) -> None:
        """Keeps what follows; notes a hole where something is missing or too much, or it is another log."""
        if len(self) >= MAX_HELD or not self._follows(message):
            self.hole = True
        else:
            self.add(message.records, message.stamp)

    def add(self, records: Sequence[Record], stamp: str) -> None:
        """Keeps what is new of events that leave no hole; `stamp` is the last one's."""
        newest = self.newest.offset
        if records and records[-1].event.id > newest:
            self._records.extend(item for item in records if item.event.id > newest)
            self.newest = Known(self.epoch, records[-1].event.id, stamp)

    def take(self, count: int) -> list[Record]:
        """The oldest events, to be delivered."""
        records = [self._records.popleft() for _ in range(min(count, len(self)))]
        if records:
            self.delivered = records[-1].event.id
        return records

    def _follows(self, message: Heard) -> bool:
        """Whether it goes on from what is here, or repeats it. A log that lost events does neither."""
        epoch, newest, stamp = self.newest
        if message.epoch != epoch or message.first > newest + 1:
            return False
        if message.first == newest + 1:
            return message.before == stamp
        return message.first + len(message.records) <= newest or message.stamp == stamp


class DeliveryWaiter:
    """Lets publishers wait for what they said. Its owner locks it; each is woken once, by its own event."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, threading.Lock]] = []
        self._numbers = itertools.count()

    def expect(self, offset: int) -> threading.Lock:
        """What can be acquired once that event was delivered."""
        arrival = threading.Lock()
        arrival.acquire()
        heapq.heappush(self._waiting, (offset, next(self._numbers), arrival))
        return arrival

    def arrived(self, offset: float = inf) -> None:
        """Wakes those who wait for that event or an earlier one; without it, everybody."""
        while self._waiting and self._waiting[0][0] <= offset:
            heapq.heappop(self._waiting)[2].release()
