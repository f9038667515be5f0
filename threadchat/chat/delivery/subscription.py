"""One subscriber's position in one room, its filter, and the producer that feeds it when it is behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from threadchat.chat.log.backpressure import Ticket
from threadchat.chat.log.events import EVENT, Position, Record, UserId
from threadchat.errors import Cancelled, ConnectionClosed, SlowConsumer
from threadchat.wire.outbox import Answer

if TYPE_CHECKING:
    from threadchat.chat.delivery.fanout import Fanout

log = logging.getLogger(__name__)

REPLAY_STEP: Final = 16
"""Events that a producer puts at a time: less than the half of an outbox that it may fill."""
REPLAY_BYTES: Final = 64 << 10
"""JSON bytes that a producer puts at a time, unless one event is larger: a peer that reads 60 KB/s takes
them well within `write_timeout`."""

STALL_POLL: Final = 0.01
"""Seconds after which a publisher that waits for a producer looks whether that one waits for its peer."""


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


def enter(listed: list[Any]) -> None:
    """Hands all that one call listed to their common line. Runs on: a thread that holds no room's lock."""
    if listed:
        listed[0].line.enter(listed)


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


class Step:
    """A publisher's ticket for one that falls behind: passed with the next step of its producer.

    A producer that waits for its peer holds nobody.
    """

    __slots__ = ("_sink", "_taken")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._taken = threading.Event()

    def take(self) -> None:
        """Lets publishers go on. Runs on: the producer."""
        self._taken.set()

    @property
    def passed(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._taken.is_set() or self._sink.stalled

    def begin(self) -> None:
        """Nothing to do: the producer is at work. Runs on: publishers."""

    def wait(self, timeout: float) -> None:
        """Waits for the step, at most `timeout` seconds; then it counts as passed. Runs on: publishers."""
        deadline = monotonic() + timeout
        while not self.passed and (remaining := deadline - monotonic()) > 0:
            self._taken.wait(min(remaining, STALL_POLL))
        self._taken.set()


class Subscription:
    """Live, or catching up: born catching up, `start` lets it go.

    Live, its room offers to the sink directly and nothing here moves. Catching up, `position` is
    the last event that the sink has had, and a producer thread reads the log from there at the
    sink's pace. The room's lock guards `live`, `stopped`, `marker`, and `position` while there is
    no producer.
    """

    def __init__(
        self,
        room: Fanout,
        sink: Sink,
        encode: Encode,
        wanted: Filter,
        start: Position,
        *,
        recovered: bool | None,
        owner: Hashable,
        name: str,
        marker: Any,
        background: bool,
        session: str = "",
    ) -> None:
        self.sink = sink
        self.encode = encode
        self.wanted = wanted
        self.origin = start
        self.position = start.offset
        self.recovered = recovered  # whether `since` could be honoured; None: there was none
        self.owner = owner  # the user, where it is a member's
        self.marker = marker  # offered once, at the end of the replay
        self.background = background  # does not keep the room from being idle
        self.session = session  # events that skip it are not for this subscription
        self.live = False
        self.stopped = False
        self._room = room
        self._name = name
        self._has_producer = False  # or had one
        self._step: Step | None = None  # of the producer; publishers wait for it
        self._stepping = threading.Lock()  # guards `_step`; a leaf

    def start(self) -> None:
        """Goes live if nothing happened since the subscription, else starts the producer.

        Runs on: the subscriber's thread, once, after it put its reply.
        """
        self._room.resume(self)

    def stop(self) -> None:
        """Ends the subscription; nothing reaches the sink after this returns. Runs on: any thread."""
        self._room.drop(self)
        self.sink.nudge()

    def select(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those of `records` that are wanted, and skip another session or none."""
        wanted = self.wanted(records)
        if self.session and any(item.event.skip == self.session for item in wanted):
            return [item for item in wanted if item.event.skip != self.session]
        return wanted

    def is_stopped(self) -> bool:
        """Whether the subscription was ended. Runs on: any thread."""
        return self.stopped

    def start_producer(self) -> None:
        """Starts the thread that catches up. Runs on: any thread that holds no room's lock."""
        thread = threading.Thread(target=self.catch_up, name=f"producer-{self._name}", daemon=True)
        self._has_producer = True
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            log.error("%s cannot start: %s", thread.name, error)
            self._give_up()

    def catch_up(self) -> None:
        """Feeds the sink from the log until level with its head, then goes live.

        Runs on: the subscription's producer thread.
        """
        try:
            while (records := self._room.next_records(self, REPLAY_STEP)) is not None:
                if records:
                    if wanted := self.select(records):
                        self.sink.feed(self.encode(wanted), self.is_stopped)
                    self.position = records[-1].event.id
                    self._pass_step()
                else:
                    self.sink.feed(self.marker, self.is_stopped)
                    self.marker = None
        except (Cancelled, ConnectionClosed, SlowConsumer):
            self._room.drop(self)
        except Exception:
            log.exception("%s failed", threading.current_thread().name)
            self._give_up()
        finally:
            self._pass_step()

    def ticket(self) -> Step:
        """What publishers wait for while the log threatens to leave this behind. Runs on: publishers."""
        step = Step(self.sink)
        self._pass_step(step)  # whoever still waits for the one before need not
        if self.live or self.stopped or not self._has_producer:  # looked at after the step is there
            step.take()
        return step

    def _pass_step(self, following: Step | None = None) -> None:
        with self._stepping:
            step, self._step = self._step, following
        if step is not None:
            step.take()

    def _give_up(self) -> None:
        self._room.drop(self)
        self.sink.fall_behind()

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "live" if self.live else f"catching up from {self.position}"
        return f"<Subscription {self._name} {state}>"
