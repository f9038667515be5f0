"""One room's sequence in memory: assigns offsets to events and hands them to the outlet, which keeps them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, overload

from threadchat.chat.log.alterations import check
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, Draft, Event, Position, Record, record
from threadchat.chat.log.keys import Keys, Known, forget_some
from threadchat.errors import CommandError, ErrorCode, RoomClosed

KEY_TTL: Final = 300.0
"""Seconds for which a message key is remembered: longer than any client retries."""
MAX_KEYS: Final = 1 << 14
"""The maximum number of keys in a room. Above it, some are forgotten early, those of whoever has the most: a
flood of the longest keys takes at most 16 MB, and costs nobody else a key.

Below 54 messages with a key per second in one room, all keys last for `KEY_TTL`.
"""
KEY_WEIGHT: Final = 1000
"""The maximum memory that one key takes, in bytes: the longest key, in any script."""
MAX_HISTORY_BYTES: Final = 512 << 10
"""The maximum JSON bytes of one page of history, so that a page fits into any outbox."""


class Page(Sequence[Event]):
    """Some events of a room's log, as a sequence. `records` also has their JSON.

    `head` is the position of the log's newest event at that time. Immutable, so threads may share it.
    """

    __slots__ = ("head", "records")

    def __init__(self, records: list[Record], head: Position) -> None:
        self.records = records
        self.head = head

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        if isinstance(index, slice):
            return [item.event for item in self.records[index]]
        return self.records[index].event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and (self.records, self.head) == (other.records, other.head)

    __hash__ = None  # type: ignore[assignment]  # as in a list

    def __repr__(self) -> str:
        return f"<Page of {len(self)} events, head {self.head}>"


def check_target(target: Position, epoch: str) -> None:
    """Raises CommandError 112 if the event that a draft refers to is not in the log of that epoch."""
    if target.epoch != epoch:
        reason = f"event {target.offset} was in an earlier log of this room"
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION, reason)


class Outlet(Protocol):
    """What takes a channel's events: a room."""

    def begin(self, head: Position) -> None:
        """Called with the position of the log before the first event that `deliver` gets.

        Called again if the log does not continue from there, because a new log began or events were lost.
        """

    @property
    def gate(self) -> Gate | None:
        """The gate that publishers must wait for, or None."""

    def deliver(self, records: Sequence[Record]) -> None:
        """Takes events in the order of their offsets. Called by one thread at a time.

        If an exception of a signal handler interrupts it, it has taken all of them or none; see `newest`.
        """

    @property
    def newest(self) -> int:
        """The offset of the newest event that it took, or that of the head passed to `begin`."""

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """A page of what was delivered; see Channel."""

    def at(self, offset: int) -> Record | None:
        """The event with that offset; None if it is no longer kept. Runs on: any thread."""

    def delivered(self) -> None:
        """Called after `deliver`, once the channel holds no lock, for anything that takes time."""

    def idle_for(self) -> float:
        """Seconds since the last subscriber or event. 0 while there is a subscriber."""

    def close(self) -> bool:
        """Called before the last event if another node published it. No subscription may begin after this."""


class Channel(Protocol):
    """A room's log and the order of its events, wherever the broker keeps them."""

    def attach(self, outlet: Outlet) -> None:
        """Sends events to `outlet` from now on, after telling it the head of the log."""

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """Assigns offsets to drafts and hands them on.

        If there is a gate to wait for, publishes nothing and returns the gate. A reaction that changes
        nothing gets the offset 0 and is not published. Raises RoomClosed. Raises CommandError, and publishes
        nothing: 112 if a draft refers to another log, and what `alterations.check` raises for its target.
        Runs on: publishers' threads, with no room's lock held.
        """

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """Events after `since`, oldest first, or before it, newest first. Without `since`, the newest events.

        Raises CommandError 112 if the log does not reach `since`. Runs on: any thread.
        """

    def await_event(self, position: Position) -> None:
        """Waits until the event at `position`, which another node may have delivered, is delivered here, too.

        Returns after some seconds in any case, and at once if there is no such event. Raises CommandError 100
        if that is unknown. Runs on: any thread that holds no room's lock.
        """

    def close(self) -> None:
        """Publishes a last `close` event. After that, publishing raises RoomClosed."""

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """Refuses further events without publishing `close`: the room is forgotten, not closed.

        Calls `may_go` while nobody can publish, and does nothing if it returns False. Returns whether the
        channel is retired.
        """

    @property
    def weight(self) -> int:
        """Bytes of memory that the channel takes in addition to its outlet's events. Runs on: any thread."""

    def forget(self, floor: int) -> None:
        """Forgets the keys of events up to the offset `floor`, if they are in memory.

        Runs on: any thread that holds no room's lock.
        """


