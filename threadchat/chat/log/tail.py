"""The tail of one room's log, bounded in number and bytes and read by offset."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from threadchat.chat.log.alterations import altered, superseded_edit, without_text
from threadchat.chat.log.events import Event, Record

HISTORY_SIZE: Final = 1024
HISTORY_BYTES: Final = 4 << 20
INBOX_SIZE: Final = 256
INBOX_AGE: Final = 7 * 86_400.0
"""The number of events that an inbox keeps, and their maximum age in seconds."""
AROUND: Final = 200
"""Bytes of memory that an event takes in addition to its JSON and its text."""


class Log:
    """Events with consecutive offsets. The oldest are dropped when there are too many.

    The owner does the locking.
    """

    def __init__(self, max_events: int = HISTORY_SIZE, max_bytes: int = HISTORY_BYTES) -> None:
        self.head = 0  # offset of the newest event
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: deque[Record] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def extend(self, records: Iterable[Record]) -> None:
        """Appends records that follow `head`. Drops the oldest above the limits, but never the newest.

        A record that edits or deletes a message, or reacts to it, also changes that message.
        """
        kept = self._records
        for record in records:
            kept.append(record)
            self._bytes += len(record.json)
            self.head = record.event.id
            if record.event.target:
                self._alter(record.event)
        while len(kept) > self._max_events or (self._bytes > self._max_bytes and len(kept) > 1):
            self._bytes -= len(kept.popleft().json)

    def repair(self, records: Sequence[Record]) -> None:
        """Completes an `extend` with the same records that an exception of a signal handler interrupted."""
        kept = self._records
        newest = kept[-1].event.id if kept else self.head
        kept.extend(record for record in records if record.event.id > newest)
        if kept:
            self.head = kept[-1].event.id
        for record in records:
            if record.event.target:
                self._alter(record.event)
        self._bytes = sum(len(record.json) for record in kept)

    def _alter(self, by: Event) -> None:
        message = self.at(by.target)
        if message is None:
            return  # it was dropped already
        last_edit = self.at(superseded_edit(message.event, by))
        if last_edit is not None:
            self._replace(last_edit, without_text(last_edit))
        self._replace(message, altered(message, by))

    def at(self, offset: int) -> Record | None:
        """The event with that offset; None if it is not here."""
        place = offset - (self.head - len(self._records)) - 1
        return self._records[place] if 0 <= place < len(self._records) else None

    def _replace(self, old: Record, new: Record) -> None:
        place = old.event.id - (self.head - len(self._records)) - 1
        self._records[place] = new
        self._bytes += len(new.json) - len(old.json)

    @property
    def weight(self) -> int:
        """Bytes of memory that the events take: for each, the JSON, the text, and a fixed overhead.

        Measured as three times the JSON (memory blocks may be half as large again) plus 200. The real figure
        is twice that for a long text with a character beyond U+FFFF, because Python then uses four bytes per
        character.
        """
        return 3 * self._bytes + AROUND * len(self._records)

    def shorten(self, most: int) -> int:
        """Drops the oldest events until `weight` is at most `most`, if need be all of them.

        Returns the offset before the first one left.
        """
        while self._records and self.weight > most:
            self._bytes -= len(self._records.popleft().json)
        return self.head - len(self._records)

    def emptied(self) -> Log:
        """An empty log with the same limits."""
        return Log(self._max_events, self._max_bytes)

    def reaches(self, offset: int) -> bool:
        """Whether every event after `offset` is here. False for an offset in the future."""
        return self.head - len(self._records) <= offset <= self.head

    @property
    def half_way(self) -> float:
        """A subscription that has not had this offset is behind by over half of what the log can keep."""
        used = max(len(self._records) / self._max_events, self._bytes / self._max_bytes)
        return self.head - len(self._records) / (2 * used) if used else -1

    def after(self, offset: int, limit: int) -> list[Record] | None:
        """Up to `limit` events after `offset`, oldest first. None if the log does not reach back that far."""
        if not self.reaches(offset):
            return None
        skip = offset - (self.head - len(self._records))
        return list(islice(self._records, skip, skip + limit))

    def page(self, since: int | None, limit: int, reverse: bool) -> list[Record] | None:
        """Like `after`, or with `reverse` like `before`. Without `since`, the newest events, newest first."""
        if since is None or reverse:
            return self.before(self.head + 1 if since is None else since, limit)
        return self.after(since, limit)

    def before(self, offset: int, limit: int) -> list[Record]:
        """Up to `limit` events before `offset`, newest first."""
        skip = max(0, self.head + 1 - offset)
        return list(islice(reversed(self._records), skip, skip + limit))


def within(records: list[Record], max_bytes: int) -> list[Record]:
    """The first of `records` whose JSON fits into `max_bytes` in total, but at least one record."""
    size = 0
    for count, item in enumerate(records):
        size += len(item.json)
        if size > max_bytes and count:
            return records[:count]
    return records
