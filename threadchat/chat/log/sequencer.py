"""One room's sequence in memory: numbers its events and hands them on in order, to be kept by its outlet."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, overload

from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, Draft, Event, Position, Record, UserId, record
from threadchat.errors import CommandError, ErrorCode, RoomClosed

KEY_TTL: Final = 300.0
"""Seconds for which a message key is remembered: longer than any client's attempts to send it again."""
MAX_KEYS: Final = 1 << 14
"""Keys of one room; above it the oldest go early, so that a flood of keys has a bound, 16 MB of the longest.

`KEY_TTL` holds for them all below 54 messages with a key a second in one room.
"""
KEY_WEIGHT: Final = 1000
"""Bytes of memory that one takes, at most: with the longest key, in any script."""
MAX_HISTORY_BYTES: Final = 512 << 10
"""JSON bytes of one page of history, so that it fits any outbox."""


Keys = OrderedDict[tuple[UserId | None, str], tuple[Position, float]]
"""Message keys, each of one user: the place of what was said with it, and when to forget it."""


class Page(Sequence[Event]):
    """Some events of a room's log, as a sequence: their `records` have the JSON, too.

    `head` is where the log stood. Immutable, so any thread may have it.
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

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"<Page of {len(self)} events, head {self.head}>"


def check_target(target: Position, epoch: str) -> None:
    """Raises CommandError 112 where what a draft refers to is not in the log of that epoch."""
    if target.epoch != epoch:
        reason = f"event {target.offset} was in another log of this room, which has begun anew since"
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION, reason)


class Outlet(Protocol):
    """Who a sequence's events are for: a room."""

    def begin(self, head: Position) -> None:
        """Told where the log stands before the first event that `deliver` gets.

        Told again where it does not go on from there: another log began, or some of it was lost.
        """

    @property
    def gate(self) -> Gate | None:
        """Set while publishers have to wait."""

    def deliver(self, records: Sequence[Record]) -> None:
        """Takes events in the order of their offsets, one call at a time.

        Where an exception of a signal handler interrupts it, it has had all of them or none, see `newest`.
        """

    @property
    def newest(self) -> int:
        """The offset of the newest event that it has had, or where `begin` said that the log stood."""

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """Some of what was delivered; see Channel."""

    def delivered(self) -> None:
        """Told after `deliver`, as soon as the channel holds no lock: for what takes time."""

    def idle_for(self) -> float:
        """Seconds since somebody listened or something was said; 0 while somebody listens."""

    def close(self) -> bool:
        """Told before the last event, where that was published elsewhere: nobody may listen from here on."""


class Channel(Protocol):
    """A room's log and order, wherever the broker keeps them."""

    def attach(self, outlet: Outlet) -> None:
        """From now on events go to `outlet`, which is told the head before the first of them."""

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """Gives drafts their offsets and hands them on; or, nothing done, a gate to wait for first.

        Raises RoomClosed, and CommandError 112, nothing done, where a draft's target is in another log.
        Runs on: publishers' threads; holds no room's lock.
        """

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """Events after `since`, oldest first, or before it, newest first; without it, the newest.

        Raises CommandError 112 where the log does not reach `since`. Runs on: any thread.
        """

    def close(self) -> None:
        """Publishes a last `close` event; later publications raise RoomClosed."""

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """Refuses further publications without a `close` event: the room is forgotten, not closed.

        Only if `may_go` says so while nobody can publish; True if it did.
        """

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes beside the events that its outlet has. Runs on: any thread."""

    def forget(self, floor: int) -> None:
        """Lets go of the keys of events up to `floor`, where it has them in memory.

        Runs on: any thread; holds no room's lock.
        """


class Sequencer:
    """A Channel in memory, whose outlet has the only log.

    `_lock` guards everything; an outlet's `deliver` runs under it.
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
        except BaseException:  # of a signal handler, at any point: whoever fell behind is served all the same
            if outlet is not None:
                outlet.delivered()
            raise
        return positions

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel."""
        assert self._outlet is not None
        return self._outlet.history(since, limit, reverse)

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
            while self._keys and next(iter(self._keys.values()))[0].offset <= floor:
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
        """Forgets what an interrupted publication noted of events that its outlet never got."""
        if self._outlet is not None:
            self._head = self._outlet.newest
        keys = self._keys
        while keys and next(reversed(keys.values()))[0].offset > self._head:
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
                if draft.target is not None:
                    check_target(draft.target, self.epoch)
                offset += 1
                position = Position(offset, self.epoch)
                records.append(record(draft, offset, self._room, now))
                if draft.key:
                    fresh[draft.user, draft.key] = position, self._clock() + KEY_TTL
            positions.append(position)
        self._keys.update(fresh)  # not before: a draft that cannot be encoded calls all of them off
        return positions, records

    def _known_locked(self, draft: Draft, fresh: Keys) -> Position | None:
        keys = self._keys
        now = self._clock()
        while keys and (len(keys) > MAX_KEYS or next(iter(keys.values()))[1] <= now):
            keys.popitem(last=False)
        name = draft.user, draft.key
        known = fresh.get(name) or keys.get(name)
        return known[0] if known else None
