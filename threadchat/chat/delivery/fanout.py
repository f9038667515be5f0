"""Offers a room's events to those who listen live, and lets those who fell behind catch up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from threadchat.chat.delivery.audience import Audience
from threadchat.chat.delivery.offering import Tell, offer_whisper
from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import ALL, REPLAY_BYTES, Batch, Encode, Filter, Sink, Subscription
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES, Page
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, Log, within
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer


class Fanout:
    """The subscribers of one room, and the tail of its log, which in memory mode is all of it.

    `_lock` is the room's lock and guards everything here. It is held while offering, never while
    blocking, and no thread is started under it.
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
        self._audience = Audience()  # live ones
        self._behind: set[Subscription] = set()  # catching up, or not started yet
        self._unserved: list[Subscription] = []  # behind, and no producer knows yet
        self._attended = 0  # subscriptions that keep the room from being idle
        self.fell_behind: Callable[[int], object] = int  # told of live ones that did; by itself nobody asks
        self._gate: Gate | None = None
        self.closed = False  # or forgotten; for others to read
        self._active_at = clock()  # when somebody last listened, or something was last said

    # The channel

    def begin(self, head: Position) -> None:
        """Notes where the log stood before the first event that `deliver` will get.

        Where it does not go on from where it was, those who listen fall behind, but for the lasting ones.
        """
        with self._lock:
            everybody = [*self._behind, *self._audience]
            self._tail = self._tail.emptied()
            self._tail.head, self._epoch = head
            for subscription in everybody:
                subscription.position = head
        for subscription in everybody:
            if not subscription.lasting:
                subscription.give_up()

    @property
    def gate(self) -> Gate | None:
        """Set while publishers have to wait. Runs on: publishers' threads."""
        gate = self._gate
        if gate is not None and gate.passed:
            self._gate = gate = None  # the channel's lock keeps other publishers out of here
        return gate

    def deliver(self, records: Sequence[Record]) -> None:
        """The only way into the room. Runs on: the channel's caller, in the order of offsets."""
        full: set[Any] = set()

        def offer(listed: list[Any]) -> None:
            with self._lock:
                self._offer_locked(records, listed, full)
                if self._behind:
                    brink = self._tail.brink
                    full.update(each for each in self._behind if each.position.offset < brink)
                self._active_at = self._clock()

        entering(offer)
        if full:
            self._gate = Gate(line.ticket() for line in full)

    def delivered(self) -> None:
        """Has those served who fell behind. Runs on: the channel's caller, with no lock held."""
        if self._unserved:
            unserved: list[Subscription] = []
            try:
                with self._lock:
                    unserved, self._unserved = self._unserved, unserved
                Subscription.catch_up_all(unserved)
            except BaseException:  # of a signal handler, at any point: to serve one twice does no harm
                Subscription.catch_up_all(unserved)
                raise
            self.fell_behind(len(unserved))

    def whisper(self, payload: Any, encoders: Collection[Encode], *, but: Hashable) -> None:
        """Offers a payload to members who use one of these, `but` one user's. Runs on: any thread."""
        self.tell(partial(offer_whisper, payload, encoders, but))

    def tell(self, offer: Tell) -> None:
        """Has `offer` offer those who are live what is in no log. Runs on: any thread."""

        def offer_all(listed: list[Any]) -> None:
            with self._lock:
                offer(self._audience, listed)

        entering(offer_all)

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
        lasting: bool = False,
        producer: Producer | None = None,
        session: str = "",
    ) -> Subscription:
        """Registers a subscription, from `since` or from now on; it gets nothing before its `start`.

        Its `recovered` tells whether the log still reaches `since`; if not, it begins now. One in the
        background does not keep the room from being idle; a `lasting` one goes on where another log begins. A
        sink that listens to many rooms has one `producer` for all. Raises RoomClosed. Runs on: any thread.
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
                producer=producer or Producer(name),
                recovered=recovered,
                owner=owner,
                name=name,
                marker=marker,
                background=background,
                lasting=lasting,
                session=session,
            )
            self._attended += not background
            self._behind.add(subscription)
            return subscription

    def next_batch(self, subscription: Subscription, limit: int) -> Batch | None:
        """See Source. Runs on: the producer, and the subscriber's thread before that."""

        def read(listed: list[Any]) -> tuple[Position, list[Record] | None, bool]:
            with self._lock:
                position = subscription.position
                if subscription.stopped or subscription.live:  # the latter was served twice
                    return position, [], True
                records = self._tail.after(position.offset, limit)
                return position, records, records == [] and self._go_live_locked(subscription, listed)

        position, records, over = entering(read)
        if records is None:
            subscription.give_up()
        return None if over or records is None else Batch(position, within(records, REPLAY_BYTES))

    def advance(self, subscription: Subscription, batch: Batch) -> None:
        """See Source. Runs on: the producer."""
        with self._lock:
            if subscription.position is batch.position:  # else another log began while its sink was fed
                subscription.position = Position(batch.records[-1].event.id, batch.position.epoch)

    def postpone(self, subscription: Subscription) -> None:
        """See Source. Runs on: any thread."""
        with self._lock:
            if not subscription.stopped:
                self._unserved.append(subscription)

    def drop(self, subscription: Subscription) -> None:
        """Ends a subscription. Runs on: any thread."""
        with self._lock:
            self._attended -= not (subscription.stopped or subscription.background)
            subscription.stopped = True
            self._behind.discard(subscription)
            self._audience.discard(subscription)
            self._active_at = self._clock()

    # All of it

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Outlet. Raises CommandError 112. Runs on: any thread."""
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

    def count(self, wanted: Filter) -> int:
        """How many of the tail's events pass a filter. Runs on: any thread."""
        with self._lock:
            return len(wanted(list(self._tail)))

    @property
    def newest(self) -> int:
        """See Outlet."""
        return self._tail.head

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
            return 0.0 if self._attended else self._clock() - self._active_at

    def check_open(self) -> None:
        """Raises RoomClosed once the room is closed or forgotten. Runs on: any thread."""
        if self.closed:
            raise RoomClosed(f"room {self._name} is closed")

    def close(self, idle_for: float | None = None) -> bool:
        """Takes no more subscriptions; with `idle_for`, only if nobody listened for so many seconds.

        False: it was closed already, or is in use. Runs on: any thread.
        """
        with self._lock:
            busy = idle_for is not None and (self._attended or self._clock() - self._active_at < idle_for)
            if self.closed or busy:
                return False
            self.closed = True
            return True

    # Helpers

    def _offer_locked(self, records: Sequence[Record], listed: list[Any], full: set[Any]) -> None:
        refused = None
        try:
            self._tail.extend(records)
            refused = self._audience.offer(records, listed, full)
            if refused:
                self._demote_locked(refused, records)
        except BaseException:  # of a signal handler, at any point: some hear it twice, but nobody misses it
            self._tail.repair(records)
            self._demote_locked(list(self._audience) if refused is None else refused, records)
            raise

    def _go_live_locked(self, subscription: Subscription, listed: list[Any]) -> bool:
        if subscription.marker is not None:
            if subscription.sink.offer(subscription.marker, listed) is Answer.NO:
                return False
            subscription.marker = None
        self._behind.discard(subscription)
        subscription.live = True
        self._audience.add(subscription)
        return True

    def _demote_locked(self, refused: list[Subscription], records: Sequence[Record]) -> None:
        position = Position(records[0].event.id - 1, self._epoch)
        for subscription in refused:
            self._audience.discard(subscription)
            self._behind.add(subscription)
            subscription.live = False
            subscription.position = position
        self._unserved += refused
