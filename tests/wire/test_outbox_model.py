"""The outbox against a plain model of it: every step of producers and writer, in any order."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from threadchat.errors import Cancelled, ConnectionClosed, SendTimeout
from threadchat.testing import FakeClock
from threadchat.wire.outbox import MAX_TAKE, MAX_TAKE_REFUSED, Answer, Outbox, State
from threadchat.wire.protocol.requests import (
    Close,
    Control,
    Echo,
    FlushingClose,
    Handshake,
    Ping,
    Pong,
    Text,
    UserPing,
)

SEND_TIMEOUT = 3.0
MAX_PONGS = 16

FRAMES = st.one_of(
    st.tuples(st.integers(8, 64), st.just(1)),
    st.tuples(st.sampled_from([300, 900, 20_000, 70_000, 200_000, 300_000, 700_000]), st.integers(1, 3)),
    st.tuples(st.just(0), st.just(0)),  # nothing at all: what a dialect makes of events that it does not tell
)
"""Bytes and messages of a text."""
CONTROLS = st.sampled_from([Ping, Pong, UserPing, Handshake])
CLOSES = st.sampled_from([Close, FlushingClose, Echo])
SELDOM = st.sampled_from([False] * 9 + [True])
MEANWHILE = st.lists(
    st.sampled_from(
        ["turn", "take", "settle", "block", "progress", "second", "offer", "close", "end", "nudge"]
    ),
    max_size=6,
)
"""What happens while a put waits."""


class Waiting(NamedTuple):
    """A text in the model."""

    frame: bytes
    messages: int


class Line:
    """A turnstile that gives permits when the machine says so."""

    def __init__(self) -> None:
        self.inside = 0
        self.urged = 0

    def enter(self, outboxes: Iterable[Outbox]) -> None:
        for outbox in outboxes:
            assert outbox.state is State.LISTED
            self.inside += 1

    def urge(self, outbox: Outbox) -> None:
        assert outbox.state is not State.IDLE
        self.urged += 1


class Interlude:
    """The condition that puts wait on: things happen in a wait, and nobody waits who need not."""

    def __init__(self, mutex: Any, happen: Callable[[float | None], None]) -> None:
        self._mutex = mutex
        self._happen = happen
        self.notified = 0

    def wait(self, timeout: float | None = None) -> bool:
        self._mutex.release()
        try:
            self._happen(timeout)
        finally:
            self._mutex.acquire()
        return True

    def notify_all(self) -> None:
        assert self._mutex.locked()
        self.notified += 1


class OutboxModel(RuleBasedStateMachine):
    """The model: two lists, a flushing_close, and what the state of the writer has to be."""

    @initialize(
        most=st.integers(4, 24), size=st.sampled_from([1024, 100_000, 600_000, 1 << 20]), held=st.booleans()
    )
    def begin(self, most: int, size: int, held: bool) -> None:
        self.clock = FakeClock()
        self.line = Line()
        self.outbox = Outbox(self.line, most, size, clock=self.clock)
        self.outbox.not_full = self.condition = Interlude(self.outbox.mutex, self.wait_happens)  # type: ignore[assignment]
        self.most, self.size = most, size
        self.texts: list[Waiting] = []
        self.control: list[Control] = []
        self.flushing_close: Close | None = None
        self.closed: int | None = None
        self.ended = False
        self.state = State.IDLE
        self.most_taken = MAX_TAKE
        self.blocked_since = 0.0
        self.listed: list[Outbox] = []  # a publisher's, who has not entered them yet
        self.held = held
        if held:
            self.outbox.hold()
            self.state = State.LISTED
        self.inside = 0
        self.serial = 0
        self.taken = False  # something was taken and is not settled
        self.written = 0
        self.writer_done = False
        # of the put that waits, if one does
        self.waits: Text | None = None
        self.half = self.cancellable = self.cancelled = False
        self.patience: float | None = None
        self.started = 0.0
        self.plan: deque[str] = deque()

    # The model's rules

    @property
    def messages(self) -> int:
        return sum(text.messages for text in self.texts)

    @property
    def bytes(self) -> int:
        return sum(len(text.frame) for text in self.texts)

    def fits(self, text: Text, share: int = 1) -> bool:
        if not self.messages:
            return True
        most, size = self.messages + text.messages, self.bytes + text.size
        return most * share <= self.most and size * share <= self.size

    def add(self, text: Text) -> None:
        self.texts.append(Waiting(text.frame, text.messages))

    def list_it(self, *, entered: bool = True) -> None:
        if self.state is State.IDLE:
            self.state = State.LISTED
            self.inside += entered

    def discard(self) -> None:
        self.texts, self.control, self.flushing_close = [], [], None

    def text(self, shape: tuple[int, int]) -> Text:
        self.serial += 1
        size, messages = shape
        return Text(f"<{self.serial}>".encode().ljust(size, b".")[:size], messages)

    # Producers

    @rule(shape=FRAMES, light=st.booleans(), enters=st.booleans())
    def offer(self, shape: tuple[int, int], light: bool, enters: bool) -> None:
        text = self.text(shape)
        share = 2 if light else 1
        if self.closed is not None:
            expected = Answer.GONE
        elif not self.fits(text, share):
            expected = Answer.NO
        else:
            self.add(text)
            full = self.messages > self.most * 3 // 4 or self.bytes > self.size * 3 // 4
            held_up = full and not light and self.state is not State.BLOCKED
            expected = Answer.HIGH if held_up else Answer.YES
            self.list_it(entered=False)
        offer = self.outbox.offer_light if light else self.outbox.offer
        assert offer(text, self.listed) is expected
        if enters:
            self.publisher_enters()

    @rule()
    def publisher_enters(self) -> None:
        listed, self.listed = self.listed, []
        self.inside += len(listed)
        self.line.enter(listed)

    @precondition(lambda self: self.held)
    @rule()
    def open(self) -> None:
        self.held = False
        self.inside += 1
        self.line.enter((self.outbox,))

    @rule(shape=FRAMES)
    def put_at_once(self, shape: tuple[int, int]) -> None:
        text = self.text(shape)
        if self.closed is not None:
            with pytest.raises(ConnectionClosed) as caught:
                self.outbox.put(text, block=False)
            assert caught.value.code == self.closed
        elif not self.fits(text):
            with pytest.raises(queue.Full):
                self.outbox.put(text, block=False)
        else:
            self.outbox.put(text, block=False)
            self.add(text)
            self.list_it()

    @rule(shape=FRAMES, plan=MEANWHILE, patience=st.sampled_from([SEND_TIMEOUT, None]))
    def put(self, shape: tuple[int, int], plan: list[str], patience: float | None) -> None:
        self.wait_for_room(shape, plan, patience, producer=False)

    @rule(shape=FRAMES, plan=MEANWHILE)
    def feed(self, shape: tuple[int, int], plan: list[str]) -> None:
        self.wait_for_room(shape, plan, SEND_TIMEOUT, producer=True)

    def wait_for_room(
        self, shape: tuple[int, int], plan: list[str], patience: float | None, *, producer: bool
    ) -> None:
        text = self.waits = self.text(shape)
        self.half = self.cancellable = producer
        self.plan = deque(plan)
        self.patience, self.started = patience, self.clock()
        outcome, code = "in", None
        try:
            if producer:
                self.outbox.feed(text, patience, lambda: self.cancelled)
            else:
                self.outbox.put(text, timeout=patience)
        except (ConnectionClosed, Cancelled, SendTimeout) as error:
            outcome = type(error).__name__
            code = getattr(error, "code", self.closed)
        assert (outcome, code) == (self.due(), self.closed)
        if outcome == "in":
            self.add(text)
            self.list_it()
        self.waits, self.cancelled = None, False

    def due(self) -> str | None:
        """What has to become of the put that waits; None: it goes on waiting."""
        assert self.waits is not None
        if self.cancelled:
            return "Cancelled"
        if self.closed is not None:
            return "ConnectionClosed"
        if self.fits(self.waits, 2 if self.half else 1):
            return "in"
        if self.state is State.BLOCKED and self.patience is not None and self.remaining() <= 0:
            return "SendTimeout"
        return None

    def remaining(self) -> float:
        assert self.patience is not None
        return max(self.started, self.blocked_since) + self.patience - self.clock()

    def wait_happens(self, timeout: float | None) -> None:
        """Called in a wait: something happens, and whoever need not wait any more was told so."""
        assert self.due() is None, "a put waits that need not"
        if self.state is State.BLOCKED and self.patience is not None:
            assert timeout == self.remaining()
        else:
            assert timeout == self.patience
        notified = self.condition.notified
        if self.plan:
            self.happen(self.plan.popleft())
        else:
            self.turn()
        if self.due() not in (None, "SendTimeout"):  # that one wakes by itself
            assert self.condition.notified > notified, "nobody woke the put that waits"

    def happen(self, what: str) -> None:
        steps: dict[str, Callable[[], None]] = {
            "turn": self.turn,
            "take": self.take,
            "settle": self.settle,
            "block": self.block,
            "progress": self.progress,
            "second": lambda: self.time_passes(1.0),
            "offer": lambda: self.offer((8, 1), False, True),
            "close": lambda: self.close(FlushingClose),
            "end": self.end,
            "nudge": self.cancel,
        }
        steps[what]()

    def cancel(self) -> None:
        self.cancelled = self.cancellable
        self.outbox.nudge()

    @rule()
    def nudge(self) -> None:
        self.outbox.nudge()

    @rule(kind=CONTROLS)
    def put_control(self, kind: type[Control]) -> None:
        self.serial += 1
        item = kind(b"%d" % self.serial)
        urged = self.line.urged
        self.outbox.put(item)
        if self.closed is not None:
            assert self.line.urged == urged
            return
        if isinstance(item, Pong):
            pongs = [waiting for waiting in self.control if isinstance(waiting, Pong)]
            if len(pongs) == MAX_PONGS:
                self.control.remove(pongs[0])
        if not isinstance(item, Ping) or not any(isinstance(each, Ping) for each in self.control):
            self.control.append(item)
        self.urge(urged)

    @rule(times=st.integers(1, 40))
    def ping_flood(self, times: int) -> None:
        """The peer pings and pings, and the writer does not get to answer."""
        for _ in range(times):
            self.put_control(Pong)

    @rule(kind=CLOSES, sure=SELDOM)
    def closes(self, kind: type[Close], sure: bool) -> None:
        if sure:
            self.close(kind)

    def close(self, kind: type[Close]) -> None:
        self.serial += 1
        item = Echo() if kind is Echo else kind(3000 + self.serial % 1000, "")
        urged = self.line.urged
        self.outbox.close(item)
        if self.closed is not None:
            return
        self.closed = item.code
        if isinstance(item, FlushingClose):
            self.flushing_close = item
        else:
            self.discard()
            self.control = [item]
        self.urge(urged)

    def urge(self, urged_before: int) -> None:
        self.list_it()
        assert self.line.urged - urged_before == (self.state is State.LISTED)

    @rule(sure=SELDOM)
    def is_lost(self, sure: bool) -> None:
        if sure:
            self.end()

    def end(self) -> None:
        self.outbox.end(ConnectionClosed(1006))
        self.closed = self.closed or 1006
        self.discard()
        self.ended = True
        self.list_it()

    # The writer

    @rule()
    def take(self) -> None:
        if not self.inside:
            return  # it sleeps, or is at it
        self.inside -= 1
        self.line.inside -= 1
        expected = b"".join(control.frame for control in self.control)
        closes = any(type(control) is Close for control in self.control)
        self.control = []
        size = 0
        while self.texts and (not size or size + len(self.texts[0].frame) <= self.most_taken):
            expected += self.texts[0].frame
            size += len(self.texts.pop(0).frame)
        if self.flushing_close is not None and not self.texts:
            expected += self.flushing_close.frame
            closes = True
        if closes:
            self.discard()
            self.ended = True
        data = self.outbox.take()
        assert data == expected
        self.state = State.RUNNING
        self.taken, self.written = True, len(data)

    @precondition(lambda self: self.state is State.RUNNING)
    @rule()
    def block(self) -> None:
        if self.state is State.RUNNING and self.taken and self.written:
            self.outbox.block()
            self.state = State.BLOCKED
            self.most_taken = MAX_TAKE_REFUSED
            self.blocked_since = self.clock()

    @precondition(lambda self: self.state is State.BLOCKED)
    @rule()
    def progress(self) -> None:
        if self.state is State.BLOCKED and self.taken:
            self.outbox.progress()
            self.blocked_since = self.clock()

    @rule()
    def settle(self) -> None:
        if not self.taken:
            return
        self.taken = False
        if self.ended:
            self.writer_done = True
        else:
            waits = bool(self.texts or self.control or self.flushing_close)
            self.state = State.LISTED if waits else State.IDLE
            if waits:
                self.inside += 1
                self.line.inside += 1  # it goes to the end of the line itself
        assert self.outbox.settle() is self.state

    @rule()
    def turn(self) -> None:
        """A whole turn, as far as there is one to be had."""
        if self.held:
            self.open()
        self.publisher_enters()
        self.settle()
        self.take()
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # What always holds

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "outbox"):
            return
        assert self.outbox.qsize() == self.messages
        assert self.outbox._bytes == self.bytes
        assert (
            len(self.texts) < 2
            or (self.messages <= self.most and self.bytes <= self.size)
            or any(
                not text.messages
                for text in self.texts  # what is nothing takes no room
            )
        )
        assert [item.frame for item in self.outbox._control] == [item.frame for item in self.control]
        kinds = [type(item) for item in self.control]
        assert kinds.count(Ping) <= 1
        assert kinds.count(Pong) <= MAX_PONGS
        assert Close not in kinds or kinds == [Close]
        assert self.outbox.ended == self.ended

    @invariant()
    def states_are_legal(self) -> None:
        if not hasattr(self, "outbox"):
            return
        assert self.outbox.state is self.state
        # Listed is who has a permit coming: once, from the line, or from whoever is about to enter it.
        places = self.line.inside + len(self.listed) + self.held
        assert places == (self.state is State.LISTED)
        assert self.line.inside == self.inside
        if self.state is State.IDLE:  # asleep: then nothing waits
            assert not self.texts
            assert not self.control
            assert self.flushing_close is None
            assert not self.ended

    def teardown(self) -> None:
        """Whatever happened, all that waits leaves, and an end is reached."""
        if not hasattr(self, "outbox"):
            return
        for _ in range(len(self.texts) + 4):
            self.turn()
        assert not self.outbox.qsize()
        assert self.ended == (self.closed is not None)
        assert self.writer_done == self.ended
        self.states_are_legal()


TestOutbox = OutboxModel.TestCase
TestOutbox.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),  # to explain a failure traces every line
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
