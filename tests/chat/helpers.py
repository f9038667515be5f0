"""What the tests of chat/ share: clocks, sinks and peers whose every step a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import MESSAGE, Draft, Event, Record, record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.room import Room
from threadchat.errors import Cancelled, ConnectionClosed
from threadchat.testing import FakeClock
from threadchat.wire.outbox import Answer, Outbox, State
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Text
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.writer import Writer

PATIENCE = 30.0
"""Seconds after which a test that hangs fails; nothing waits for it to pass."""

PUBLICATION = (
    "log/sequencer.py",
    "log/tail.py",
    "delivery/fanout.py",
    "delivery/live_delivery.py",
    "delivery/audience.py",
    "delivery/subscription.py",
    "delivery/producer.py",
)
"""The files that a message passes through, in which tests interrupt its publisher."""

Clock = FakeClock


def say(*texts: str, user: int | str = "ann", key: str = "") -> list[Draft]:
    """Drafts of messages."""
    return [Draft(MESSAGE, user, str(user), text, "", key) for text in texts]


def records(first: int, last: int, message: str = "hi", user: int | str = "ann") -> list[Record]:
    """Consecutive messages with these offsets."""
    return [record(draft, first + i, "r", 7) for i, draft in enumerate(say(*[message] * (last - first + 1)))]


def ids_of(items: Sequence[Record]) -> list[int]:
    """Their offsets; also an encoding for sinks that keep what they get."""
    return [item.event.id for item in items]


def put(channel: Sequencer, *drafts: Draft) -> list[int]:
    """Publishes where no gate is expected; returns the offsets."""
    answer = channel.publish(drafts)
    assert not isinstance(answer, Gate)
    return [position.offset for position in answer]


def run(*bodies: Callable[[], object]) -> list[threading.Thread]:
    """Starts each body on a thread of its own."""
    threads = [threading.Thread(target=body, daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    return threads


def join(threads: Iterable[threading.Thread]) -> None:
    """Waits for threads, which have to end."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread.name} did not end"


def producers(name: str) -> list[threading.Thread]:
    """The producer threads of one subscription."""
    return [thread for thread in threading.enumerate() if thread.name == f"producer-{name}"]


class Tickets:
    """A line whose tickets pass when the test says so."""

    def __init__(self) -> None:
        self.given: list[Ticket] = []
        self.taken = threading.Semaphore(0)  # released with every ticket

    def ticket(self) -> Ticket:
        """A place in this line."""
        ticket = Ticket()
        self.given.append(ticket)
        self.taken.release()
        return ticket

    def enter(self, entrants: Iterable[Any]) -> None:
        """Nobody writes here."""


class Ticket:
    """Tells when a publisher waits on it."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self._passed = threading.Event()

    @property
    def passed(self) -> bool:
        """Whether the test let it pass."""
        return self._passed.is_set()

    def begin(self) -> None:
        """See gate.Ticket."""

    def wait(self, timeout: float) -> None:
        """Waits for the test, whatever the timeout."""
        self.waiting.release()
        assert self._passed.wait(PATIENCE)

    def let_pass(self) -> None:
        """Opens the way for whoever waits."""
        self._passed.set()


class RecordingSink:
    """A sink that answers what the test tells it to, and keeps what it was given."""

    def __init__(self, answer: Answer = Answer.YES, line: Any = None) -> None:
        self.answer = answer
        self.line = line or Tickets()
        self.stalled = False
        self.got: list[int] = []
        self.light: list[Any] = []
        self.fell_behind = 0
        self.feeding = threading.Semaphore(0)  # released whenever a producer comes to `feed`
        self.has_room = True  # for `feed`
        self.failure: Exception | None = None  # what `feed` raises
        self.changed = threading.Condition()

    def offer(self, payload: list[int], listed: list[Any]) -> Answer:
        """See Sink."""
        if self.answer is not Answer.NO:
            self._take(payload)
        return self.answer

    def offer_light(self, payload: Any, listed: list[Any]) -> Answer:
        """See Sink."""
        self.light.append(payload)
        return self.answer

    def feed(self, payload: list[int], cancelled: Callable[[], bool]) -> None:
        """See Sink."""
        with self.changed:
            self.feeding.release()
            assert self.changed.wait_for(lambda: cancelled() or self.failure or self.has_room, PATIENCE)
            if cancelled():
                raise Cancelled
            if self.failure:
                raise self.failure
            self._take(payload)

    def nudge(self) -> None:
        """See Sink."""
        with self.changed:
            self.changed.notify_all()

    def fall_behind(self) -> None:
        """See Sink."""
        with self.changed:
            self.fell_behind += 1
            self.changed.notify_all()

    def set(self, *, has_room: bool = True, failure: Exception | None = None) -> None:
        """Changes what a waiting `feed` does."""
        with self.changed:
            self.has_room = has_room
            self.failure = failure
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[RecordingSink], object]) -> None:
        """Blocks until what happened here satisfies the predicate."""
        with self.changed:
            assert self.changed.wait_for(lambda: predicate(self), PATIENCE), self.got

    def _take(self, payload: list[int]) -> None:
        with self.changed:
            self.got += payload
            self.changed.notify_all()


Desk = RecordingSink  # its former name, which other branches still use


def frames_of(items: Sequence[Record]) -> Text:
    """What goes onto outboxes."""
    return Text(b"".join(frames.encode(frames.TEXT, item.json) for item in items), len(items))


class WithoutInbox:
    """What a session has that knows neither inboxes nor events of the application's own."""

    session = ""
    has_inbox = False

    def open_inbox(self, inbox: Room) -> None:
        """See Session."""

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """See Session."""
        return Answer.GONE

    def move(self, action: str, room: str) -> bool:
        """See Session."""
        return False


