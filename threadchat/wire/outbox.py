"""The bounded queue of one connection: any thread puts requests, and only the writer takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Final, Protocol

from threadchat.errors import Cancelled, ConnectionClosed, SendTimeout
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.listing import entering
from threadchat.wire.outbox_state import Answer, State
from threadchat.wire.pinger import STOPPED
from threadchat.wire.priority_queue import MAX_TAKE, MAX_TAKE_REFUSED, PriorityQueue
from threadchat.wire.protocol.requests import Close, Control, Request, Text

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Answer", "Line", "Outbox", "State"]
MAX_MESSAGES: Final = 100
MAX_BYTES: Final = 1 << 20

# Module names save the hot paths an attribute lookup each.
_YES, _HIGH, _NO, _GONE = Answer.YES, Answer.HIGH, Answer.NO, Answer.GONE
_IDLE, _LISTED, _RUNNING, _BLOCKED, _OVER = State.IDLE, State.LISTED, State.RUNNING, State.BLOCKED, State.OVER
_frame_of = attrgetter("frame")


class Line(Protocol):
    """The part of the turnstile that an outbox uses."""

    def enter(self, outboxes: Iterable[Outbox]) -> None: ...
    def urge(self, outbox: Outbox) -> None: ...


class Outbox(PriorityQueue):
    """The queue of one connection: decides when a thread may put, and lists the writer once it has work.

    `put` and `feed` wait for room; they are for the connection's own reader and producers. Everybody else
    calls `offer`, which never blocks. The inherited `mutex` guards everything here, `state` included. It is
    a leaf: no other lock is acquired while it is held.
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
        """When the writer got what it has to write now, in the clock's seconds; None if it has nothing."""
        self.counters = counters or ConnectionCounters()
        self.ended = False  # a Close was taken, or the connection is lost; nothing more is written
        self._clock = clock
        self._high_messages = max_messages * 3 // 4
        self._high_bytes = max_bytes * 3 // 4
        self._max_take = MAX_TAKE
        self._waiting = 0  # number of puts that wait for room
        self._blocked_since = 0.0  # when the socket last took a byte, while BLOCKED
        self._closed: ConnectionClosed | None = None  # once set, nothing is accepted
        self._wakeup = threading.Lock()
        self._wakeup.acquire()

    def hold(self) -> None:
        """Sets LISTED from the start: nothing is written until the caller enters the outbox in the line."""
        self.state = _LISTED

    # Producers

    def offer(self, text: Text, listed: list[Outbox]) -> Answer:
        """Takes `text` if there is room. Never blocks. Runs on: any thread.

        An outbox that was IDLE adds itself to `listed`. That list belongs to `entering`, which passes it to
        the turnstile's `enter` in one call, once no lock is held.
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
                # One reading of the clock is enough for all outboxes that get a message.
                self.waiting_since = listed[0].waiting_since if listed else self._clock()
                listed.append(self)  # first, so that an interrupt cannot leave text that is never written
                self.state = _LISTED
            self._messages = messages
            self._bytes = size
            self._texts.append(text)
            if messages <= self._high_messages and size <= self._high_bytes:
                return _YES
            return _YES if state is _BLOCKED else _HIGH  # no publisher waits for a slow peer

    def offer_light(self, text: Text, listed: list[Outbox]) -> Answer:
        """Takes `text` only into the lower half; for what may be dropped. Runs on: any thread."""
        with self.mutex:
            if self._closed is not None:
                return _GONE
            if not self._light_room_locked(text):
                return _NO
            self._list_locked(listed)
            self._put(text)
            return _YES

    def put(self, item: Request, block: bool = True, timeout: float | None = None) -> None:
        """Puts a request. Text waits for room; control frames never wait.

        `timeout`, in seconds, counts only while the socket takes no byte, so a peer that reads slowly but
        steadily does not cause a timeout. Raises SendTimeout, ConnectionClosed, or queue.Full if `block` is
        false. Runs on: the connection's reader for text, any thread for control frames.
        """
        if isinstance(item, Text):
            entering(partial(self._put_text, item, has_room=self._room_locked, block=block, timeout=timeout))
        else:
            self._put_control(item)

    def feed(self, text: Text, timeout: float | None, cancelled: Callable[[], bool]) -> None:
        """Like `put`, but leaves the upper half of the outbox to replies and live events.

        Raises Cancelled, and puts nothing, once `cancelled` returns true; call `nudge` to have a waiting
        put look. Runs on: a producer of the connection.
        """
        has_room = self._half_empty_locked
        entering(partial(self._put_text, text, has_room=has_room, timeout=timeout, cancelled=cancelled))

    def nudge(self) -> None:
        """Makes every waiting put check `cancelled` again. Runs on: any thread."""
        with self.mutex:
            self.not_full.notify_all()

    def close(self, request: Close) -> None:
        """Puts a Close, and ignores or refuses every later request. Runs on: any thread."""
        self._put_control(request)

    def end(self, reason: ConnectionClosed) -> None:
        """Drops what waits and lets the writer end, after a lost connection. Runs on: any thread."""
        entering(partial(self._end, reason))

    # The writer

    def wake(self) -> bool:
        """Gives the writer a permit. Runs on: any thread that calls the turnstile, under its lock.

        Returns False if the writer does not take the permit: it is OVER, or BLOCKED (and enters by itself
        later), or has not yet woken for an earlier permit. An interrupt can leave such an outbox in the
        line. All three are set before the turnstile's lock is released, so reading them needs no mutex.
        """
        if (state := self.state) is _BLOCKED or state is _OVER:  # a set would hash them, slowly
            return False
        try:
            self._wakeup.release()
        except RuntimeError:  # the writer has not yet woken for an earlier permit
            return False
        return True

    def wait_for_permit(self) -> None:
        """Blocks until the turnstile gives a permit. Runs on: the writer thread."""
        self._wakeup.acquire()

    def take(self) -> bytes:
        """Removes what waits, up to `MAX_TAKE` bytes, as one buffer. Runs on: the writer, with a permit."""
        with self.mutex:
            self.state = _RUNNING
            if self._control and self.ping_left_at is None and self._control.pings:
                self.ping_left_at = self._clock()
            parts, closes = self._control.take() if self._control else ([], False)
            texts = self._texts
            if self._bytes <= self._max_take:
                self.counters.frames_out += self._messages
                parts += map(_frame_of, texts)
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
        """Ends a turn: the state becomes LISTED if more waits, otherwise IDLE. Runs on: the writer thread.

        Once the outbox has ended, the state no longer changes, so nothing lists the writer again and it may
        end. A writer that is LISTED must not end: a permit is on its way to it.
        """
        with self.mutex:
            if not self.ended:
                self.state, self.waiting_since = _IDLE, None
                if self._texts or self._control or self._flushing_close is not None:
                    self.state, self.waiting_since = _LISTED, self._clock()
            return self.state

    def block(self) -> None:
        """Sets BLOCKED: the socket is full. Runs on: the writer thread."""
        with self.mutex:
            self.state = _BLOCKED
            self._max_take = MAX_TAKE_REFUSED
            self._blocked_since = self._clock()
            self.not_full.notify_all()

    def finish(self) -> None:
        """Sets OVER: no turn follows. Runs on: the writer thread, before it gives back its last permit."""
        with self.mutex:
            self.state = State.OVER

    def progress(self) -> None:
        """Notes that the socket took bytes while BLOCKED. Runs on: the writer thread."""
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
        asked = self._clock()
        try:
            self.not_full.wait(patience)
        finally:
            self._waiting -= 1
        if patience is not None and self._clock() > asked + patience + STOPPED:
            self._blocked_since = self._clock()  # this process was stopped: nobody is to blame for that

    def _put_control(self, item: Control) -> None:
        if entering(partial(self._add_control, item)):
            self.line.urge(self)

    def _add_control(self, item: Control, listed: list[Outbox]) -> bool:
        """Puts a control frame; returns whether the writer waits in the line, and so has to be urged."""
        with self.mutex:
            if self._closed is not None:
                return False  # nothing may follow a Close
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
        """Makes an IDLE outbox LISTED. Must come before the request is put: see `offer`."""
        if self.state is _IDLE:
            self.waiting_since = self._clock()
            listed.append(self)
            self.state = _LISTED

    def _end_locked(self) -> None:
        self._discard_locked()
        self.ended = True
        self.not_full.notify_all()
