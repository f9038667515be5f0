"""The tail of one room's events: bounded in number and bytes, read by offset."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from threadchat.chat.log.events import Record, without_text

HISTORY_SIZE: Final = 1024
HISTORY_BYTES: Final = 4 << 20
INBOX_SIZE: Final = 256
INBOX_AGE: Final = 7 * 86_400.0
"""Events of an inbox, and their age in seconds."""
AROUND: Final = 200
"""Bytes of memory that an event takes beside its JSON and its text."""


class Log:
    """Events with consecutive offsets; the oldest go when there are too many. Its owner locks it."""

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
        """Appends records that follow `head`; drops old ones above the limits, never the newest.

        One that says that a message was deleted takes the text out of that.
        """
        kept = self._records
        for record in records:
            kept.append(record)
            self._bytes += len(record.json)
            self.head = record.event.id
            if record.event.target:
                self._delete(record.event.target)
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
                self._delete(record.event.target)
        self._bytes = sum(len(record.json) for record in kept)

    def _delete(self, offset: int) -> None:
        place = offset - (self.head - len(self._records)) - 1
        if 0 <= place < len(self._records):  # else it is gone anyway
            deleted = self._records[place]
            self._records[place] = without_text(deleted)
            self._bytes += len(self._records[place].json) - len(deleted.json)

    @property
    def weight(self) -> int:
        """Bytes of memory that the events take: of each its JSON, its text, and what is around them.

        Measured: three times the JSON, which may lie in half as much again, and 200. Twice that where a
        character beyond U+FFFF makes a long text one of four bytes a character.
        """
        return 3 * self._bytes + AROUND * len(self._records)

    def shorten(self, most: int) -> int:
        """Drops old events, at last the newest too, until `weight` is `most`; the offset before the first."""
        while self._records and self.weight > most:
            self._bytes -= len(self._records.popleft().json)
        return self.head - len(self._records)

    def emptied(self) -> Log:
        """A log with the same limits and nothing in it."""
        return Log(self._max_events, self._max_bytes)

    def reaches(self, offset: int) -> bool:
        """Whether everything after `offset` is here: neither dropped nor in the future."""
        return self.head - len(self._records) <= offset <= self.head

    @property
    def brink(self) -> float:
        """Whoever has not had this offset yet has fallen behind by half of what the log can keep."""
        used = max(len(self._records) / self._max_events, self._bytes / self._max_bytes)
        return self.head - len(self._records) / (2 * used) if used else -1

    def after(self, offset: int, limit: int) -> list[Record] | None:
        """Up to `limit` events after `offset`, oldest first; None where the log does not reach."""
        if not self.reaches(offset):
            return None
        skip = offset - (self.head - len(self._records))
        return list(islice(self._records, skip, skip + limit))

    def page(self, since: int | None, limit: int, reverse: bool) -> list[Record] | None:
        """As `after`, or with `reverse` as `before`; without `since` the newest, newest first."""
        if since is None or reverse:
            return self.before(self.head + 1 if since is None else since, limit)
        return self.after(since, limit)

    def before(self, offset: int, limit: int) -> list[Record]:
        """Up to `limit` events before `offset`, newest first."""
        skip = max(0, self.head + 1 - offset)
        return list(islice(reversed(self._records), skip, skip + limit))


def within(records: list[Record], max_bytes: int) -> list[Record]:
    """The first of `records` whose JSON fits into `max_bytes` together, but at least one."""
    size = 0
    for count, item in enumerate(records):
        size += len(item.json)
        if size > max_bytes and count:
            return records[:count]
    return records
