"""The subscribers of a room: they begin by catching up, go live, and catch up again if they fall behind."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any

from threadchat.chat.delivery.audience import NoAudience
from threadchat.chat.delivery.live_delivery import LiveDelivery
from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import ALL, REPLAY_BYTES, Batch, Encode, Filter, Sink, Subscription
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, within
from threadchat.errors import RoomClosed
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer


class Fanout(LiveDelivery):
    """The subscribers of one room, and the tail of its log (with the memory broker, the whole log).

    `_lock` is the room's lock and guards everything here. It is held while offering, never while blocking,
    and no thread is started while it is held.
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
        super().__init__(history_size, history_bytes, clock)
        self._attended = 0  # subscriptions that keep the room from being idle
        self.closed = False  # closed or forgotten; other modules read it

    # The channel

    def begin(self, head: Position) -> None:
        """Sets the position before the first event. Only `lasting` subscriptions outlive a new log."""
        self.flush()
        with self._lock:
            everybody = [*self._behind, *self._audience]
            self._tail = self._tail.emptied()
            self._tail.head, self._epoch = head
            for subscription in everybody:
                subscription.position = head
        for subscription in everybody:
            if not subscription.lasting:
                subscription.give_up()

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
        """Registers a subscription, from `since` or from the head. It gets nothing before `start` is called.

        `recovered` says whether the log still reaches `since`; if not, the subscription begins at the head.
        A background one does not keep the room from being idle. A `lasting` one continues if a new log
        begins. A sink passes the same `producer` for all its rooms. Raises RoomClosed. Runs on: any thread.
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
        """See Source. Runs on: the producer's thread, and the subscriber's thread before that."""

        def read(listed: list[Any]) -> tuple[Position, list[Record] | None, bool] | None:
            with self._lock:
                position = subscription.position
                if subscription.stopped or subscription.live:  # if it is live, it was served twice
                    return position, [], True
                records = self._tail.after(position.offset, limit)
                if records == [] and self._deferred:
                    return None  # it has read what those who are live have yet to be offered
                return position, records, records == [] and self._go_live_locked(subscription, listed)

        while (found := entering(read)) is None:
            self.flush()
        position, records, over = found
        if records is None:
            subscription.give_up()
        return None if over or records is None else Batch(position, within(records, REPLAY_BYTES))

    def advance(self, subscription: Subscription, batch: Batch) -> None:
        """See Source. Runs on: the producer."""
        with self._lock:
            if subscription.position is batch.position:  # otherwise a new log began meanwhile
                subscription.position = Position(batch.records[-1].event.id, batch.position.epoch)

    def postpone(self, subscription: Subscription) -> None:
        """See Source. Runs on: any thread."""
        with self._lock:
            if not subscription.stopped:
                self._unserved.append(subscription)

    def drop(self, subscription: Subscription) -> None:
        """Ends a subscription. Runs on: any thread."""
        self.flush()  # what was published before its end
        with self._lock:
            self._attended -= not (subscription.stopped or subscription.background)
            subscription.stopped = True
            self._behind.discard(subscription)
            self._audience.discard(subscription)
            self._active_at = self._clock()

    # The room

    def idle_for(self) -> float:
        """Seconds since the last subscriber or event; 0 while there is a subscriber."""
        with self._lock:
            return 0.0 if self._attended else self._clock() - self._active_at

    def check_open(self) -> None:
        """Raises RoomClosed once the room is closed or forgotten. Runs on: any thread."""
        if self.closed:
            raise RoomClosed(f"room {self._name} is closed")

    def close(self, idle_for: float | None = None) -> bool:
        """Refuses further subscriptions. With `idle_for`, only if the room was idle for so long.

        Returns False if it was closed already or is in use. Runs on: any thread.
        """
        self.flush()
        with self._lock:
            busy = idle_for is not None and (self._attended or self._clock() - self._active_at < idle_for)
            if self.closed or busy:
                return False
            self.closed = True
            if idle_for is not None:  # only listeners to all rooms are left; each refers to this room
                self._audience = NoAudience()
            return True

    # Helpers

    def _go_live_locked(self, subscription: Subscription, listed: list[Any]) -> bool:
        if subscription.marker is not None:
            if subscription.sink.offer(subscription.marker, listed) is Answer.NO:
                return False
            subscription.marker = None
        self._behind.discard(subscription)
        subscription.live = True
        self._audience.add(subscription)
        return True
