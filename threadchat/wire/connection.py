"""Joins the reader, the writer and the deadlines of one WebSocket connection; it closes once."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed, SendTimeout
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.keepalive import Keepalive
from threadchat.wire.limits import DEFAULT_LIMITS, Limits
from threadchat.wire.outbox import Outbox, State
from threadchat.wire.peer import Peer
from threadchat.wire.pinger import Deadlines, Pinger
from threadchat.wire.pongs import Pongs
from threadchat.wire.protocol.encoder import FrameEncoder
from threadchat.wire.protocol.requests import Echo, FlushingClose, Handshake, Pong, Text, UserPing
from threadchat.wire.protocol.state_machine import Protocol, ServerProtocol
from threadchat.wire.state import ConnectionState, Life
from threadchat.wire.transport import Socket, Transport
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.unfinished import Unfinished, UnfinishedBudget
from threadchat.wire.user_pings import OnPong, UserPings
from threadchat.wire.writer import Writer

__all__ = ["CLOSE_TIMEOUT", "DEFAULT_LIMITS", "Connection", "ConnectionState", "Limits"]

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

CLOSE_TIMEOUT: Final = 2.0
"""Seconds from sending a Close to the end of the TCP connection, whatever the peer does."""


class Connection(Life, FrameEncoder, Peer):
    """One WebSocket connection of a server or a client, from the handshake to its end.

    One thread, the reader, iterates over `bursts`, then calls `end_reading`. The constructor starts a second
    thread, the writer. The reader, or another owner, calls `send`; producers call `feed`; everybody else
    calls `offer`, which never blocks. All connections share one `budget`.

    A server passes the handshake request as `environ`; the first subprotocol that the peer names and that
    is in `subprotocols` is chosen. A client passes the `protocol` of a finished handshake; see `dial`.

    The constructor raises ConnectionClosed (1002) if the request is not a handshake, and RuntimeError if no
    thread can be started. The caller keeps the socket then; otherwise the connection owns it.
    """

    def __init__(
        self,
        number: int,
        sock: Socket,
        environ: Mapping[str, Any],
        trailing: bytes = b"",
        *,
        turnstile: Turnstile,
        pinger: Pinger,
        limits: Limits = DEFAULT_LIMITS,
        jitter: Callable[[], float] = random.random,
        on_gone: Callable[[Connection], None] | None = None,
        subprotocols: Sequence[str] | None = None,
        protocol: Protocol | None = None,
        budget: UnfinishedBudget | None = None,
    ) -> None:
        most = limits.max_message_size if limits.compression else None
        protocol = protocol or ServerProtocol(environ, subprotocols, inflate_to=most)
        Life.__init__(self)
        FrameEncoder.__init__(self, protocol)
        self.counters = ConnectionCounters()
        self._user_pings = UserPings(number, pinger.clock, self.counters)
        self._pongs = Pongs(self._encode)
        protocol.listen(self._pongs.note, self._pong_came)
        self.number = number
        self.label = ""  # names the user in the log
        self.limits = limits
        self.line = turnstile
        self.deadlines = Deadlines(pinger)
        self._clock = pinger.clock
        self._on_gone = on_gone
        self.outbox = box = Outbox(
            turnstile, limits.outbox_messages, limits.outbox_bytes, clock=self._clock, counters=self.counters
        )
        self.keepalive = Keepalive(self.deadlines, self.outbox, self._encode, self.counters, self._clock)
        self._unfinished = Unfinished(self.deadlines, self.keepalive, limits, budget, self.abort)
        self._held = bool(protocol.response)
        self._ending = False  # the end is under way, with a Close or without one
        self.reads_on = False  # whether messages that come after our Close are still yielded
        self.offer, self.offer_light, self.nudge = box.offer, box.offer_light, box.nudge
        if self._held:
            self.outbox.hold()
            self.outbox.put(Handshake(protocol.response))
            protocol.response = b""
        self._transport = Transport(
            sock, protocol, trailing, max_message_size=limits.max_message_size, counters=self.counters
        )
        self._writer = Writer(
            f"writer-{number}",
            self.outbox,
            self._transport,
            turnstile,
            on_failure=lambda reason: self.abort(reason.code, reason.reason),
            on_end=self._release,
            write_timeout=limits.write_timeout,
            clock=self._clock,
        )
        self._transport.writer_thread = self._writer.thread
        self.advance(ConnectionState.CONNECTED)
        try:
            self.keepalive.start(limits, jitter(), lambda: self.close(CloseCode.NO_PONG), self.is_behind)
            self._writer.thread.start()
        except BaseException:  # the system has no more threads, or a signal handler raised an exception
            self.deadlines.close()
            self._writer.call_off()
            raise

    # The reader

    def open(self) -> None:
        """Sends the handshake response and whatever was put after it. `bursts` calls this too.

        Until then nothing is written, so that the caller can set up a subscription, for example, before
        the peer learns that it is connected. Runs on: the reader thread.
        """
        if self._held:
            self._held = False
            self.line.enter((self.outbox,))

    def bursts(self, on_control: Callable[[int], object] = int) -> Iterator[list[str | bytes]]:
        """Yields the messages of each read as one list, until the connection closes.

        `on_control` is called with the number of control frames in one read, after they were handled. Runs
        on: the reader thread, which is renamed after the connection.
        """
        threading.current_thread().name = f"reader-{self.number}"
        self.open()
        transport, keepalive, controls = self._transport, self.keepalive, 0
        while True:
            keepalive.reading_since = self._clock()
            try:
                messages = transport.receive()
            except ConnectionClosed as reason:
                self._stream_ended(reason)
                return
            keepalive.reading_since = None
            self._unfinished.look(transport)
            if transport.controls != controls:
                self._pongs.answer(self.outbox.put)
                on_control(transport.controls - controls)
                controls = transport.controls
            if messages and (self.closed is None or self.reads_on):
                yield messages
            del messages  # otherwise a silent peer's last message, however large, stays in memory

    def send(self, text: Text) -> None:
        """Puts a message; waits for room while the peer takes bytes. Runs on: the reader, or an owner.

        Raises ConnectionClosed. If the peer takes no byte for `send_timeout`, the connection ends (3008).
        """
        if self.deflater is not None:
            text = self.packed(text)
        try:
            self.outbox.put(text, timeout=self.limits.send_timeout)
        except SendTimeout as error:
            raise self._too_slow(error) from error

    def end_reading(self) -> None:
        """Closes the connection if it is still open, and reads until the peer ends the stream.

        If bytes were left unread, the kernel would send a reset, and the peer could lose our Close. The
        close deadline bounds the wait. Runs on: the reader thread, last.
        """
        self.keepalive.reading_since = None
        self.close(CloseCode.INTERNAL_ERROR)
        self.open()
        while not self._transport.peer_closed and self._transport.discard():
            pass
        self._release()

    # Producers

    def feed(self, text: Text, cancelled: Callable[[], bool]) -> None:
        """Puts a replayed event once the outbox is under half full. Runs on: a producer's thread.

        Raises ConnectionClosed and Cancelled. If the peer takes no byte for `send_timeout`, the connection
        ends (3008).
        """
        try:
            self.outbox.feed(text, self.limits.send_timeout, cancelled)
        except SendTimeout as error:
            raise self._too_slow(error) from error

    @property
    def stalled(self) -> bool:
        """Whether the socket is full at the moment. Runs on: any thread."""
        return self.outbox.state is State.BLOCKED

    def is_behind(self) -> bool:
        """Whether bytes have come from the peer that the reader has not dealt with. Runs on: any thread."""
        return self._transport.is_behind()

    def fall_behind(self) -> None:
        """Closes with 3010: the log no longer reaches back to a subscription. Runs on: a producer."""
        self.close(CloseCode.INSUFFICIENT_STATE)

    # Any thread

    def ping(self, payload: bytes | None = None, on_pong: OnPong | None = None) -> None:
        """Sends a ping, ahead of all text; never blocks. Runs on: any thread.

        `on_pong` is called on the reader thread with the seconds until the pong for this ping or a later one
        arrived (RFC 6455 5.5.3); it is not called if the connection closes first. `payload` is up to 125
        bytes that no unanswered ping has; None chooses random ones. Raises ValueError, ConnectionClosed, and
        TooManyPings if 16 pings are unanswered.
        """
        if (closed := self.closed) is not None:
            raise ConnectionClosed(closed.code, closed.reason)
        self._user_pings.ask(payload, on_pong, lambda data: self.outbox.put(UserPing(data, self._encode)))

    def pong(self, payload: bytes) -> None:
        """Sends an unsolicited pong; never blocks. Runs on: any thread."""
        self.outbox.put(Pong(payload, self._encode))

    def close(self, code: int, reason: str | None = None) -> None:
        """Sends what waits, then a Close; never blocks. The first reason wins, later calls do nothing.

        The TCP connection ends within `CLOSE_TIMEOUT`. A `reason` of None stands for the code's own text.
        Runs on: any thread.
        """
        self.note_closed(code, reason)
        if self._ending:
            return
        # If an exception from a signal handler interrupts this, the next call repeats it.
        assert self.closed is not None
        code, reason, encode = self.closed.code, self.closed.reason, self._encode
        self.close_sent, self.peer_closed_first = CloseFrame(int(code), reason), self.peer_closed
        self.deadlines.set("close", CLOSE_TIMEOUT, self._tear_down)
        no_code = code == CloseCode.NO_STATUS
        self.outbox.close(Echo(encode) if no_code else FlushingClose(code, reason, encode))
        if not self.reads_on:
            self._transport.stop()
        self._ending = True

    def abort(self, code: int, reason: str | None = None) -> None:
        """Ends the connection without a Close frame: the peer sees a reset. Runs on: any thread."""
        self.note_closed(code, reason)
        self._tear_down()

    def __repr__(self) -> str:
        who, waiting, most = self.label or "nobody", self.outbox.qsize(), self.outbox.maxsize
        return f"<Connection {self.number} {who} {self.state.name} outbox={waiting}/{most}>"

    # Helpers

    def _stream_ended(self, reason: ConnectionClosed) -> None:
        if reason.code == CloseCode.ABNORMAL:
            if self.closed is None:  # otherwise our Close and its deadline are under way
                self.abort(reason.code, reason.reason)
        else:  # the peer's Close, answered with the same code, or an error that the peer made
            self.close(reason.code, reason.reason)

    def _too_slow(self, error: SendTimeout) -> ConnectionClosed:
        self.abort(CloseCode.SLOW, str(error))
        return ConnectionClosed(CloseCode.SLOW, str(error))

    def _tear_down(self) -> None:
        assert self.closed is not None
        self._ending = True
        self._transport.stop()
        self.outbox.end(self.closed)
        self._transport.abort()

    def _release(self) -> None:
        if not self._transport.release():
            return
        self._unfinished.end()
        self.deadlines.close()
        self.advance(ConnectionState.DISCONNECTED)
        assert self.closed is not None
        level = logging.INFO if self.closed.code > CloseCode.SHUTDOWN else logging.DEBUG
        who, why = self.label or "nobody", str(self.closed).encode("unicode_escape").decode()  # on one line
        log.log(level, "connection %d (%s) closed: %s", self.number, who, why)
        on_gone, self._on_gone = self._on_gone, None  # breaks a reference cycle with the callback
        if on_gone is not None:
            on_gone(self)

    def _pong_came(self, payload: bytes) -> None:
        if not payload:
            self.keepalive.answered()
        self._user_pings.answer(payload)
