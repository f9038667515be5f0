"""A queue of events for a program's own thread, which iterates it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

from threadchat.chat.log.events import CLOSE, Event, Record
from threadchat.errors import Cancelled, SlowConsumer
from threadchat.wire.outbox import Answer

REQUEST_BUFFER: Final = 1024
"""Events that a stream holds for its consumer."""
SEND_TIMEOUT: Final = 3.0
"""Seconds for which a stream holds up publishers, in all, until it is level again."""


def events_of(records: Sequence[Record]) -> tuple[Event, ...]:
    """What a stream is fed: events as they are."""
    return tuple(item.event for item in records)


class EventStream:
    """Events in their order, for one consumer; ends with the `close` event of its room.

    ```python
    from threadchat import Room

    room = Room("GoChat")
    stream = room.add("ann", "laptop")
    room.message("bob", "hi")
    assert stream.get(timeout=5).type == "join"  # one, or None at the end
    assert [event.message for event in stream.take()] == ["hi"]  # all that wait
    room.remove("ann", "laptop")
    assert list(stream) == []  # iterated to its end
    ```

    Above three quarters of `request_buffer` publishers are held up until it is half empty again,
    for `send_timeout` seconds in all; then the stream and its subscription end, and its consumer
    gets SlowConsumer. Time in which nobody has anything to publish does not count.

    What the consumer calls (iteration, `get`, `take`) is for one thread at a time; `close` for any.
    `_changed` guards everything here and is a leaf.
    """

    def __init__(
        self,
        request_buffer: int = REQUEST_BUFFER,
        send_timeout: float = SEND_TIMEOUT,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = request_buffer
        self._high = request_buffer * 3 // 4
        self._patience = self._send_timeout = send_timeout
        self.on_close: Callable[[], None] | None = None  # ends the subscription that feeds this
        self._clock = clock
        self._events: deque[Event] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._full = False  # holds publishers up
        self._held_since: float | None = None  # when the first of them came, while full
        self._ended = False
        self._failure: SlowConsumer | None = None

    # The consumer

    def __iter__(self) -> Iterator[Event]:
        """All events until the stream ends. Raises SlowConsumer. Runs on: the consumer's thread."""
        while batch := deque(self.take()):
            try:
                while batch:
                    yield batch.popleft()
            finally:  # a consumer that leaves the loop finds the rest when it comes back
                self._put_back(batch)

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None once the stream ended. Waits `timeout` seconds, for ever where that is None.

        Raises TimeoutError, and SlowConsumer. Runs on: the consumer's thread.
        """
        batch = self.take(1, timeout)
        return batch[0] if batch else None

    def take(self, limit: int | None = None, timeout: float | None = None) -> list[Event]:
        """Waits for events and takes up to `limit`; none once the stream ended.

        Raises SlowConsumer where that was the end, and TimeoutError after `timeout` seconds.
        Runs on: the consumer's thread.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._events or self._ended, timeout):
                raise TimeoutError(f"no event came within {timeout:g} s")
            if not self._events and self._failure is not None:
                raise self._failure
            count = len(self._events) if limit is None else min(limit, len(self._events))
            batch = [self._events.popleft() for _ in range(count)]
            self._relieve_locked()
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """Ends the stream and its subscription; events that wait are still given out. Runs on: any thread."""
        self._end(None)

    def leave_behind(self) -> None:
        """Ends, as nothing feeds it here. Runs on: the only thread of a forked process, first."""
        self._changed = threading.Condition(threading.Lock())
        self._ended = True

    # The room

    @property
    def line(self) -> EventStream:
        """A full stream makes publishers wait for itself alone."""
        return self

    def offer(self, payload: tuple[Event, ...], listed: list[Any]) -> Answer:
        """Takes the events or answers NO. Runs on: publishers' threads, under the room's lock."""
        with self._changed:
            if self._ended:
                return Answer.YES  # there is nobody left to tell
            if len(self._events) + len(payload) > self._limit:
                return Answer.NO
            self._append_locked(payload)
            if len(self._events) <= self._high:
                return Answer.YES
            self._full = True
            return Answer.HIGH

    def offer_light(self, payload: tuple[Event, ...], listed: list[Any]) -> Answer:
        """As `offer`, but only while under half full, so that it never holds publishers up."""
        with self._changed:
            if self._ended:
                return Answer.YES
            if (len(self._events) + len(payload)) * 2 > self._limit:
                return Answer.NO
            self._append_locked(payload)
            return Answer.YES

    def feed(self, payload: tuple[Event, ...], cancelled: Callable[[], bool]) -> None:
        """Takes the events once there is room; an empty stream takes any number. Runs on: a producer."""
        room = max(0, self._high - len(payload))
        with self._changed:
            ready = self._changed.wait_for(
                lambda: cancelled() or self._ended or len(self._events) <= room, self._send_timeout
            )
            if cancelled() or self._ended:
                raise Cancelled
            if ready:
                self._append_locked(payload)
                return
        self.fall_behind()
        raise SlowConsumer("the stream's consumer did not keep up")

    @property
    def stalled(self) -> bool:
        """Never: whoever waits for a consumer waits for `send_timeout` at most."""
        return False

    def nudge(self) -> None:
        """Makes a waiting `feed` look at its cancellation. Runs on: any thread."""
        with self._changed:
            self._changed.notify_all()

    def fall_behind(self) -> None:
        """Ends the stream with SlowConsumer. Runs on: producers' and publishers' threads."""
        self._end(SlowConsumer("the stream's consumer did not keep up"))

    def ticket(self) -> Relief:
        """What publishers wait for while this stream is nearly full."""
        return Relief(self)

    def relieved(self) -> bool:
        """Whether publishers may go on. Runs on: publishers' threads."""
        with self._changed:
            return self._relieved_locked()

    def hold(self, timeout: float) -> None:
        """Blocks a publisher until there is room, or patience ends and the stream with it."""
        with self._changed:
            if self._relieved_locked():
                return
            if self._held_since is None:
                self._held_since = self._clock()
            patience = self._held_since + self._patience - self._clock()
            if self._changed.wait_for(self._relieved_locked, max(0.0, min(timeout, patience))):
                return
            exhausted = patience <= timeout
        if exhausted:
            self.fall_behind()

    # Helpers

    def _ends_with(self, event: Event) -> bool:
        return event.type == CLOSE

    def _append_locked(self, events: Sequence[Event]) -> None:
        self._events.extend(events)
        if self._ends_with(events[-1]):
            self._ended = True
        self._changed.notify_all()

    def _put_back(self, events: deque[Event]) -> None:
        with self._changed:
            self._events.extendleft(reversed(events))
            self._changed.notify_all()

    def _relieved_locked(self) -> bool:
        return not self._full or self._ended

    def _relieve_locked(self) -> None:
        if len(self._events) * 2 <= self._limit:
            self._full = False
            if self._held_since is not None:
                self._patience -= self._clock() - self._held_since
                self._held_since = None
        if not self._events:
            self._patience = self._send_timeout

    def _end(self, failure: SlowConsumer | None) -> None:
        with self._changed:
            if not self._ended:
                self._ended = True
                self._failure = failure
                self._changed.notify_all()
        if self.on_close is not None:
            self.on_close()


class Relief:
    """A publisher's ticket for a stream that is nearly full."""

    __slots__ = ("_stream",)

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    @property
    def passed(self) -> bool:
        """Whether the stream has room again, or ended."""
        return self._stream.relieved()

    def begin(self) -> None:
        """Starts the stream's patience. Runs on: publishers."""
        self._stream.hold(0)

    def wait(self, timeout: float) -> None:
        """Blocks until then, at most `timeout` seconds."""
        self._stream.hold(timeout)


class SharedStream(EventStream):
    """A stream that several rooms feed; the end of one of them is not its own."""

    def _ends_with(self, event: Event) -> bool:
        return False
