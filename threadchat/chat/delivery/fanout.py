"""Offers a room's events to those who listen live, and lets those who fell behind catch up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from threadchat.chat.delivery.offering import Tell, any_skips, offer_selected, offer_whisper
from threadchat.chat.delivery.subscription import ALL, REPLAY_BYTES, Encode, Filter, Sink, Subscription, enter
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, Log, within
from threadchat.errors import RoomClosed
from threadchat.wire.outbox import Answer

_YES, _HIGH, _NO = Answer.YES, Answer.HIGH, Answer.NO

Offer = Callable[[Any, list[Any]], Answer]


class Fanout:
    """The subscribers of one room, and the tail of its log for those of them who are behind.

    `_lock` is the room's lock and guards everything here. It is held while offering, never while
    blocking, and no thread is started under it or the channel's.
    """

    def __init__(
        self,
        name: str,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._tail = Log(history_size, history_bytes)
        self._epoch = ""
        # Live ones that want everything, by what encodes for them; each with its sink's bound `offer`.
        self._audiences: dict[Encode, dict[Subscription, Offer]] = {}
        self._choosy: set[Subscription] = set()  # live ones with a filter
        self._behind: set[Subscription] = set()  # catching up, or not started yet
        self._refused: list[Subscription] = []  # demoted, and still without a producer
        self._attended = 0  # subscriptions that keep the room from being idle
        self.fell_behind: Callable[[int], object] = int  # told of live ones that did; by itself nobody asks
        self._gate: Gate | None = None
        self.closed = False  # or forgotten; for others to read
        self._active_at = clock()  # when somebody last listened, or something was last said

    # The channel

    def begin(self, head: Position) -> None:
        """Notes where the log stood before the first event that `deliver` will get.

        Where it does not go on from where it was, those who listen fall behind, but in the background.
        """
        with self._lock:
            everybody = self._live_locked() | self._behind
            self._tail = self._tail.emptied()
            self._tail.head, self._epoch = head
            for subscription in everybody:
                subscription.position = head.offset
        for subscription in everybody:
            if not subscription.background:
                self.drop(subscription)
                subscription.sink.fall_behind()

    @property
    def gate(self) -> Gate | None:
        """Set while publishers have to wait. Runs on: publishers' threads."""
        gate = self._gate
        if gate is not None and gate.passed:
            self._gate = gate = None  # the channel's lock keeps other publishers out of here
        return gate

    def deliver(self, records: Sequence[Record]) -> None:
        """The only way into the room. Runs on: the channel's caller, in the order of offsets."""
        listed: list[Any] = []
        full: set[Any] = set()
        try:
            with self._lock:
                self._tail.extend(records)
                refused = self._offer_locked(records, listed, full)
                for subscription in refused:
                    self._demote_locked(subscription, records[0].event.id - 1)
                self._refused += refused
                if self._behind:
                    brink = self._tail.brink
                    full.update(each for each in self._behind if each.position < brink)
                self._active_at = self._clock()
        finally:
            enter(listed)  # come what may: whoever is LISTED and not in the line is silent for good
        if full:
            self._gate = Gate(line.ticket() for line in full)

    def delivered(self) -> None:
        """Starts the producers of those who fell behind. Runs on: the channel's caller, with no lock held."""
        if self._refused:
            with self._lock:
                refused, self._refused = self._refused, []
            self.fell_behind(len(refused))
            for subscription in refused:
                subscription.start_producer()

    def whisper(self, payload: Any, encoders: Collection[Encode], *, but: Hashable) -> None:
        """Offers a payload to members who use one of these, `but` one user's. Runs on: any thread."""
        self.tell(partial(offer_whisper, payload, encoders, but))

    def tell(self, offer: Tell) -> None:
        """Has `offer` offer those who are live what is in no log. Runs on: any thread."""
        listed: list[Any] = []
        try:
            with self._lock:
                offer(self._live_locked(), listed)
        finally:
            enter(listed)

    # Subscriptions

    def subscribe(
        self,
        sink: Sink,
        encode: Encode,
        *,
        wanted: Filter = ALL,
        since: Position | None = None,
        owner: Hashable = None,
        name: str = "",
        marker: Any = None,
        background: bool = False,
        session: str = "",
    ) -> Subscription:
        """Registers a subscription, from `since` or from now on; it gets nothing before its `start`.

        Its `recovered` tells whether the log still reaches `since`; if not, it begins now. One in
        the background does not keep the room from being idle. Raises RoomClosed. Runs on: any thread.
        """
        with self._lock:
            self.check_open()
            position = Position(self._tail.head, self._epoch)
            recovered = None
            if since is not None:
                recovered = since.epoch == self._epoch and self._tail.reaches(since.offset)
                position = since if recovered else position
            subscription = Subscription(
                self,
                sink,
                encode,
                wanted,
                position,
                recovered=recovered,
                owner=owner,
                name=name,
                marker=marker,
                background=background,
                session=session,
            )
            self._attended += not background
            self._behind.add(subscription)
            return subscription

    def resume(self, subscription: Subscription) -> None:
        """Makes a new subscription live, or starts its producer. Runs on: the subscriber's thread."""
        if self.next_records(subscription, 1) is not None:
            subscription.start_producer()

    def next_records(self, subscription: Subscription, limit: int) -> Sequence[Record] | None:
        """The next events for one that is behind; None once it is live, stopped, or out of reach.

        None at all (an empty list) where it is level, but its sink has no room for its marker.
        Runs on: the subscription's producer, and the subscriber's thread before there is one.
        """
        listed: list[Any] = []
        with self._lock:
            if subscription.stopped:
                return None
            records = self._tail.after(subscription.position, limit)
            live = records == [] and self._go_live_locked(subscription, listed)
        enter(listed)
        if records is None:
            self.drop(subscription)
            subscription.sink.fall_behind()
        return None if live or records is None else within(records, REPLAY_BYTES)

    def drop(self, subscription: Subscription) -> None:
        """Ends a subscription. Runs on: any thread."""
        with self._lock:
            if not subscription.stopped:
                self._attended -= not subscription.background
            subscription.stopped = True
            self._forget_locked(subscription)
            self._active_at = self._clock()

    # All of it

    def count(self, wanted: Filter) -> int:
        """How many of the tail's events pass a filter. Runs on: any thread."""
        with self._lock:
            return len(wanted(list(self._tail)))

    @property
    def head(self) -> Position:
        """The newest event's place. Runs on: any thread."""
        with self._lock:
            return Position(self._tail.head, self._epoch)

    @property
    def weight(self) -> int:
        """Bytes of memory that the tail takes. Runs on: any thread."""
        return self._tail.weight

    def shorten(self, most: int) -> int:
        """Drops the tail's oldest events down to that weight; the offset before the first that stays."""
        with self._lock:
            return self._tail.shorten(most)

    def idle_for(self) -> float:
        """Seconds since somebody listened or something was said; 0 while somebody listens."""
        with self._lock:
            return self._idle_for_locked()

    def check_open(self) -> None:
        """Raises RoomClosed once the room is closed or forgotten. Runs on: any thread."""
        if self.closed:
            raise RoomClosed(f"room {self._name} is closed")

    def close(self, idle_for: float | None = None) -> bool:
        """Takes no more subscriptions; with `idle_for`, only if nobody listened for so many seconds.

        False: it was closed already, or is in use. Runs on: any thread.
        """
        with self._lock:
            busy = idle_for is not None and (self._attended > 0 or self._idle_for_locked() < idle_for)
            if self.closed or busy:
                return False
            self.closed = True
            return True

    # Helpers

    def _idle_for_locked(self) -> float:
        return 0.0 if self._attended else self._clock() - self._active_at

    def _offer_locked(
        self, records: Sequence[Record], listed: list[Any], full: set[Any]
    ) -> list[Subscription]:
        """The hot path: one payload for each way of encoding, one offer for each subscriber."""
        refused: list[Subscription] = []
        if any_skips(records):
            offer_selected(self._live_locked(), records, listed, full, refused)
            return refused
        for encode, audience in self._audiences.items():
            payload = encode(records)
            for subscription, offer in audience.items():
                answer = offer(payload, listed)
                if answer is not _YES:
                    if answer is _NO:
                        refused.append(subscription)
                    elif answer is _HIGH:
                        full.add(subscription.sink.line)
        if self._choosy:
            offer_selected(self._choosy, records, listed, full, refused)
        return refused

    def _live_locked(self) -> set[Subscription]:
        return self._choosy.union(*self._audiences.values())

    def _go_live_locked(self, subscription: Subscription, listed: list[Any]) -> bool:
        if subscription.marker is not None:
            if subscription.sink.offer(subscription.marker, listed) is _NO:
                return False
            subscription.marker = None
        self._behind.discard(subscription)
        subscription.live = True
        if subscription.wanted.passes_all:
            audience = self._audiences.setdefault(subscription.encode, {})
            audience[subscription] = subscription.sink.offer
        else:
            self._choosy.add(subscription)
        return True

    def _demote_locked(self, subscription: Subscription, position: int) -> None:
        self._forget_locked(subscription)
        self._behind.add(subscription)
        subscription.live = False
        subscription.position = position

    def _forget_locked(self, subscription: Subscription) -> None:
        self._behind.discard(subscription)
        self._choosy.discard(subscription)
        audience = self._audiences.get(subscription.encode)
        if audience is not None:
            audience.pop(subscription, None)
            if not audience:
                del self._audiences[subscription.encode]
