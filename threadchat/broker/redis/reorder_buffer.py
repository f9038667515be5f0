"""What a node has heard of a room and not delivered yet, in order, and whether something is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from threadchat.broker.redis.encoding import Heard
from threadchat.chat.log.events import Position, Record

MAX_HELD: Final = 1024
"""Events kept while the room's gate is shut; what exceeds them is read from the log later."""


class ReorderBuffer:
    """Its owner locks it."""

    def __init__(self) -> None:
        self.epoch = ""
        self.delivered = 0  # the newest event that was taken
        self.hole = False  # something is in the log that is not here
        self._records: deque[Record] = deque()  # follow `delivered`, and each other

    def __len__(self) -> int:
        return len(self._records)

    @property
    def newest(self) -> int:
        """The newest event that was taken or is here."""
        return self._records[-1].event.id if self._records else self.delivered

    def begin(self, head: Position, records: Sequence[Record]) -> Position:
        """Forgets everything for the end of a log; returns the place before it."""
        self.epoch = head.epoch
        self.delivered = records[0].event.id - 1 if records else head.offset
        self._records = deque(records)
        return Position(self.delivered, self.epoch)

    def hear(self, message: Heard) -> None:
        """Keeps what follows; notes a hole where something is missing, or too much is here."""
        if message.epoch != self.epoch or message.first > self.newest + 1 or len(self) >= MAX_HELD:
            self.hole = True
        else:
            self.add(message.records)

    def add(self, records: Sequence[Record]) -> None:
        """Keeps what is new of events that leave no hole."""
        newest = self.newest
        self._records.extend(item for item in records if item.event.id > newest)

    def take(self, count: int) -> list[Record]:
        """The oldest events, to be delivered."""
        records = [self._records.popleft() for _ in range(min(count, len(self)))]
        if records:
            self.delivered = records[-1].event.id
        return records
