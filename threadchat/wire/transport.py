"""The socket of one WebSocket connection: the reader thread reads messages, the writer thread sends bytes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from time import sleep
from typing import Any, Final

from threadchat.errors import CloseCode, CloseFrame, ConnectionClosed
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.state_machine import Protocol
from threadchat.wire.tls import TlsSocket

Socket = socket.socket | TlsSocket

MAX_MESSAGE_SIZE: Final = 512_000
SEND_BUFFER: Final = 128 << 10
"""Bytes of a socket's send buffer; by default the kernel would queue megabytes ahead of a ping."""
_READ_SIZE: Final = 1024
"""Bytes of a first read; every connection that waits in recv holds a buffer of this size."""
_READ_SIZE_BUSY: Final = 64 << 10
"""Bytes of a read after a read that filled its buffer."""
_FRAMES_PER_PAUSE: Final = 64
"""Frames that the reader decodes with wsproto between two pauses; they take about a millisecond."""
_PAUSE: Final = 0.00005
"""Seconds of such a pause. A thread that computes without a pause keeps the interpreter for a whole switch
interval. During a flood of pings (one read holds ten thousand), another user's message, which passes through
three threads, took more than a second."""
_LAST_FRAMES: Final = 256
"""Frames that are decoded after our Close, to find the peer's Close among them; the rest is discarded."""
_LONGEST_POLL: Final = 0.25
"""Seconds. Linux reports a socket as writable only once a third of its buffer is free. At 60 KB/s that took
3.8 s, which is longer than `send_timeout`, although a send would have succeeded after 2 s."""


