"""The thread that sends one connection's outbox to its transport; no other thread writes to the socket."""

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
"""Seconds in which a full socket must take `SLOWEST` bytes for each second, or else all that is left."""
SLOWEST: Final = 6_400
"""Bytes a second; a peer that takes fewer is too slow. This is a tenth of the 60 KB/s that are promised to
be enough, because a socket takes bytes in lumps of a third of its buffer (43 KB) or more. With
`WRITE_TIMEOUT` it is 64 KB in 10 s: a byte now and then does not keep a connection open, and a large message
may take longer than 10 s."""

_IDLE, _LISTED = State.IDLE, State.LISTED  # save each turn an attribute lookup


class WriteSide(Protocol):
    """The part of a transport that a writer uses."""

    def send(self, data: bytes | memoryview) -> int:
        """Sends what the socket takes without blocking; returns the bytes sent. Raises ConnectionClosed."""

    def wait_writable(self, timeout: float) -> None:
        """Blocks until the socket takes bytes again or is shut down, at most `timeout` seconds."""

    def finish(self) -> None:
        """Ends our side of the stream."""


def _ignore(reason: ConnectionClosed) -> None:
    pass


def _nothing() -> None:
    pass


class Writer:
    """Takes from one outbox and sends on one transport.

    `on_failure` is called with the reason when the connection has to end at once; `on_end` is called once,
    when the thread ends. Both run on the writer thread.
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
        """Waits for permits and takes turns until the outbox has ended. Runs on: the writer thread."""
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
            self._give_back()  # also a permit that was given but not used
            self._on_end()
            # Callbacks that refer to the connection would leave it to the garbage collector.
            self._on_failure, self._on_end = _ignore, _nothing

    def call_off(self) -> None:
        """Makes the thread end without touching the transport, even if it starts only later.

        Runs on: the thread that failed to start the writer, or was interrupted while starting it.
        """
        self._done = True
        self._outbox.wake()  # no permit was given, and none is needed to end

    def turn(self) -> bool:
        """Sends what waits; returns True to keep the permit for another turn. Runs on: the writer thread."""
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
            outbox.block()  # before the permit is given back, so that it gets no other one meanwhile
            self._give_back()
            if outbox.joined:
                data, sent = data[sent:], 0  # do not keep what is sent while the peer is slow
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
        """Sends the rest of a take; it waits for the socket, since half a frame would break the stream.

        Raises ConnectionClosed (3009) if the peer is too slow.
        """
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
            if missing <= 0 or now - asked > remaining + STOPPED:  # or this process was stopped
                begun, missing = now, step
            elif rest and now >= begun + timeout:
                slow = f"the peer took {step - missing:.0f} bytes in {timeout:g} s, and {len(rest)} are left"
                raise ConnectionClosed(CloseCode.WRITE_TIMEOUT, slow)

    def _give_back(self) -> None:
        self._has_permit = False
        self._turnstile.withdraw(self._outbox)