class Sequencer:
    """A channel in memory. Its outlet has the only log.

    `_lock` guards everything. The outlet's `deliver` is called while it is held.
    """

    def __init__(self, room: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.epoch = secrets.token_hex(8)
        self._room = room
        self._clock = clock
        self._lock = threading.Lock()
        self._head = 0  # the newest event's offset
        self._keys: Keys = OrderedDict()
        self._outlet: Outlet | None = None
        self._closed = False

    def attach(self, outlet: Outlet) -> None:
        """See Channel."""
        with self._lock:
            self._outlet = outlet
            outlet.begin(Position(self._head, self.epoch))

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """See Channel."""
        outlet = self._outlet
        try:
            with self._lock:
                if self._closed:
                    raise RoomClosed(f"room {self._room} is closed")
                if outlet is not None and (gate := outlet.gate) is not None:
                    return gate
                positions = self._publish_locked(drafts)
            if outlet is not None:
                outlet.delivered()
        except BaseException:  # from a signal handler, at any point: serve those that fell behind anyway
            if outlet is not None:
                outlet.delivered()
            raise
        return positions

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel."""
        assert self._outlet is not None
        return self._outlet.history(since, limit, reverse)

    def await_event(self, position: Position) -> None:
        """See Channel. Nobody else delivers them."""

    def close(self) -> None:
        """See Channel."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._hand_on_locked(self._assign_locked([Draft(CLOSE)])[1])
        if self._outlet is not None:
            self._outlet.delivered()

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """See Channel."""
        with self._lock:
            if self._closed or not may_go():
                return False
            self._closed = True
            return True

    @property
    def weight(self) -> int:
        """See Channel: the message keys."""
        return len(self._keys) * KEY_WEIGHT

    def forget(self, floor: int) -> None:
        """See Channel."""
        with self._lock:
            while self._keys and next(iter(self._keys.values())).position.offset <= floor:
                self._keys.popitem(last=False)

    def _publish_locked(self, drafts: Sequence[Draft]) -> list[Position]:
        try:
            positions, records = self._assign_locked(drafts)
            if records:
                self._hand_on_locked(records)
            return positions
        except BaseException:
            self._repair_locked()
            raise

    def _repair_locked(self) -> None:
        """Forgets what an interrupted publication noted about events that the outlet never got."""
        if self._outlet is not None:
            self._head = self._outlet.newest
        keys = self._keys
        while keys and next(reversed(keys.values())).position.offset > self._head:
            keys.popitem()

    def _hand_on_locked(self, records: list[Record]) -> None:
        self._head = records[-1].event.id
        if self._outlet is not None:
            self._outlet.deliver(records)

    def _assign_locked(self, drafts: Sequence[Draft]) -> tuple[list[Position], list[Record]]:
        now = int(time.time())
        offset = self._head
        positions = []
        records = []
        fresh: Keys = OrderedDict()
        for draft in drafts:
            position = self._known_locked(draft, fresh) if draft.key else None
            if position is None:
                if (draft.target or draft.details) and not self._changes_locked(draft):
                    positions.append(Position(0, self.epoch))
                    continue
                offset += 1
                position = Position(offset, self.epoch)
                records.append(record(draft, offset, self._room, now))
                if draft.key:
                    owner = draft.source or draft.user
                    fresh[draft.user, draft.key] = Known(position, self._clock() + KEY_TTL, owner)
            positions.append(position)
        self._keys.update(fresh)  # last: if a draft cannot be encoded, nothing is published
        return positions, records

    def _changes_locked(self, draft: Draft) -> bool:
        """See `alterations.check`. Raises CommandError."""
        if draft.refers is not None:
            check_target(draft.refers, self.epoch)
        if draft.target is None:
            return True
        return check(self._outlet.at(draft.target.offset) if self._outlet else None, draft, self._room)

    def _known_locked(self, draft: Draft, fresh: Keys) -> Position | None:
        keys = self._keys
        now = self._clock()
        while keys and next(iter(keys.values())).until <= now:
            keys.popitem(last=False)
        while len(keys) > MAX_KEYS:
            forget_some(keys, max(1, MAX_KEYS >> 4))
        name = draft.user, draft.key
        known = fresh.get(name) or keys.get(name)
        return known.position if known else None
