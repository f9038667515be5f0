"""One subscriber's position in one room, its filter, and how its sink is fed when it is behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from threadchat.chat.delivery.producer import Producer, Step
from threadchat.chat.log.backpressure import Ticket
from threadchat.chat.log.events import EVENT, Position, Record, UserId
from threadchat.errors import Cancelled, ConnectionClosed, SlowConsumer
from threadchat.wire.outbox import Answer

log = logging.getLogger(__name__)

REPLAY_STEP: Final = 16
"""Events that a producer puts at a time: less than the half of an outbox that it may fill."""
REPLAY_BYTES: Final = 64 << 10
"""JSON bytes that a producer puts at a time, unless one event is larger: a peer that reads 60 KB/s takes
them within a second or so."""


class Line(Protocol):
    """Where full sinks wait for their turn; a publisher takes a ticket behind them."""

    def ticket(self) -> Ticket: ...


class Sink(Protocol):
    """Whatever a subscription feeds: a connection, a stream."""

    @property
    def line(self) -> Line:
        """The sinks of one program that are outboxes share one; a stream is its own."""

    def offer(self, payload: Any, listed: list[Any]) -> Answer:
        """Takes the payload, or answers NO or GONE, at once. Runs on: publishers, under a room's lock."""

    def offer_light(self, payload: Any, listed: list[Any]) -> Answer:
        """As `offer`, but only while there is plenty of room."""

    def feed(self, payload: Any, cancelled: Callable[[], bool]) -> None:
        """Takes the payload when there is room. Raises ConnectionClosed, SlowConsumer, Cancelled."""

    @property
    def stalled(self) -> bool:
        """Whether its peer takes nothing just now: nobody waits for that."""

    def nudge(self) -> None:
        """Makes a waiting `feed` look at `cancelled`; once this returns, nothing cancelled is taken."""

    def fall_behind(self) -> None:
        """Told that the log no longer reaches back to what this sink has had."""


Encode = Callable[[Sequence[Record]], Any]
"""Makes one payload of some events; sinks that share a function share its results."""


