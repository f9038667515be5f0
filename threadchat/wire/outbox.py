"""The bounded queue of one connection: everybody who has something to send puts, its writer takes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Final, Protocol

from threadchat.errors import Cancelled, ConnectionClosed, SendTimeout
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.listing import entering
from threadchat.wire.outbox_state import Answer, State
from threadchat.wire.priority_queue import MAX_TAKE, MAX_TAKE_REFUSED, PriorityQueue
from threadchat.wire.protocol.requests import Close, Control, Request, Text

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Answer", "Line", "Outbox", "State"]

MAX_MESSAGES: Final = 100
MAX_BYTES: Final = 1 << 20


# Module names spare the hot paths an attribute look-up each.
_YES, _HIGH, _NO, _GONE = Answer.YES, Answer.HIGH, Answer.NO, Answer.GONE
_IDLE, _LISTED, _RUNNING, _BLOCKED = State.IDLE, State.LISTED, State.RUNNING, State.BLOCKED
_NO_TURN = frozenset((State.BLOCKED, State.OVER))


class Line(Protocol):
    """What an outbox needs of the turnstile."""

    def enter(self, outboxes: Iterable[Outbox]) -> None: ...
    def urge(self, outbox: Outbox) -> None: ...


class Outbox(PriorityQueue):
    """The queue of one connection: says who may put when, and lists its writer.

    `put` and `feed` wait for room and are for the connection's own reader and producers; everybody else
    offers, which never blocks. The inherited `mutex` guards everything here, `state` included. It is a
    leaf: nothing else is ever acquired while it is held.
    """

    def __init__(
        self,
        line: Line,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        *,
        clock: Callable[[], float] = monotonic,
        counters: ConnectionCounters | None = None,
    ) -> None:
        super().__init__(max_messages, max_bytes)
        self.line = line
        self.state = _IDLE
        self.waiting_since: float | None = None
        """Since when the writer has something to begin or to finish, in the clock's seconds, or None."""
        self.counters = counters or ConnectionCounters()
        self.ended = False  # a Close was taken, or the connection is lost: nothing more is written
        self._clock = clock
        self._high_messages = max_messages * 3 // 4
        self._high_bytes = max_bytes * 3 // 4
        self._max_take = MAX_TAKE
        self._waiting = 0  # puts that wait for room
        self._blocked_since = 0.0  # when the socket last took a byte, while BLOCKED
        self._closed: ConnectionClosed | None = None  # set: nothing is accepted any more
        self._wakeup = threading.Lock()
        self._wakeup.acquire()

    def hold(self) -> None:
        """LISTED from the start: nothing is written before the caller enters it in the line."""
        self.state = _LISTED

    # Producers

    def offer(self, text: Text, listed: list[Outbox]) -> Answer:
        """Takes `text` if there is room. Never blocks. Runs on: any thread.

        An outbox that had nothing to write adds itself to `listed`, which `entering` owns: that hands
        all that was so listed to the turnstile's `enter` in one call, once no lock is held.
        """
        with self.mutex:
            messages = self._messages + text.messages
            size = self._bytes + text.size
            if self._closed is not None:
                return _GONE
            if (messages > self.maxsize or size > self.max_bytes) and self._messages:
                return _NO
            state = self.state
            if state is _IDLE:
                # One look at the clock is enough for all who get a message.
                self.waiting_since = listed[0].waiting_since if listed else self._clock()
                listed.append(self)  # before all else: an interrupt leaves nothing that would not be written
                self.state = _LISTED
            self._messages = messages
            self._bytes = size
            self._texts.append(text)
            if messages <= self._high_messages and size <= self._high_bytes:
                return _YES
            return _YES if state is _BLOCKED else _HIGH  # its peer is slow: no publisher is held for that

    def offer_light(self, text: Text, listed: list[Outbox]) -> Answer:
        """Takes `text` only while under half full: what may be shed goes first. Runs on: any thread."""
        with self.mutex:
            if self._closed is not None:
                return _GONE
            if not self._light_room_locked(text):
                return _NO
            self._list_locked(listed)
            self._put(text)
            return _YES

    def put(self, item: Request, block: bool = True, timeout: float | None = None) -> None:
        """Puts a request; text waits for room, control frames never wait.

        Runs on: the connection's reader, and any thread for control frames. `timeout` is in
        seconds and counts only while the socket takes no byte: a peer that reads slowly but
        steadily is waited for. Raises SendTimeout, ConnectionClosed, or queue.Full where
        `block` is false.
        """
        if isinstance(item, Text):
            entering(partial(self._put_text, item, has_room=self._room_locked, block=block, timeout=timeout))
        else:
            self._put_control(item)

    def feed(self, text: Text, timeout: float | None, cancelled: Callable[[], bool]) -> None:
        """As `put`, but leaves the upper half of the outbox to replies and live events.

        Runs on: a producer of the connection. Raises Cancelled once `cancelled` answers so
        and `nudge` was called: nothing is put after that.
        """
        has_room = self._half_empty_locked
        entering(partial(self._put_text, text, has_room=has_room, timeout=timeout, cancelled=cancelled))

    def nudge(self) -> None:
        """Makes every waiting put look at its cancellation. Runs on: any thread."""
        with self.mutex:
            self.not_full.notify_all()

    def close(self, request: Close) -> None:
        """Puts a Close and refuses all that comes later, a second Close too. Runs on: any thread."""
        self._put_control(request)

    def end(self, reason: ConnectionClosed) -> None:
        """Drops what waits and lets the writer end: the connection is lost. Runs on: any thread."""
        entering(partial(self._end, reason))

    # The writer

    def wake(self) -> bool:
        """Gives the writer a permit. Runs on: whoever calls the turnstile, under its lock.

        True: the permit is taken. False where it stands in line by mistake, as an interrupt may leave it: it
        is OVER, BLOCKED (and enters by itself later), or has a permit that it has not seen yet. All three
        are known before the turnstile's lock is free, so the mutex is not needed to read them.
        """
        if self.state in _NO_TURN or not self._wakeup.locked():
            return False
        self._wakeup.release()
        return True

    def wait_for_permit(self) -> None:
        """Sleeps until the turnstile gives a permit. Runs on: the writer thread."""
        self._wakeup.acquire()

    def take(self) -> bytes:
        """All that waits, up to `MAX_TAKE` bytes, as one buffer. Runs on: the writer, with a permit."""
        with self.mutex:
            self.state = _RUNNING
            parts = []
            closes = False
            if self._control:
                closes = self._control.closes
                parts = [control.frame for control in self._control]
                self._control.clear()
            texts = self._texts
            if self._bytes <= self._max_take:
                self.counters.frames_out += self._messages
                parts += [text.frame for text in texts]
                texts.clear()
                self._messages = self._bytes = 0
            else:
                self.counters.frames_out += self._take_texts_locked(parts, self._max_take)
            if self._flushing_close is not None and not texts:
                parts.append(self._flushing_close.frame)
                closes = True
            if closes:
                self._end_locked()
            elif self._waiting:
                self.not_full.notify_all()
        self.joined = len(parts) != 1
        return b"".join(parts) if self.joined else parts[0]

    def settle(self) -> State:
        """Ends a turn: LISTED where more waits, else IDLE. Runs on: the writer thread.

        Once ended, the state stays what it was: only then the writer may end, since nobody lists it
        any more. One that is LISTED has a permit coming, which has to find it there.
        """
        with self.mutex:
            if not self.ended:
                self.state, self.waiting_since = _IDLE, None
                if self._texts or self._control or self._flushing_close is not None:
                    self.state, self.waiting_since = _LISTED, self._clock()
            return self.state

    def block(self) -> None:
        """The socket took no more: BLOCKED. Runs on: the writer thread."""
        with self.mutex:
            self.state = _BLOCKED
            self._max_take = MAX_TAKE_REFUSED
            self._blocked_since = self._clock()
            self.not_full.notify_all()

    def finish(self) -> None:
        """No turn comes after this: OVER. Runs on: the writer thread, before it leaves for the last time."""
        with self.mutex:
            self.state = State.OVER

    def progress(self) -> None:
        """The socket took some bytes while BLOCKED. Runs on: the writer thread."""
        with self.mutex:
            self._blocked_since = self._clock()

    # Helpers

    def _put_text(
        self,
        text: Text,
        listed: list[Outbox],
        *,
        has_room: Callable[[Text], bool],
        block: bool = True,
        timeout: float | None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        with self.mutex:
            started = self._clock()
            while True:
                if cancelled is not None and cancelled():
                    raise Cancelled
                if self._closed is not None:
                    raise ConnectionClosed(self._closed.code, self._closed.reason)
                if has_room(text):
                    break
                if not block:
                    raise queue.Full
                self._wait_locked(started, timeout)
            self._list_locked(listed)
            self._put(text)

    def _wait_locked(self, started: float, timeout: float | None) -> None:
        patience = timeout
        if timeout is not None and self.state is _BLOCKED:
            patience = max(started, self._blocked_since) + timeout - self._clock()
            if patience <= 0:
                raise SendTimeout(f"the peer took no byte for {timeout:g} s")
        self._waiting += 1
        try:
            self.not_full.wait(patience)
        finally:
            self._waiting -= 1

    def _put_control(self, item: Control) -> None:
        if entering(partial(self._add_control, item)):
            self.line.urge(self)

    def _add_control(self, item: Control, listed: list[Outbox]) -> bool:
        """Whether the writer is to be urged on."""
        with self.mutex:
            if self._closed is not None:
                return False  # after a Close nothing follows
            self._list_locked(listed)
            self._put(item)
            if isinstance(item, Close):
                self._closed = ConnectionClosed(item.code, item.reason)
                self.not_full.notify_all()
            return self.state is _LISTED

    def _end(self, reason: ConnectionClosed, listed: list[Outbox]) -> None:
        with self.mutex:
            self._list_locked(listed)
            self._closed = self._closed or reason
            self._end_locked()

    def _list_locked(self, listed: list[Outbox]) -> None:
        """LISTED where it was IDLE. Comes before what is to be written: see `offer`."""
        if self.state is _IDLE:
            self.waiting_since = self._clock()
            listed.append(self)
            self.state = _LISTED

    def _end_locked(self) -> None:
        self._discard_locked()
        self.ended = True
        self.not_full.notify_all()
