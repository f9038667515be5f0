"""One connection with its reader thread and its receive queue, whichever interface a program uses."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from threadchat.errors import CloseCode
from threadchat.plain.engine import ENGINE, Engine, Slot
from threadchat.plain.receive_queue import ReceiveQueue
from threadchat.plain.websockets.exceptions import ConcurrencyError
from threadchat.wire.connection import CLOSE_TIMEOUT, Connection
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.requests import Text
from threadchat.wire.user_pings import OnPong

log = logging.getLogger(__name__)

CLOSING_TIMEOUT: Final = 10.0
"""Seconds from a `close` to the end, for what waits, the Close and its answer; as in `websockets`."""
_LOOK: Final = 0.25  # seconds between two looks at whether the Close has left
OWNER_LOOK: Final = 5.0
"""Seconds between two looks at whether there is still somebody who could use a connection."""
_IDLE_LOOK: Final = (
    1.0  # seconds between two looks of a reader that waits for room at whether there is a point
)

Open = Callable[[Slot, Callable[[Connection], None]], Connection]
"""Makes a connection for a slot; the second argument is its `on_gone`."""


class ThreadedConnection:
    """A connection whose messages go through a queue, so it is read even while its owner does not receive.

    `open` makes the connection on the calling thread, and may raise. The reader thread starts at once.
    `masks` says that it is a client's connection, whose frames are sent only once. `gone` is set when reader
    and writer have released the socket. `close_timeout` limits a whole close, in seconds; None means no
    limit. `answer_timeout` limits the part of it in which the peer may answer our Close.

    `_lock` guards `_fragmenting` and `_putting`. It is held while offering, never while blocking.
    """

    def __init__(
        self,
        open: Open,
        receive_queue: ReceiveQueue,
        *,
        masks: bool = False,
        close_timeout: float | None = CLOSING_TIMEOUT,
        answer_timeout: float | None = CLOSE_TIMEOUT,
        engine: Engine = ENGINE,
    ) -> None:
        self.receive_queue = receive_queue
        self.masks = masks
        self.gone = threading.Event()
        self.close_timeout = close_timeout
        self._answer_timeout = answer_timeout
        self._lock = threading.Lock()
        self._quiet: threading.Condition | None = None  # on `_lock`: nobody puts; few ever need it
        self._fragmenting = False
        self._putting = 0  # threads that put a whole message
        self._on_gone: list[Callable[[], None]] | None = []  # None: it is gone
        self._engine = engine
        self._slot = engine.enter()
        self._close_until: float | None = None
        self._close_left = False
        self._owner: weakref.ref[object] | None = None
        try:
            self.connection = open(self._slot, self._has_gone)
        except BaseException:
            engine.leave(self._slot.number)
            raise
        self.connection.reads_on = True  # what the peer sent before it saw our Close
        # Asked for while there is a socket.
        self.local_address = self.connection.local_address
        self.remote_address = self.connection.remote_address
        self.thread = threading.Thread(target=self.read, name=f"reader-{self._slot.number}", daemon=True)
        self._reader = threading.Lock()  # held by whoever does the reader's part
        try:
            self.thread.start()
        except BaseException:  # the system has no more threads, or a signal handler raised something
            self.connection.abort(CloseCode.INTERNAL_ERROR)
            if self._reader.acquire(blocking=False):  # else the thread runs, and sees that it is over
                self.connection.end_reading()
            raise
        engine.introduce(self._slot.number, self)

    @property
    def number(self) -> int:
        """The number of the connection, unique in this process."""
        return self._slot.number

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed the connection, as far as is known here."""
        return self.connection.closed is None

    @property
    def latency(self) -> float:
        """The round-trip time of the last answered ping in seconds; 0.0 before the first one."""
        return self.connection.counters.round_trip or 0.0

    def read(self) -> None:
        """Fills the receive queue until the connection ends. Runs on: the reader thread."""
        if not self._reader.acquire(blocking=False):
            return
        connection, receive_queue = self.connection, self.receive_queue
        try:
            for messages in connection.bursts():
                receive_queue.put(messages)
                # Nobody tells a reader that waits here of a connection that is lost: it looks.
                while connection.closed is None and not receive_queue.wait_for_room(_IDLE_LOOK):
                    pass
                del messages  # as in `bursts`
        except Exception:
            log.exception("reader-%d failed", self.number)
            connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            receive_queue.end()
            connection.end_reading()

    def send(self, text: Text) -> None:
        """Puts a message on the outbox; see `Connection.send`. Runs on: any thread.

        Raises ConnectionClosed, and ConcurrencyError while a message in fragments is being sent.
        """
        with self._lock:
            self._refuse_locked()
            self._putting += 1
        try:
            self.connection.send(text)
        finally:
            with self._lock:
                self._putting -= 1
                if self._quiet is not None:
                    self._quiet.notify_all()

    def offer(self, text: Text, listed: list[Outbox]) -> Answer | None:
        """Like `Outbox.offer`; None while a message in fragments is being sent. Runs on: any thread."""
        with self._lock:
            return None if self._fragmenting else self.connection.offer(text, listed)

    @contextmanager
    def fragments(self) -> Iterator[Callable[[Text], None]]:
        """Reserves the connection for one message in fragments; yields the function that puts them.

        Raises ConcurrencyError if another one is being sent. Runs on: any thread.
        """
        with self._lock:
            self._refuse_locked()
            self._fragmenting = True
            self._quiet = self._quiet or threading.Condition(self._lock)
            self._quiet.wait_for(lambda: not self._putting)
        try:
            yield self.connection.send
        finally:
            with self._lock:
                self._fragmenting = False

    def _refuse_locked(self) -> None:
        if self._fragmenting:
            raise ConcurrencyError("a message in fragments is being sent; nothing can go in between")

    def ping(self, payload: bytes | None, on_pong: OnPong) -> None:
        """Sends a ping, which also updates `latency`. See `Connection.ping`. Runs on: any thread."""
        self.connection.ping(payload, on_pong)

    def close(self, code: int, reason: str | None = None) -> None:
        """Sends waiting messages, then a Close. Never blocks; the first call counts. Runs on: any thread.

        After `close_timeout`, or `answer_timeout` after the Close was sent, the connection is aborted. What
        the peer sent before can still be received, as far as the queue holds it.
        """
        connection = self.connection
        if connection.closed is None:
            connection.close(code, reason)
            clock = self._slot.pinger.clock
            self._close_until = None if self.close_timeout is None else clock() + self.close_timeout
            # In place of the deadline that the connection has set: it counts from here.
            connection.deadlines.set("close", self._next_look(), self.check_close)
        self.receive_queue.stop_waiting()

    def call_when_gone(self, action: Callable[[], None]) -> None:
        """Calls `action`, which must not block, once at the end. Runs on: any thread."""
        with self._lock:
            if self._on_gone is not None:
                self._on_gone.append(action)
                return
        action()

    def end_with(self, owner: object) -> None:
        """Closes (1001) within `OWNER_LOOK` seconds after the last reference to `owner` is gone.

        A finalizer would be called at once, but on any thread, which may hold any lock. Runs on: any thread.
        """
        self._owner = weakref.ref(owner)
        self._look_for_owner()

    def wait_gone(self, timeout: float | None = None) -> bool:
        """Waits at most `timeout` seconds until the socket is closed; its reader thread does not wait."""
        if threading.current_thread() is self.thread:
            timeout = 0.0
        return self.gone.wait(timeout)

    def __repr__(self) -> str:
        state = "open" if self.is_open else f"closed: {self.connection.closed}"
        outbox = self.connection.outbox
        received = self.receive_queue.qsize()
        return f"{self.number} {state} received={received} outbox={outbox.qsize()}/{outbox.maxsize}"

    # The pinger's thread

    def check_close(self) -> None:
        """Lets waiting messages leave, and the peer answer, within the time for each."""
        connection = self.connection
        now = self._slot.pinger.clock()
        if self._close_until is not None and now >= self._close_until:
            connection.abort(CloseCode.ABNORMAL)
            return
        if connection.outbox.ended and not self._close_left:
            self._close_left = True
            if self._answer_timeout is not None:
                until = now + self._answer_timeout - _LOOK
                self._close_until = until if self._close_until is None else min(self._close_until, until)
        connection.deadlines.set("close", self._next_look(), self.check_close)

    def _next_look(self) -> float:
        if self._close_until is None:
            return _LOOK
        return max(0.0, min(_LOOK, self._close_until - self._slot.pinger.clock()))

    def _look_for_owner(self) -> None:
        if self._owner is None or self._owner() is not None:
            self.connection.deadlines.set("owner", OWNER_LOOK, self._look_for_owner)
        else:
            self.close(CloseCode.GOING_AWAY, "")

    # The thread that let go last

    def _has_gone(self, connection: Connection) -> None:
        self._engine.leave(self._slot.number)
        with self._lock:
            actions, self._on_gone = self._on_gone or [], None
        for action in actions:
            action()
        self.gone.set()
