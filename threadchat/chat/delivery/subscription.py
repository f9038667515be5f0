"""One subscriber's position in one room, its filter, and how its sink is fed while it is behind."""

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
"""The number of events that a producer feeds at a time: fewer than the half of an outbox that it may fill."""
REPLAY_BYTES: Final = 64 << 10
"""The JSON bytes that a producer feeds at a time, unless one event is larger. A peer that reads 60 KB/s takes
them in about a second.
"""


class Line(Protocol):
    """Where full sinks wait for their turn. A publisher takes a ticket behind them."""

    def ticket(self) -> Ticket: ...


class Sink(Protocol):
    """What a subscription feeds: a connection or a stream."""

    @property
    def line(self) -> Line:
        """What publishers wait in. All outboxes of a program share one line; a stream is its own line."""

    def offer(self, payload: Any, listed: list[Any]) -> Answer:
        """Takes the payload, or answers NO or GONE. Never blocks.

        Runs on: publishers, under a room's lock.
        """

    def offer_light(self, payload: Any, listed: list[Any]) -> Answer:
        """Like `offer`, but only while there is plenty of room."""

    def feed(self, payload: Any, cancelled: Callable[[], bool]) -> None:
        """Waits for room and takes the payload. Raises ConnectionClosed, SlowConsumer, Cancelled."""

    @property
    def stalled(self) -> bool:
        """Whether the peer reads nothing at the moment. Publishers do not wait for that."""

    def nudge(self) -> None:
        """Makes a `feed` that is waiting check `cancelled`.

        Once this returns, no cancelled payload is taken.
        """

    def fall_behind(self) -> None:
        """Called if the log no longer reaches back to the last event that this sink got."""


Encode = Callable[[Sequence[Record]], Any]
"""Encodes some events as one payload. Sinks that share the function share the payload."""


class Filter:
    """Selects the events that a subscriber wants, by type, by user, by name, or by several of these.

    `names` are names of the application's own events. Given alone, they let only these events pass. Together
    with `types`, they limit the type `event`, and `types` says what else passes.
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
        """Whether every event passes."""
        return self._types is None and self._users is None

    def __call__(self, records: Sequence[Record]) -> Sequence[Record]:
        """Returns those of `records` that are wanted. The `close` event always passes."""
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
    """Events for a subscription that is behind, and its position when they were read."""

    position: Position
    records: Sequence[Record]


class Source(Protocol):
    """What subscriptions read from: a room. Runs on: any thread."""

    def next_batch(self, subscription: Subscription, limit: int) -> Batch | None:
        """The next events for a subscription that is behind. None once it is live, stopped, or out of reach.

        The batch is empty if the subscription has caught up, but its sink has no room for the marker.
        """

    def advance(self, subscription: Subscription, batch: Batch) -> None:
        """Notes that the sink got these events, unless the position was changed since they were read."""

    def postpone(self, subscription: Subscription) -> None:
        """Puts off serving a subscription that is behind until the room's next event."""

    def drop(self, subscription: Subscription) -> None:
        """Ends a subscription."""


class Subscription:
    """A subscription to one room. It is either live or catching up, and begins by catching up.

    While it is live, the room offers events to the sink directly. While it is catching up, `position` is the
    last event that the sink got, and the producer reads the log from there at the sink's pace. The room's
    lock guards `live`, `stopped` and `position`. It also guards `marker` while the producer does not serve
    the subscription.
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
        self.recovered = recovered  # whether the log reached `since`; None without `since`
        self.owner = owner  # the user, if the subscription belongs to a member
        self.marker = marker  # offered once, at the end of the replay
        self.background = background  # does not keep the room from being idle
        self.lasting = lasting  # continues if a new log begins
        self.session = session  # events that skip this session are left out
        self.live = False
        self.stopped = False
        self._room = room
        self._producer = producer  # the sink's
        self._name = name
        self._served = False  # the producer serves it, or has served it
        self._step: Step | None = None  # the producer's next step; publishers wait for it
        self._stepping = threading.Lock()  # guards `_step`; a leaf

    def start(self) -> None:
        """Goes live if nothing was published since the subscription. Otherwise hands it to the producer.

        Runs on: the subscriber's thread, once, after it has put its reply.
        """
        if self._room.next_batch(self, 1) is not None:
            self.catch_up()

    def stop(self) -> None:
        """Ends the subscription. Nothing reaches the sink after this returns. Runs on: any thread."""
        self._room.drop(self)
        self.sink.nudge()
        self._producer.dismiss(self)

    def select(self, records: Sequence[Record]) -> Sequence[Record]:
        """Returns those of `records` that are wanted and do not skip this session."""
        wanted = self.wanted(records)
        if self.session and any(item.event.skip == self.session for item in wanted):
            return [item for item in wanted if item.event.skip != self.session]
        return wanted

    def is_stopped(self) -> bool:
        """Whether the subscription has ended. Runs on: any thread."""
        return self.stopped

    def catch_up(self) -> None:
        """Lets the sink's producer serve this subscription until it is live.

        Runs on: any thread that holds no room's lock.
        """
        self._served = True
        self._producer.serve(self)

    @staticmethod
    def catch_up_all(subscriptions: Sequence[Subscription]) -> None:
        """Calls `catch_up` for each subscription."""
        for subscription in subscriptions:
            subscription.catch_up()

    def feed_step(self) -> bool:
        """Feeds the next events of the log. Returns False once it is live or has ended.

        Runs on: the producer's thread.
        """
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
        """Ends the subscription. A background subscription waits for the room's next event instead.

        Runs on: the thread that called `catch_up`, with no lock held.
        """
        self._served = False
        self._pass_step()
        if self.background:
            self._room.postpone(self)
        else:
            self.give_up()

    def ticket(self) -> Step:
        """Returns what publishers wait for while the log is about to outrun this subscription.

        Runs on: publishers.
        """
        step = Step(self.sink, self._producer)
        self._pass_step(step)  # publishers that wait for the previous step may go on
        if self.live or self.stopped or not self._served:  # checked after the step is set
            step.take()
        return step

    def _pass_step(self, following: Step | None = None) -> None:
        with self._stepping:
            step, self._step = self._step, following
        if step is not None:
            step.take()

    def give_up(self) -> None:
        """Ends the subscription and tells its sink that it fell behind.

        Runs on: any thread that holds no room's lock.
        """
        self._room.drop(self)
        self.sink.fall_behind()

    def __repr__(self) -> str:
        behind = f"catching up from {self.position.offset}"
        state = "stopped" if self.stopped else "live" if self.live else behind
        return f"<Subscription {self._name} {state}>"
