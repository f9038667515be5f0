"""TLS over one TCP socket, for one thread that reads and one thread that writes.

Two threads must not use an OpenSSL object at once, and an `ssl.SSLSocket` that waits for bytes is in use. So
TLS works on memory buffers here, under a lock that no thread holds while it waits: the reader waits on the
TCP socket itself.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from threadchat.wire.socket_state import is_behind, is_ready

_RECORD: Final = 16 << 10
"""Largest plaintext of one record in bytes (RFC 8446 5.1)."""
_PORTION: Final = 2 * _RECORD
"""Bytes that are encrypted before the socket takes them; a ping waits for them if the peer is slow."""
_MAX_ANSWERS: Final = 16 << 10
"""Bytes of TLS answers that may wait for a full socket; a peer that asks for more does not read them."""
_RECHECK: Final = 0.05
"""Seconds between two checks of a writer whether the peer has continued a negotiation. The writer cannot poll
for this: the socket may have room all the time, and data may wait there for a reader that is busy elsewhere.
In both cases the poll would return at once, and the writer would spin for as long as the peer likes."""
_HANG_UP: Final = 0  # poll reports POLLHUP and POLLERR even if no event is asked for
_READ_SIZE: Final = 1024
"""Bytes of a first read; every connection that waits in recv holds a buffer of this size."""
_READ_SIZE_BUSY: Final = 64 << 10
"""Bytes of a read after a read that filled its buffer."""


class TlsSocket:
    """Encrypts over a TCP socket, which it owns, and has the methods of a blocking socket.

    `handshake` is called first, on one thread. After it, one thread may call `recv` while another calls
    `send`, and any thread may call `shutdown`. Errors are OSErrors, as ssl.SSLError is.

    All bytes for the peer go through `_outgoing` in the order in which they were encrypted, and from there
    into the socket under `_lock`, without blocking. So the messages of TLS itself, on whichever thread they
    arise, neither split a record nor change the order. `_lock` guards all fields except the socket,
    `_read_size`, `_taken` and `_handled` (set by the reader only) and `_negotiates` (by the writer only). It
    is a leaf.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._unsent = memoryview(b"")  # ciphertext that the socket has not taken
        self._owed = 0  # bytes of plaintext that are encrypted, but not yet counted as sent
        self._plain = b""  # plaintext that was decrypted, but not yet returned
        self._negotiates = False  # the last send waits for a negotiation with the peer, not for room
        self._timeout: float | None = None
        self._read_size = _READ_SIZE
        self._taken = 0  # bytes of ciphertext that were read
        self._handled = 0  # those of them from which the reader has got all that it can get

    def handshake(self, timeout: float, clock: Callable[[], float] = monotonic) -> None:
        """Negotiates keys and checks the peer's certificate, as the context asks, within `timeout` seconds.

        After that, what waits in the socket is read once: then this thread was late. Raises
        ssl.SSLError, TimeoutError or another OSError. Runs on: one thread, before all other calls.
        """
        deadline = clock() + timeout
        late = False
        try:
            self._socket.settimeout(max(0.0, timeout))
            while not self._step():
                if late:
                    raise TimeoutError("the TLS handshake was not done in time")
                remaining = deadline - clock()
                late = remaining <= 0
                self._socket.settimeout(max(0.0, remaining))
                self._take_in(self._socket.recv(_READ_SIZE_BUSY))
        except BlockingIOError:
            raise TimeoutError("the TLS handshake was not done in time") from None
        finally:
            self._socket.settimeout(None)

    def _step(self) -> bool:
        """Takes one step of the handshake; returns False if the peer's next message is needed."""
        try:
            self._tls.do_handshake()
            agreed = True
        except ssl.SSLWantReadError:
            agreed = False
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # an alert that tells the peer why
                self._socket.sendall(self._outgoing.read())
            raise
        self._socket.sendall(self._outgoing.read())
        return agreed

    # The reader

    def recv(self, size: int) -> bytes:
        """Blocks for at most `size` bytes; returns none at the end of the stream. Runs on: the reader thread.

        A stream that ends without a close_notify is no error, because WebSocket has its own Close.
        """
        deadline = self._deadline()  # for the whole call: a record that comes byte by byte does not move it
        late = False
        while (data := self._decrypt(size)) is None:
            self._handled = self._taken
            if deadline is not None:
                remaining = deadline - monotonic()
                if late or not self._poll(select.POLLIN, max(0.0, remaining)):
                    raise TimeoutError("timed out")
                late = remaining <= 0  # what came in time is read once, although this thread was not
            cipher = self._socket.recv(self._read_size)
            self._read_size = _READ_SIZE_BUSY if len(cipher) == self._read_size else _READ_SIZE
            with self._lock:
                self._take_in(cipher)
        return data

    def _decrypt(self, size: int) -> bytes | None:
        """Returns plaintext, or b"" at the end of the stream, or None if more ciphertext is needed."""
        with self._lock:
            if not self._plain:
                try:
                    # A whole record, because a half-read one would make our close_notify an error.
                    self._plain = self._tls.read(_RECORD)
                except ssl.SSLWantReadError:
                    return None
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
                finally:
                    self._answer_locked()
            data, self._plain = self._plain[:size], self._plain[size:]
            return data

    def _answer_locked(self) -> None:
        """Sends the answer of TLS to what was read: new keys, or an alert.

        If the socket is full, the answer waits, and leaves before anything that is sent later.
        """
        with contextlib.suppress(OSError):  # the peer is gone, but there may be data left to read
            self._flush_locked()
        if self._outgoing.pending > _MAX_ANSWERS:
            raise ConnectionAbortedError("the peer asks for new keys over and over and does not read them")

    def _take_in(self, cipher: bytes) -> None:
        if cipher:
            self._taken += len(cipher)
            self._incoming.write(cipher)
        else:
            self._incoming.write_eof()

    # The writer

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Sends what the socket takes without blocking, whatever `flags` say; returns the bytes sent.

        Bytes count as sent once the socket has taken all of their ciphertext. Others may be encrypted
        already, so the next call must begin with the first byte that did not count. Runs on: the writer
        thread.
        """
        rest = memoryview(data)
        while rest and (sent := self._send_portion(rest)):
            rest = rest[sent:]
        return len(data) - len(rest)

    def sendall(self, data: bytes) -> None:
        """Sends all of `data`; blocks until the socket took it. Runs on: the writer thread."""
        deadline = self._deadline()
        rest = memoryview(data)
        while rest:
            sent = self.send(rest)
            remaining = None if deadline is None else deadline - monotonic()
            if not sent:
                if remaining is not None and remaining <= 0:
                    raise TimeoutError("timed out")
                self.wait_writable(remaining)
            rest = rest[sent:]

    def _send_portion(self, data: memoryview) -> int:
        """Sends up to `_PORTION` bytes of `data`; returns how many were sent, 0 if the socket is full."""
        with self._lock:
            self._negotiates = False
            if not self._flush_locked():
                return 0
            assert len(data) >= self._owed, "a send continues where the last one ended"
            while self._owed < min(len(data), _PORTION):
                try:
                    self._owed += self._tls.write(data[self._owed : self._owed + _RECORD])
                except ssl.SSLWantReadError:  # TLS needs more from the peer, which the reader will read
                    self._negotiates = True
                    if self._poll(_HANG_UP, 0):  # nothing is sent that would show this
                        raise ConnectionResetError("the connection ended during a negotiation") from None
                    break
            if not self._flush_locked():
                return 0
            sent, self._owed = self._owed, 0
            return sent

    def _flush_locked(self) -> bool:
        """Passes ciphertext to the socket; returns False if some is left."""
        while True:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
                if not self._unsent:
                    return True
            try:
                sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]

    def wait_writable(self, seconds: float | None) -> None:
        """Blocks until `send` may succeed, at most `seconds`. Runs on: the writer thread."""
        if self._negotiates:
            self._poll(_HANG_UP, _RECHECK if seconds is None else min(seconds, _RECHECK))
        else:
            self._poll(select.POLLOUT, seconds)

    def _deadline(self) -> float | None:
        """When a call that begins now must end. The TCP socket itself has no timeout.

        With one, it would wait for room despite MSG_DONTWAIT.
        """
        return None if self._timeout is None else monotonic() + self._timeout

    def _poll(self, event: int, seconds: float | None) -> bool:
        return is_ready(self._socket, event, seconds)

    # Any thread

    def is_behind(self) -> bool:
        """Whether bytes have come that the reader has not read, or not dealt with. Runs on: any thread."""
        return is_behind(self._socket, self._handled)

    def shutdown(self, how: int) -> None:
        """Wakes a waiting reader, as a socket's does. SHUT_WR sends a close_notify. Runs on: any thread."""
        if how == socket.SHUT_WR:
            with self._lock:
                self._say_goodbye_locked()
        self._socket.shutdown(how)

    def _say_goodbye_locked(self) -> None:
        """Sends a close_notify if there is room for it; it does not wait for a peer that does not read.

        OpenSSL looks for the peer's close_notify at once, and fails for good if it finds data instead, so the
        unread data is hidden from it.
        """
        unread = self._incoming.read()
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        if unread:
            self._incoming.write(unread)
        with contextlib.suppress(OSError):
            self._flush_locked()

    def settimeout(self, seconds: float | None) -> None:
        """Sets the timeout of each call, in seconds. Must be None before two threads use the socket."""
        self._timeout = seconds

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Like `socket.setsockopt`. Runs on: any thread."""
        self._socket.setsockopt(level, option, value)

    def fileno(self) -> int:
        """Returns the TCP socket's descriptor, -1 once closed. Runs on: any thread."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the TCP socket. Runs on: the last thread that uses it."""
        self._socket.close()