class Filter:
    """Which events a subscriber wants: by type, by user, by name, or several of these.

    `names` are those of the application's own events; with them alone nothing else passes, and with `types`
    these say what else does.
    """

    __slots__ = ("_names", "_types", "_users")

    def __init__(
        self,
        types: Sequence[str] | None = None,
        users: Sequence[UserId] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if names is not None and types is None:
            types = (EVENT,)
        self._types = None if types is None else frozenset(types)
        self._users = None if users is None else frozenset(users)
        self._names = None if names is None else frozenset(names)

    @property
    def passes_all(self) -> bool:
        """Whether nothing is filtered out."""
        return self._types is None and self._users is None

    def __call__(self, records: Sequence[Record]) -> Sequence[Record]:
        """The wanted ones of `records`. A room's end is for everybody."""
        if self.passes_all:
            return records
        return [
            item
            for item in records
            if item.event.type == "close"
            or (
                (self._types is None or item.event.type in self._types)
                and (self._users is None or item.event.user in self._users)
                and (self._names is None or item.event.type != EVENT or item.event.name in self._names)
            )
        ]


ALL: Final = Filter()


class Batch(NamedTuple):
    """Events for one that is behind, and where it was when they were read."""

    position: Position
    records: Sequence[Record]


class Source(Protocol):
    """Where subscriptions read: a room. Runs on: any thread."""

    def next_batch(self, subscription: Subscription, limit: int) -> Batch | None:
        """The next events for one that is behind; None once it is live, stopped, or out of reach.

        None at all (an empty list) where it is level, but its sink has no room for its marker.
        """

    def advance(self, subscription: Subscription, batch: Batch) -> None:
        """Notes that its sink has had these, unless its position was changed since they were read."""

    def postpone(self, subscription: Subscription) -> None:
        """Has one that is behind served with the room's next event."""

    def drop(self, subscription: Subscription) -> None:
        """Ends a subscription."""


class Subscription:
    """Live, or catching up: born catching up, `start` lets it go.

    Live, its room offers to the sink directly and nothing here moves. Catching up, `position` is
    the last event that the sink has had, and its producer reads the log from there at the
    sink's pace. The room's lock guards `live`, `stopped`, `position`, and `marker` while it is not served.
    """

    def __init__(
        self,
        room: Source,
        sink: Sink,
        encode: Encode,
        wanted: Filter,
        start: Position,
        *,
        producer: Producer,
        recovered: bool | None,
        owner: Hashable,
        name: str,
        marker: Any,
        background: bool,
        lasting: bool,
        session: str = "",
    ) -> None:
        self.sink = sink
        self.encode = encode
        self.wanted = wanted
        self.origin = self.position = start
        self.recovered = recovered  # whether `since` could be honoured; None: there was none
        self.owner = owner  # the user, where it is a member's
        self.marker = marker  # offered once, at the end of the replay
        self.background = background  # does not keep the room from being idle
        self.lasting = lasting  # goes on where another log begins
        self.session = session  # events that skip it are not for this subscription
        self.live = False
        self.stopped = False
        self._room = room
        self._producer = producer  # of the sink
        self._name = name
        self._served = False  # by the producer, or was once
        self._step: Step | None = None  # of the producer; publishers wait for it
        self._stepping = threading.Lock()  # guards `_step`; a leaf

    def start(self) -> None:
        """Goes live if nothing happened since the subscription, else has the producer serve it.

        Runs on: the subscriber's thread, once, after it put its reply.
        """
        if self._room.next_batch(self, 1) is not None:
            self.catch_up()

    def stop(self) -> None:
        """Ends the subscription; nothing reaches the sink after this returns. Runs on: any thread."""
        self._room.drop(self)
        self.sink.nudge()
        self._producer.dismiss(self)

    def select(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of `records` that are wanted, and skip another session or none."""
        wanted = self.wanted(records)
        if self.session and any(item.event.skip == self.session for item in wanted):
            return [item for item in wanted if item.event.skip != self.session]
        return wanted

    def is_stopped(self) -> bool:
        """Whether the subscription was ended. Runs on: any thread."""
        return self.stopped

    def catch_up(self) -> None:
        """Has the sink's producer serve this until it is live. Runs on: any thread without a room's lock."""
        self._served = True
        self._producer.serve(self)

    @staticmethod
    def catch_up_all(subscriptions: Sequence[Subscription]) -> None:
        """`catch_up` for each."""
        for subscription in subscriptions:
            subscription.catch_up()

    def feed_step(self) -> bool:
        """Feeds the next events of the log; False once it is live or has ended. Runs on: the producer."""
        try:
            batch = self._room.next_batch(self, REPLAY_STEP)
            if batch is None:
                return False
            if batch.records:
                if wanted := self.select(batch.records):
                    self.sink.feed(self.encode(wanted), self.is_stopped)
                self._room.advance(self, batch)
            else:
                self.sink.feed(self.marker, self.is_stopped)
                self.marker = None
            return True
        except (Cancelled, ConnectionClosed, SlowConsumer):
            self._room.drop(self)
        except Exception:
            log.exception("%s failed in room %s", threading.current_thread().name, self._name)
            self.give_up()
        finally:
            self._pass_step()
        return False

    def no_thread(self) -> None:
        """Ends the subscription; one in the background waits for its room's next event.

        Runs on: whoever wanted it served, without a lock.
        """
        self._served = False
        self._pass_step()
        if self.background:
            self._room.postpone(self)
        else:
            self.give_up()

    def ticket(self) -> Step:
        """What publishers wait for while the log threatens to leave this behind. Runs on: publishers."""
        step = Step(self.sink)
        self._pass_step(step)  # whoever still waits for the one before need not
        if self.live or self.stopped or not self._served:  # looked at after the step is there
            step.take()
        return step

    def _pass_step(self, following: Step | None = None) -> None:
        with self._stepping:
            step, self._step = self._step, following
        if step is not None:
            step.take()

    def give_up(self) -> None:
        """Ends it, and tells its sink that it fell behind. Runs on: any thread without a room's lock."""
        self._room.drop(self)
        self.sink.fall_behind()

    def __repr__(self) -> str:
        behind = f"catching up from {self.position.offset}"
        state = "stopped" if self.stopped else "live" if self.live else behind
        return f"<Subscription {self._name} {state}>"
