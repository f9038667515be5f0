"""Reads the tail of one room's log that is in memory."""

from __future__ import annotations

import threading

from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.events import Event, Position, Record
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page
from threadchat.chat.log.tail import Log, within
from threadchat.errors import CommandError, ErrorCode


class LogTail:
    """The part of a fan-out that answers questions about the log. `_lock` guards everything here.

    Every method may be called from any thread.
    """

    def __init__(self, history_size: int, history_bytes: int) -> None:
        self._lock = threading.Lock()
        self._tail = Log(history_size, history_bytes)
        self._epoch = ""

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Outlet. Raises CommandError 112."""
        with self._lock:
            head = Position(self._tail.head, self._epoch)
            beyond = since is not None and (since.epoch != head.epoch or since.offset > head.offset + 1)
            records = None if beyond else self._tail.page(since and since.offset, limit, reverse)
        if records is None:
            raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        records = within(records, MAX_HISTORY_BYTES)
        if since is None and not reverse:
            records.reverse()
        return Page(records, head)

    def at(self, offset: int) -> Record | None:
        """See Outlet."""
        with self._lock:
            return self._tail.at(offset)

    def events_after(self, offset: int) -> tuple[list[Event], int]:
        """The events after an offset that are kept here, oldest first, and the offset of the newest."""
        with self._lock:
            tail = self._tail
            if offset == tail.head:
                return [], offset
            records = tail.after(offset, len(tail)) if tail.reaches(offset) else tail
            return [item.event for item in records or ()], tail.head

    def count(self, wanted: Filter) -> int:
        """The number of events in the tail that pass a filter."""
        with self._lock:
            return len(wanted(list(self._tail)))

    @property
    def newest(self) -> int:
        """See Outlet."""
        return self._tail.head

    @property
    def head(self) -> Position:
        """The position of the newest event."""
        with self._lock:
            return Position(self._tail.head, self._epoch)

    @property
    def weight(self) -> int:
        """The bytes of memory that the tail takes."""
        return self._tail.weight

    def shorten(self, most: int) -> int:
        """Drops the oldest events until `weight` is `most`. Returns the offset before the first left."""
        with self._lock:
            return self._tail.shorten(most)
