"""Subscriptions against a plain list of what each sink must have got; no producer runs by itself."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.chat.helpers import Tickets, ids_of
from threadchat.chat.delivery import subscription as module
from threadchat.chat.delivery.subscription import Filter, Subscription
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import MESSAGE, Draft, Event, Position, Record
from threadchat.chat.room import Room
from threadchat.errors import Cancelled, ConnectionClosed, RoomClosed
from threadchat.wire.outbox import Answer

MARKER = ["live"]
CAPACITY = 40
"""Events that a sink holds; a producer fills it by half."""

PEOPLE = st.sampled_from(["ann", "bob"])
KINDS = st.sampled_from([MESSAGE, "join"])
BATCHES = st.lists(st.tuples(PEOPLE, KINDS), min_size=1, max_size=12)
FILTERS = st.sampled_from(
    [(None, None), (None, None), (["message"], None), (["join"], ["ann"]), (None, ["bob"]), ([], None)]
)
SELDOM = st.sampled_from([False] * 6 + [True])
WHICH = st.integers(0, 1 << 16)
MEANWHILE = st.lists(
    st.sampled_from(["publish", "much", "stop", "drain", "fill", "gone", "close"]), max_size=4
)
"""What happens while a producer feeds."""


def other_ids(items: Sequence[Record]) -> list[int]:
    """Another dialect."""
    return ids_of(items)


class NotNow(BaseException):
    """A producer would wait here: it is left, and comes back."""


class Producer:
    """A thread that runs when the machine lets it."""

    def __init__(self, target: Callable[[], None], name: str, daemon: bool) -> None:
        assert daemon
        self.target = target
        self.name = name
        self.started = False
        self.running = False

    def start(self) -> None:
        assert not self.started
        self.started = True
        Producer.all.append(self)

    all: list[Producer]


class Sink:
    """An outbox of the simplest kind: so many events wait in it until they are drained."""

    def __init__(self, model: SubscriptionModel, wanted: Filter, line: Tickets) -> None:
        self.model = model
        self.wanted = wanted
        self.line = line
        self.start = 0  # what comes after this is expected
        self.got: list[int] = []
        self.marks: list[int] = []  # how many events had come when a marker did
        self.waiting = 0
        self.stalled = False
        self.gone = False
        self.light = 0
        self.stopped = False
        self.fell_behind = False
        self.subscription: Subscription
        self.meanwhile: deque[str] = deque()

    def expected(self, head: int) -> list[int]:
        """Numbers of the events that it has to have got once `head` was told."""
        records = [Record(event, b"") for event in self.model.events[self.start : head]]
        return [item.event.id for item in self.wanted(records)]

    def offer(self, payload: list[Any], listed: list[Any]) -> Answer:
        if self.gone:
            return Answer.GONE
        if self.waiting and self.waiting + len(payload) > CAPACITY:
            return Answer.NO
        self.take(payload, self.model.head)
        return Answer.HIGH if self.waiting > CAPACITY * 3 // 4 else Answer.YES

    def offer_light(self, payload: list[Any], listed: list[Any]) -> Answer:
        self.light += 1
        return Answer.YES

    def feed(self, payload: list[Any], cancelled: Callable[[], bool]) -> None:
        head = self.model.head  # when it was found that nothing else was to be told
        if self.meanwhile and not self.model.opening:
            try:
                self.model.happen(self.meanwhile.popleft(), self)
            except AssertionError as error:  # a producer logs what fails
                self.model.failure = error
        if cancelled():
            raise Cancelled
        if self.gone:
            raise ConnectionClosed(1006)
        if self.waiting and (self.waiting + len(payload)) * 2 > CAPACITY:
            raise NotNow
        self.take(payload, head)

    def nudge(self) -> None:
        """Nobody waits in `feed`."""

    def fall_behind(self) -> None:
        assert not self.stopped
        assert self.subscription.position < self.model.oldest, "the log reaches back"
        self.fell_behind = self.stopped = True

    def take(self, payload: list[Any], head: int) -> None:
        assert not self.stopped, "something came after the end"
        if payload is MARKER:
            assert not self.marks, "a second marker"
            assert self.got[: len(self.expected(head))] == self.expected(head), "a marker in the replay"
            self.marks.append(len(self.got))
            self.waiting += 1
        else:
            self.got += payload
            self.waiting += len(payload)


class SubscriptionModel(RuleBasedStateMachine):
    """The model: the events that there were, and for each sink where it began."""

    @initialize(history_size=st.sampled_from([4, 20, 60]))
    def begin(self, history_size: int) -> None:
        self.stack = contextlib.ExitStack()
        Producer.all = []
        threads = SimpleNamespace(
            Thread=Producer,
            Lock=threading.Lock,
            Event=threading.Event,
            current_thread=threading.current_thread,
        )
        self.stack.enter_context(patch.object(module, "threading", threads))
        self.room = Room("r", history_size=history_size)
        self.line = Tickets()
        self.history_size = history_size
        self.epoch = self.room.fanout.head.epoch
        self.events: list[Event] = []
        self.sinks: list[Sink] = []
        self.started: set[Sink] = set()
        self.closed = False
        self.opening = False  # a gate: nothing is said meanwhile
        self.failure: AssertionError | None = None

    @property
    def head(self) -> int:
        return len(self.events)

    @property
    def oldest(self) -> int:
        """What comes after it is in the log."""
        return max(0, self.head - self.history_size)

    # What is said

    @rule(batch=BATCHES)
    def publish(self, batch: list[tuple[str, str]]) -> None:
        if self.closed:
            return
        drafts = [Draft(kind, user, user, "hi") for user, kind in batch]
        # Before it is said: sinks get it meanwhile.
        self.note(batch)
        answer = self.room.try_publish(drafts)
        if isinstance(answer, Gate):
            del self.events[-len(batch) :]  # nothing was done
            self.open(answer)
            self.note(batch)
            answer = self.room.try_publish(drafts)
        assert not isinstance(answer, Gate), "a gate behind a gate"
        assert [place.offset for place in answer] == list(range(self.head - len(batch) + 1, self.head + 1))

    @rule()
    def publish_much(self) -> None:
        for _ in range(6):
            self.publish([("bob", MESSAGE)] * 12)

    def note(self, batch: list[tuple[str, str]]) -> None:
        for user, kind in batch:
            self.events.append(Event(id=self.head + 1, room="r", type=kind, user=user, time=0))

    def open(self, gate: Gate) -> None:
        """A publisher waits until producers took a step and writers had their turn, or their peers stall."""
        assert not gate.passed
        self.opening = True
        for ticket in self.line.given:
            ticket.let_pass()
        for producer in list(Producer.all):
            self.run(producer)
        for sink in self.sinks:
            sink.stalled = True
        assert gate.passed, "nobody would have let that publisher go on"
        gate.wait(0.0)
        for sink in self.sinks:
            sink.stalled = False
        self.opening = False

    # Who listens

    @rule(
        wanted=FILTERS,
        since=st.none()
        | st.tuples(st.integers(-1, 70), st.sampled_from(["this", "this", "this", "another"])),
        dialect=st.sampled_from([ids_of, other_ids]),
        member=st.booleans(),
        marked=st.booleans(),
        starts=st.sampled_from([True, True, True, False]),
    )
    def subscribe(
        self,
        *,
        wanted: tuple[Any, Any],
        since: tuple[int, str] | None,
        dialect: Any,
        member: bool,
        marked: bool,
        starts: bool,
    ) -> None:
        if self.closed:
            with contextlib.suppress(RoomClosed):
                self.room.subscribe(Sink(self, Filter(), self.line), dialect)
                raise AssertionError("a closed room took a subscription")
            return
        sink = Sink(self, Filter(*wanted), self.line)
        place = None
        if since is not None:
            place = Position(max(0, self.head - since[0]), self.epoch if since[1] == "this" else "another")
        subscription = sink.subscription = self.room.subscribe(
            sink,
            dialect,
            wanted=sink.wanted,
            since=place,
            owner="ann" if member else None,
            name=str(len(self.sinks)),
            marker=MARKER if marked else None,
        )
        recovered = (
            None if place is None else place.epoch == self.epoch and self.oldest <= place.offset <= self.head
        )
        assert subscription.recovered is recovered
        assert subscription.origin == (place if recovered else Position(self.head, self.epoch))
        sink.start = subscription.origin.offset
        self.sinks.append(sink)
        if starts:
            self.start(len(self.sinks) - 1)

    @precondition(lambda self: self.sinks)
    @rule(which=WHICH)
    def start(self, which: int) -> None:
        sink = self.sinks[which % len(self.sinks)]
        if sink not in self.started and not sink.stopped:
            self.started.add(sink)
            sink.subscription.start()

    @precondition(lambda self: self.sinks)
    @rule(which=WHICH, sure=SELDOM)
    def stops(self, which: int, sure: bool) -> None:
        if sure:
            self.stop(which)

    def stop(self, which: int) -> None:
        sink = self.sinks[which % len(self.sinks)]
        sink.subscription.stop()
        sink.stopped = True

    @precondition(lambda self: self.sinks)
    @rule(which=WHICH, count=st.sampled_from([1, 10, CAPACITY, CAPACITY]))
    def drain(self, which: int, count: int) -> None:
        sink = self.sinks[which % len(self.sinks)]
        sink.waiting = max(0, sink.waiting - count)

    @precondition(lambda self: self.sinks)
    @rule(which=WHICH)
    def fill(self, which: int) -> None:
        """Another room's events."""
        self.sinks[which % len(self.sinks)].waiting = CAPACITY

    @precondition(lambda self: Producer.all)
    @rule(which=WHICH, meanwhile=MEANWHILE)
    def produce(self, which: int, meanwhile: list[str]) -> None:
        """A producer runs until it is level, or finds no room; other things happen while it feeds."""
        producer = Producer.all[which % len(Producer.all)]
        self.sink_of(producer).meanwhile = deque(meanwhile)
        self.run(producer)

    def run(self, producer: Producer) -> None:
        if producer.running or producer not in Producer.all:
            return  # it is in the middle of it
        producer.running = True
        try:
            producer.target()
        except NotNow:
            return
        finally:
            producer.running = False
            if self.failure is not None:
                raise self.failure
        Producer.all.remove(producer)

    def sink_of(self, producer: Producer) -> Sink:
        return self.sinks[int(producer.name.removeprefix("producer-"))]

    def happen(self, what: str, sink: Sink) -> None:
        if what == "publish":
            self.publish([("ann", MESSAGE)])
        elif what == "much":
            self.publish_much()
        elif what == "stop":
            self.stop(self.sinks.index(sink))
        elif what == "drain":
            sink.waiting = 0
        elif what == "gone":
            sink.gone = True
        elif what == "close":
            self.close(True)
        else:
            sink.waiting = CAPACITY

    @precondition(lambda self: self.sinks)
    @rule(which=WHICH, sure=SELDOM)
    def hang_up(self, which: int, sure: bool) -> None:
        """The peer is gone; the session has not noticed."""
        self.sinks[which % len(self.sinks)].gone |= sure

    @rule(but=PEOPLE)
    def whisper(self, but: str) -> None:
        before = [sink.light for sink in self.sinks]
        self.room.fanout.whisper(["psst"], [ids_of], but=but)
        for sink, light in zip(self.sinks, before, strict=True):
            subscription = sink.subscription
            listens = subscription.live and not sink.stopped and subscription.encode is ids_of
            assert sink.light - light == (listens and subscription.owner not in (None, but))

    @rule(sure=SELDOM)
    def close(self, sure: bool) -> None:
        if sure and self.head > 10 and not self.closed:
            self.closed = True
            self.events.append(Event(id=self.head + 1, room="r", type="close", time=0))
            self.room.close()

    # What always holds

    @invariant()
    def everybody_got_a_beginning_of_it(self) -> None:
        for sink in getattr(self, "sinks", []):
            expected = sink.expected(self.head)
            assert sink.got == expected[: len(sink.got)], "a hole, a duplicate, or another order"
            subscription = sink.subscription
            assert subscription.stopped or not sink.stopped
            if subscription.live and not sink.gone and not sink.stopped:
                assert sink.got == expected, "live, and something is missing"

    @invariant()
    def nobody_is_forgotten(self) -> None:
        owners = [self.sink_of(producer) for producer in getattr(Producer, "all", [])]
        assert len(set(owners)) == len(owners), "two producers of one subscription"
        for sink in getattr(self, "started", ()):
            if not sink.subscription.stopped:
                assert sink.subscription.live != (sink in owners)

    def teardown(self) -> None:
        """Everybody who listens to the end, and reads, is level with it or was told that they are not."""
        if not hasattr(self, "room"):
            return
        try:
            for number in range(len(self.sinks)):
                self.start(number)
            for _ in range(1000):
                if not Producer.all:
                    break
                for sink in self.sinks:
                    sink.waiting = 0
                self.run(Producer.all[0])
            assert not Producer.all, "a producer gets nowhere"
            self.everybody_got_a_beginning_of_it()
            self.nobody_is_forgotten()
            for sink in self.sinks:
                if not sink.gone and not sink.stopped:
                    assert sink.got == sink.expected(self.head)
                    assert sink.subscription.live
                    assert sink.subscription.marker is None
            assert self.room.fanout._refused == []
        finally:
            self.stack.close()


TestSubscriptions = SubscriptionModel.TestCase
TestSubscriptions.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),  # to explain a failure traces every line
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