class Transport:
    """The socket after the handshake: the reader calls `receive`, the writer calls `send`.

    The reader and the writer both hold the descriptor, and the one that releases it last closes it. It is
    closed nowhere else, because the system gives its number away at once. `_lock` guards `_holders`, and
    delays the close while another thread shuts the socket down. The lock of a TlsSocket is acquired under it.
    """

    def __init__(
        self,
        sock: Socket,
        protocol: Protocol,
        trailing: bytes = b"",
        *,
        max_message_size: int = MAX_MESSAGE_SIZE,
        counters: ConnectionCounters | None = None,
    ) -> None:
        self.socket = sock
        self._counters = counters or ConnectionCounters()
        self.writer_thread: threading.Thread | None = None
        self.protocol = protocol
        self._read_text = protocol.read_text
        self._lock = threading.Lock()
        self._holders = 2
        self._process = os.getpid()
        self._max_message_size = max_message_size
        self._closed: ConnectionClosed | None = None  # once set, `receive` raises it
        self._trailing = trailing
        self._head = b""  # the bytes of an incomplete header
        self._passing = 0  # bytes of the current frame that are still to be passed to wsproto
        self._message_size = 0  # bytes of the current message's frames so far
        self._most = max_message_size  # bytes that these frames may have
        # Compression enlarges what it cannot shrink: by 4 % if a peer uses zlib's lowest memory level.
        self._most_deflated = max_message_size + (max_message_size // 8 + 64) * protocol.inflates
        self._fragmented = False
        self._dropped = False  # what has come of a message is not wanted any more
        self._in_data = False  # the present frame, or else the last one, is no control frame
        self._read_size = _READ_SIZE
        self.controls = 0  # whole control frames received; written by the reader
        self._stopped = False
        self._last_frames = _LAST_FRAMES

    # The reader

    def receive(self) -> list[str | bytes]:
        """Blocks for one read; returns the messages that it completed, often none.

        Raises ConnectionClosed after the peer's Close, the end of its stream, a lost connection, a protocol
        error (1002, 1007), or a message above the limit (1009; none of its bytes is kept). Runs on: the
        reader thread.
        """
        if self._closed is not None:
            # A new exception, because the traceback would make the stored one refer to itself.
            raise ConnectionClosed(self._closed.code, self._closed.reason)
        data, self._trailing = self._trailing, b""
        if not data:
            try:
                data = self.socket.recv(self._read_size)
            except OSError as error:
                raise ConnectionClosed(CloseCode.ABNORMAL, str(error)) from error
            if not data:
                raise ConnectionClosed(CloseCode.ABNORMAL, "the peer ended the stream")
            if self._dropped:  # after a shutdown, too, a socket gives what it had received
                self.protocol.incoming_message = None
                raise ConnectionClosed(CloseCode.ABNORMAL, "the rest is not wanted")
            self._read_size = _READ_SIZE_BUSY if len(data) >= self._read_size else _READ_SIZE
        counters = self._counters
        counters.bytes_in += len(data)
        if self._head:
            data, self._head = self._head + data, b""
        protocol = self.protocol
        self._decode(protocol, data)
        if not protocol.connected and self._closed is None:
            self._closed = ConnectionClosed(protocol.close_reason, protocol.close_message or "")
        messages = protocol.input_buffer
        if messages:
            counters.messages_in += len(messages)
            protocol.input_buffer = []
        return messages

    @property
    def is_within(self) -> bool:
        """Whether a message has begun that is not whole. Runs on: the reader thread, as what follows."""
        return bool(self._fragmented or self._passing or self._head)

    @property
    def progress(self) -> tuple[int, int]:
        """How many messages were whole, and how many bytes of the present one's frames have come."""
        return self._counters.messages_in, self._message_size - self._passing * self._in_data

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole; characters, as long as its first piece is all there is."""
        return len(self.protocol.incoming_message or b"")

    @property
    def peer_closed(self) -> bool:
        """Whether the peer sent a Close, after which nothing needs to be read."""
        return self.protocol.peer_closed

    @property
    def peer_close(self) -> CloseFrame | None:
        """The peer's Close; None until it arrives."""
        if not self.protocol.peer_closed:
            return None
        return CloseFrame(int(self.protocol.close_reason), self.protocol.close_message or "")

    def discard(self) -> bool:
        """Reads and discards bytes; False once the peer ended the stream. Runs on: the reader thread."""
        sleep(_PAUSE)  # a peer that floods a closed connection must not take CPU time from others
        try:
            return bool(self.socket.recv(_READ_SIZE_BUSY))
        except OSError:
            return False

    def _decode(self, protocol: Protocol, data: bytes) -> None:
        """Decodes the frames in `data`, and keeps an incomplete header for the next read."""
        read_text = self._read_text
        at = 0
        if self._passing:
            at = min(self._passing, len(data))
            self._passing -= at
            protocol.feed(data[:at])
            self.controls += not (self._in_data or self._passing)
        size = len(data)
        decoded = 0
        while at < size and protocol.connected:
            if self._stopped and not self._is_worth_reading():
                break
            if not self._fragmented and (short := read_text(data, at, self._max_message_size)):
                text, at = short
                protocol.input_buffer.append(text)
                continue
            decoded += 1
            if not decoded % _FRAMES_PER_PAUSE:
                sleep(_PAUSE)
            header = frames.read_header(data, at)
            if header is None:
                self._head = data[at:]
                break
            self._in_data = header.opcode < frames.CLOSE
            self._check_size(header)
            if not protocol.connected:
                break
            end = min(header.end, size)
            self._passing = header.end - end
            protocol.feed(data[at:end])
            self.controls += not (self._in_data or self._passing)
            at = end

    def _is_worth_reading(self) -> bool:
        """Counts the frames after our Close; after `_LAST_FRAMES` the connection counts as lost."""
        self._last_frames -= 1
        if self._last_frames < 0:
            self.protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.ABNORMAL, "the peer goes on after a Close")
        return self._last_frames >= 0

    def _check_size(self, header: frames.Header) -> None:
        """Refuses a message by its declared length, which is summed over its fragments.

        The size of a compressed message is checked again while it is inflated.
        """
        if header.opcode >= frames.CLOSE or header.size >> 63:  # wsproto refuses such a length (RFC 6455 5.2)
            return
        if not self._fragmented:
            self._message_size = 0
            self._most = self._most_deflated if header.deflated else self._max_message_size
        self._message_size += header.size
        self._fragmented = not header.final
        if self._message_size > self._most:
            reason = f"message too big: {self._message_size} bytes, at most {self._most} are allowed"
            self.protocol.connected = False
            self._closed = ConnectionClosed(CloseCode.MESSAGE_TOO_BIG, reason)

    # The writer

    def send(self, data: bytes | memoryview) -> int:
        """Sends what the socket takes without blocking; returns the bytes sent. Runs on: the writer thread.

        The socket stays in blocking mode, because with a timeout Python would wait despite MSG_DONTWAIT.
        """
        assert threading.current_thread() is self.writer_thread, "only its writer sends on a socket"
        try:
            return self.socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionClosed(CloseCode.ABNORMAL, str(error)) from error

    def wait_writable(self, timeout: float) -> None:
        """Blocks until the socket takes bytes again, is shut down, or `timeout` seconds have passed.

        May return earlier: another attempt may find room by then. Runs on: the writer thread.
        """
        seconds = min(timeout, _LONGEST_POLL)
        if isinstance(self.socket, TlsSocket):  # which may wait for something other than room
            self.socket.wait_writable(seconds)
            return
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        poll.poll(max(1, int(seconds * 1000)))

    def finish(self) -> None:
        """Ends our side of the stream after the Close. Runs on: the writer thread."""
        self._shut_down(socket.SHUT_WR)

    # Any thread

    def stop(self) -> None:
        """Ignores all that arrives but the peer's Close; see `_LAST_FRAMES`. Runs on: any thread."""
        self._stopped = True

    def drop(self) -> None:
        """Nothing that comes is kept; to be called before `abort`. Runs on: any thread."""
        self._dropped = True

    def addresses(self) -> tuple[Any, Any]:
        """Our address and the peer's; None for both once the socket is closed. Runs on: any thread."""
        with self._lock:
            if not self._holders:
                return None, None
            try:
                # A duplicate, because a TlsSocket has no such methods and hides its socket.
                with socket.socket(fileno=os.dup(self.socket.fileno())) as duplicate:
                    return duplicate.getsockname(), duplicate.getpeername()
            except OSError:
                return None, None

    def abort(self) -> None:
        """Interrupts the calls of reader and writer, and drops what the kernel still holds.

        Without the linger option, data for a peer that never reads would stay queued for minutes. Runs on:
        any thread.
        """
        self._shut_down(socket.SHUT_RDWR, reset=True)

    def release(self) -> bool:
        """Gives up one of the two holds; the last call closes the socket and returns True.

        Runs on: the reader and the writer thread, once each, at their end.
        """
        with self._lock:
            self._holders -= 1
            if self._holders:
                return False
            with contextlib.suppress(OSError):  # ECONNRESET: the connection is gone anyway
                self.socket.close()
        self.protocol.forget()
        return True

    def _shut_down(self, how: int, *, reset: bool = False) -> None:
        with self._lock:
            # A forked process inherits the descriptor, but the connection is its parent's.
            if self._holders and self._process == os.getpid():
                with contextlib.suppress(OSError):  # the peer has ended the connection already
                    if reset:
                        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.socket.shutdown(how)
