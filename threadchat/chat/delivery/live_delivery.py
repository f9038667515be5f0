"""Offers a room's events to its live subscribers, and the application's events to many in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from threadchat.chat.delivery.audience import Audience
from threadchat.chat.delivery.log_tail import LogTail
from threadchat.chat.delivery.offering import Tell, offer_whisper
from threadchat.chat.delivery.subscription import Encode, Subscription
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import EVENT, Position, Record
from threadchat.wire.listing import DEFERRED, enter, entering

MANY: Final = 64
"""The number of live subscriptions from which on the application's events are offered in batches. For fewer,
waking another thread costs as much as offering the event.
"""


class Batching(NamedTuple):
    """The application's events that are offered together: at most `events`, each of at most `size` bytes.

    `schedule` is a pinger's `call_later`: calls a function after a number of seconds, on another thread.
    """

    schedule: Callable[[float, Callable[[], None]], object]
    events: int
    size: int


class LiveDelivery(LogTail):
    """The part of a fan-out that offers events to the live subscriptions. `_lock` guards everything here.

    Offering to a thousand outboxes takes about a millisecond, for one event or for 25. Messages of one burst
    are published together, but an application emits its events one by one. So if many are subscribed, an
    event of the application is put in the log at once, and offered together with those that follow: by the
    publisher who completes a batch, before anything else is offered to anybody (see Deferred), or on the
    thread of `schedule`, as soon as the interpreter is free.
    """

    def __init__(self, history_size: int, history_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(history_size, history_bytes)
        self._most = history_size // 8  # events that may be deferred, so that the log still has them
        self._most_bytes = history_bytes // 8
        self._clock = clock
        self._audience = Audience()  # the live subscriptions
        self._behind: set[Subscription] = set()  # catching up, or not started yet
        self._unserved: list[Subscription] = []  # behind, and not yet handed to a producer
        self._deferred: list[Record] = []  # in the log, and not yet offered; then `DEFERRED.owner` is this
        self.batching: Batching | None = None  # None: every event is offered at once
        self.fell_behind: Callable[[int], object] = int  # told how many fell behind
        self._gate: Gate | None = None
        self._active_at = clock()  # when there last was a subscriber or an event

    @property
    def gate(self) -> Gate | None:
        """The gate that publishers must wait for, or None. Runs on: publishers' threads."""
        gate = self._gate
        if gate is not None and gate.passed:
            with self._lock:  # `flush` may shut another one at this moment
                if self._gate is gate:
                    self._gate = None
                gate = self._gate
        return gate

    def deliver(self, records: Sequence[Record]) -> None:
        """The only way for events into the room. Runs on: the channel's caller, in offset order."""
        batching = self.batching
        if batching is not None and records[0].event.type == EVENT and self._defer(records, batching):
            return
        entering(partial(self._offer, records), self)

    def delivered(self) -> None:
        """Hands subscriptions that fell behind to producers. Runs on: the channel's caller, unlocked."""
        if self._unserved:
            unserved: list[Subscription] = []
            try:
                with self._lock:
                    unserved, self._unserved = self._unserved, unserved
                Subscription.catch_up_all(unserved)
            except BaseException:  # from a signal handler, at any point: serving one twice does no harm
                Subscription.catch_up_all(unserved)
                raise
            self.fell_behind(len(unserved))

    def flush(self) -> None:
        """Offers what was deferred. Runs on: any thread that holds no lock of a room or an outbox."""
        if not self._deferred and DEFERRED.owner is not self:
            return
        try:
            if entering(partial(self._offer, ()), self):
                self._serve_elsewhere()
        except BaseException:  # from a signal handler, at any point
            self.delivered()
            raise

    def whisper(self, payload: Any, encoders: Collection[Encode], *, but: Hashable) -> None:
        """Offers a payload to members with these encoders, except the user `but`. Runs on: any thread."""
        self.tell(partial(offer_whisper, payload, encoders, but))

    def tell(self, offer: Tell) -> None:
        """Calls `offer` with the live subscriptions, for something that is in no log. Runs on: any thread."""

        def offer_all(listed: list[Any]) -> None:
            with self._lock:
                offer(self._audience, listed)

        entering(offer_all)

    # Helpers

    def _offer(self, records: Sequence[Record], listed: list[Any]) -> bool:
        """Offers what was deferred, then `records`. Returns whether somebody has to be served by a producer.

        The gate is shut under the same lock. Otherwise somebody who emits could complete the next batch
        before, and those who had no room for it would all fall behind.
        """
        full: set[Any] = set()
        with self._lock:
            if records or self._deferred:
                self._offer_locked(records, listed, full)
            else:
                DEFERRED.release(self)
            if self._behind:
                half_way = self._tail.half_way
                full.update(each for each in self._behind if each.position.offset < half_way)
            if full:
                enter(listed)  # before the tickets, which stand in the same line
                self._gate = Gate(line.ticket() for line in full)
            if records:
                self._active_at = self._clock()
            return bool(self._unserved)

    def _defer(self, records: Sequence[Record], batching: Batching) -> bool:
        """Puts an event in the log and defers its offers. Returns False if they have to be made now."""
        most = min(batching.events, self._most)
        if most < 2 or len(records) != 1:
            return False
        if len(records[0].json) > min(batching.size, self._most_bytes // most):
            return False
        try:
            with self._lock:
                first = not self._deferred
                if len(self._deferred) + 1 >= most:
                    return False
                if first and (len(self._audience) < MANY or not DEFERRED.claim(self)):
                    return False
                self._defer_locked(records)
                self._active_at = self._clock()
            if first:
                self._flush_later(batching)
        except BaseException:  # from a signal handler, at any point
            self.flush()
            raise
        return True

    def _flush_later(self, batching: Batching) -> None:
        try:
            batching.schedule(0.0, self.flush)
        except RuntimeError:  # the system has no more threads
            self.flush()

    def _defer_locked(self, records: Sequence[Record]) -> None:
        deferred = self._deferred
        try:
            self._tail.extend(records)
            deferred += records
        except BaseException:  # from a signal handler
            self._tail.repair(records)
            if not deferred or deferred[-1] is not records[-1]:
                deferred += records
            raise

    def _offer_locked(self, records: Sequence[Record], listed: list[Any], full: set[Any]) -> None:
        offered = [*self._deferred, *records] if self._deferred else records
        refused = None
        try:
            self._tail.extend(records)
            refused = self._audience.offer(offered, listed, full)
            if refused:
                self._demote_locked(refused, offered)
            if offered is not records:
                self._forget_deferred_locked()
        except BaseException:  # from a signal handler: some may get it twice, nobody misses it
            self._tail.repair(records)
            self._demote_locked(list(self._audience) if refused is None else refused, offered)
            self._forget_deferred_locked()
            raise

    def _forget_deferred_locked(self) -> None:
        self._deferred = []
        DEFERRED.release(self)

    def _serve_elsewhere(self) -> None:
        """Calls `delivered` on another thread, because this one may not be allowed to start producers."""
        try:
            threading.Thread(target=self.delivered, name="fan-out", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self.delivered()

    def _demote_locked(self, refused: list[Subscription], records: Sequence[Record]) -> None:
        position = Position(records[0].event.id - 1, self._epoch)
        for subscription in refused:
            self._audience.discard(subscription)
            self._behind.add(subscription)
            subscription.live = False
            subscription.position = position
        self._unserved += refused
