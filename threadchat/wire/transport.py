"""The socket of one WebSocket connection: the reader thread reads messages, the writer thread sends bytes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from time import sleep
from typing import Any, Final

from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.wire import socket_state
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.protocol.incoming import PAUSE, Incoming
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


class Transport(Incoming):
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
        super().__init__(protocol, max_message_size)
        self._counters = counters or ConnectionCounters()
        self.socket = sock
        self.writer_thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._holders = 2
        self._process = os.getpid()
        self._trailing = trailing
        # How many of the socket's bytes were read before; how many of those read here were dealt with.
        self._read_before = 0
        if isinstance(sock, socket.socket):
            self._read_before = socket_state.read_before(sock) - len(trailing)
        self._handled = 0
        self._dropped = False  # what has come of a message is not wanted any more
        self._read_size = _READ_SIZE

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
        counters = self._counters
        self._handled = counters.bytes_in
        data, self._trailing = self._trailing, b""
        was_full = False
        if not data:
            try:
                data = self.socket.recv(self._read_size)
            except OSError as error:
                raise ConnectionClosed(CloseCode.ABNORMAL, str(error)) from error
            if not data:
                raise ConnectionClosed(CloseCode.ABNORMAL, "the peer ended the stream")
            if self._dropped:  # after a shutdown, too, a socket gives what it had received
                self.protocol.incoming_message = None
                self._head = b""
                raise ConnectionClosed(CloseCode.ABNORMAL, "the rest is not wanted")
            was_full = len(data) >= self._read_size
            self._read_size = _READ_SIZE_BUSY if was_full else _READ_SIZE
        counters.bytes_in += len(data)
        if self._head:
            data, self._head = self._head + data, b""
        protocol = self.protocol
        self._decode(protocol, data, was_full)
        if not protocol.connected and self._closed is None:
            self._closed = ConnectionClosed(protocol.close_reason, protocol.close_message or "")
        messages = protocol.input_buffer
        if messages:
            counters.messages_in += len(messages)
            protocol.input_buffer = []
        return messages

    @property
    def progress(self) -> tuple[int, int]:
        """How many messages were whole, and how many bytes of the present one's frames have come."""
        received = self._message_size - self._passing * self._in_data
        return self._counters.messages_in, received + len(self._head)

    def discard(self) -> bool:
        """Reads and discards bytes; False once the peer ended the stream. Runs on: the reader thread."""
        sleep(PAUSE)  # a peer that floods a closed connection must not take CPU time from others
        try:
            return bool(self.socket.recv(_READ_SIZE_BUSY))
        except OSError:
            return False

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
        seconds = min(timeout, socket_state.LONGEST_POLL)
        if isinstance(self.socket, TlsSocket):  # which may wait for something other than room
            self.socket.wait_writable(seconds)
        else:
            socket_state.is_ready(self.socket, select.POLLOUT, max(0.001, seconds))

    def finish(self) -> None:
        """Ends our side of the stream after the Close. Runs on: the writer thread."""
        self._shut_down(socket.SHUT_WR)

    # Any thread

    def drop(self) -> None:
        """Nothing that comes is kept; to be called before `abort`. Runs on: any thread."""
        self._dropped = True

    def addresses(self) -> tuple[Any, Any]:
        """Our address and the peer's; None for both once the socket is closed. Runs on: any thread."""
        with self._lock:
            return socket_state.addresses(self.socket.fileno()) if self._holders else (None, None)

    def is_behind(self) -> bool:
        """Whether bytes have come that the reader has not read, or not dealt with. Runs on: any thread."""
        with self._lock:
            if not self._holders:
                return False
            if self._counters.bytes_in > self._handled:
                return True
            if isinstance(self.socket, TlsSocket):
                return self.socket.is_behind()
            return socket_state.is_behind(self.socket, self._read_before + self._handled)

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
                socket_state.shut_down(self.socket, how, reset=reset)