MARKER = Text(frames.encode(frames.TEXT, b'{"type":"live"}'))
REPLY = Text(frames.encode(frames.TEXT, b'{"type":"ok"}'))


class Peer:
    """A connection without a socket: a real outbox and writer, and a peer that reads when it is told to."""

    def __init__(
        self, line: Turnstile, *, reads: bool = True, max_messages: int = 100, max_bytes: int = 1 << 20
    ) -> None:
        self.line = line
        self.outbox = Outbox(line, max_messages, max_bytes)
        self.offer = self.outbox.offer
        self.offer_light = self.outbox.offer_light
        self.nudge = self.outbox.nudge
        self.fell_behind = 0
        self._changed = threading.Condition()
        self._reads = reads
        self._buffer = b""
        self._got: list[dict[str, Any]] = []
        self.blocked = threading.Event()  # the socket took nothing, and the writer knows
        self._writer = Writer(
            "writer-test",
            self.outbox,
            self,
            line,
            on_failure=self.outbox.end,
            on_end=lambda: None,
            write_timeout=PATIENCE,
        )
        self._writer.thread.start()

    # A sink

    def feed(self, text: Text, cancelled: Callable[[], bool]) -> None:
        """See Sink."""
        self.outbox.feed(text, PATIENCE, cancelled)

    def fall_behind(self) -> None:
        """See Sink."""
        with self._changed:
            self.fell_behind += 1
            self._changed.notify_all()

    @property
    def stalled(self) -> bool:
        """See Sink."""
        return self.outbox.state is State.BLOCKED

    # A transport

    def send(self, data: bytes | memoryview) -> int:
        """Takes everything, or nothing from a peer that does not read."""
        with self._changed:
            if not self._reads:
                return 0
            self._buffer += data
            self._changed.notify_all()
            return len(data)

    def wait_writable(self, timeout: float) -> None:
        """Blocks until the peer reads."""
        with self._changed:
            self.blocked.set()
            self._changed.wait_for(lambda: self._reads, timeout)

    def finish(self) -> None:
        """Nothing follows."""

    # A test

    def read(self) -> None:
        """From now on the peer reads."""
        with self._changed:
            self._reads = True
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """Blocks until what arrived satisfies the predicate; returns it."""

        def satisfied() -> bool:
            self._parse()
            return bool(self.fell_behind or predicate(self._got))

        with self._changed:
            assert self._changed.wait_for(satisfied, PATIENCE), (self.outbox.state, self._got[-1:])
            assert not self.fell_behind
            return list(self._got)

    def offsets_up_to(self, last: int) -> list[int]:
        """Blocks until that event arrived; the offsets of all events that did."""
        got = self.wait_for(lambda items: items and items[-1].get("id") == last)
        return [item["id"] for item in got if "id" in item]

    def hang_up(self) -> None:
        """Ends the writer."""
        self.read()
        self.outbox.end(ConnectionClosed(1006))
        join([self._writer.thread])

    def _parse(self) -> None:
        at = 0
        while (header := frames.read_header(self._buffer, at)) and header.end <= len(self._buffer):
            self._got.append(msgspec.json.decode(self._buffer[header.body : header.end]))
            at = header.end
        self._buffer = self._buffer[at:]


class Watched(threading.Condition):
    """A condition that tells when somebody waits on it: once `waiting` is acquired, they do."""

    def __init__(self, lock: Any = None) -> None:
        super().__init__(lock or threading.Lock())
        self.waiting = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Tells, then waits."""
        self.waiting.release()
        return super().wait(timeout)


def texts(events: Iterable[Event]) -> list[str]:
    """What was said, comings and goings by their type."""
    return [event.message or event.type for event in events]
