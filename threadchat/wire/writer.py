"""The thread that drains one connection's outbox onto its transport; nothing else writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire.outbox import Outbox, State
from threadchat.wire.pinger import STOPPED
from threadchat.wire.turnstile import Turnstile

log = logging.getLogger(__name__)

WRITE_TIMEOUT: Final = 10.0
"""Seconds within which a full socket has to take `SLOWEST` bytes for each of them, or all that is left."""
SLOWEST: Final = 6_400
"""Bytes a second of a peer that is waited for. It is a tenth of the 60 KB/s that are promised to be enough: a
socket takes bytes in lumps, of a third of its buffer (43 KB) and more. With `WRITE_TIMEOUT` it is 64 KB in
10 s: a byte now and then keeps nobody, and a message of any size leaves as long as it moves."""

_IDLE, _LISTED = State.IDLE, State.LISTED  # spare each turn an attribute look-up


class WriteSide(Protocol):
    """What a writer needs of a transport."""

    def send(self, data: bytes | memoryview) -> int:
        """Sends what the socket takes without blocking; returns how many bytes. Raises ConnectionClosed."""

    def wait_writable(self, timeout: float) -> None:
        """Blocks until the socket takes bytes again or was shut down, at most `timeout` seconds."""

    def finish(self) -> None:
        """Tells the peer that nothing follows."""


def _ignore(reason: ConnectionClosed) -> None:
    pass


def _nothing() -> None:
    pass


class Writer:
    """Takes from one outbox, sends on one transport.

    `on_failure` is called with the reason when the connection has to die; `on_end` once, when the
    thread ends. Both run on the writer thread.
    """

    def __init__(
        self,
        name: str,
        outbox: Outbox,
        transport: WriteSide,
        turnstile: Turnstile,
        *,
        on_failure: Callable[[ConnectionClosed], None],
        on_end: Callable[[], None],
        write_timeout: float = WRITE_TIMEOUT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._outbox = outbox
        self._counters = outbox.counters
        self._transport = transport
        self._turnstile = turnstile
        self._on_failure = on_failure
        self._on_end = on_end
        self._write_timeout = write_timeout
        self._clock = clock
        self._has_permit = False
        self._done = False
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)

    def run(self) -> None:
        """Sleeps, takes turns, ends with its outbox. Runs on: the writer thread."""
        try:
            while not self._done:
                self._outbox.wait_for_permit()
                self._has_permit = True
                while not self._done and self.turn():
                    pass
        except ConnectionClosed as reason:
            self._on_failure(reason)
        except Exception:
            log.exception("%s failed", threading.current_thread().name)
            self._on_failure(ConnectionClosed(CloseCode.INTERNAL_ERROR))
        finally:
            self._outbox.finish()
            self._give_back()  # also one that was given for nothing, and is not seen any more
            self._on_end()
            # What refers back to the connection would leave it to the garbage collector.
            self._on_failure, self._on_end = _ignore, _nothing

    def call_off(self) -> None:
        """Has the thread end without touching the transport, also one that starts only later.

        Runs on: whoever could not start the thread, or was interrupted while it started.
        """
        self._done = True
        self._outbox.wake()  # without a permit, which it will not miss

    def turn(self) -> bool:
        """Sends what waits; True: the permit was kept for another turn. Runs on: the writer thread."""
        outbox, counters = self._outbox, self._counters
        now, since = self._clock(), outbox.waiting_since
        if since is not None:
            counters.waited += now - since
        counters.turns += 1
        data = outbox.take()
        size = len(data)
        sent = self._transport.send(data) if data else 0
        if sent:
            counters.writes += 1
            counters.bytes_out += sent
            counters.last_write = now
        if sent < size:
            outbox.block()  # before the permit goes: it is given no other one meanwhile
            self._give_back()
            if outbox.joined:
                data, sent = data[sent:], 0  # what has left need not be held while the peer takes its time
            outbox.unsent = data
            self._finish(memoryview(data)[sent:])
            outbox.unsent = b""
        state = outbox.settle()
        if state is not _IDLE and state is not _LISTED:  # ended
            self._done = True
            if size:
                self._transport.finish()
            return False
        again = state is _LISTED
        if self._has_permit:
            self._has_permit = self._turnstile.leave(outbox, again)
            return self._has_permit
        if again:
            self._turnstile.enter((outbox,))
        return False

    def _finish(self, rest: memoryview) -> None:
        """Sends the rest of a take, however long the socket makes it wait: half a frame is fatal."""
        outbox, counters = self._outbox, self._counters
        timeout, step = self._write_timeout, self._write_timeout * SLOWEST
        begun, missing = self._clock(), step
        while rest:
            asked = self._clock()
            remaining = begun + timeout - asked
            self._transport.wait_writable(remaining)
            sent = self._transport.send(rest)
            now = self._clock()
            if sent:
                outbox.progress()
                rest = rest[sent:]
                counters.writes += 1
                counters.bytes_out += sent
                counters.last_write = now
                missing -= sent
            if missing <= 0 or now - asked > remaining + STOPPED:  # the latter: this process was stopped
                begun, missing = now, step
            elif rest and now >= begun + timeout:
                slow = f"the peer took {step - missing:.0f} bytes in {timeout:g} s, and {len(rest)} are left"
                raise ConnectionClosed(CloseCode.WRITE_TIMEOUT, slow)

    def _give_back(self) -> None:
        self._has_permit = False
        self._turnstile.withdraw(self._outbox)
