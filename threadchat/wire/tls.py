"""TLS over one TCP socket, for one thread that reads and one that writes, as a connection has them.

OpenSSL's objects may not be used by two threads at once, and an `ssl.SSLSocket` that waits for bytes is in
use. So TLS works on memory here, under a lock that nobody holds while waiting: the reader waits on the TCP
socket itself.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

_RECORD: Final = 16 << 10
"""Bytes of plaintext in one record, at most (RFC 8446 5.1)."""
_PORTION: Final = 2 * _RECORD
"""Bytes that are encrypted ahead of the socket: what a slow peer holds up, and a ping waits for."""
_MAX_ANSWERS: Final = 16 << 10
"""Bytes that TLS wants to say while the socket is full: a peer that asks for so much does not listen."""
_LOOK: Final = 0.05
"""Seconds between two looks of a writer at whether the peer has gone on with a negotiation. Room, of which
there may be plenty, is no news to it, and neither is something to read, which may wait for a reader that is
busy elsewhere: it would spin for as long as the peer likes."""
_HANG_UP: Final = 0  # of all that can be polled for, it alone comes unasked
_READ_SIZE: Final = 1024
"""Bytes of a first read: a waiting recv holds a buffer of this size, for each connection."""
_READ_SIZE_BUSY: Final = 64 << 10
"""Bytes of a read after one that was full."""


class TlsSocket:
    """Looks like the blocking socket beneath it, which it owns, and encrypts.

    `handshake` comes first, on one thread; then one thread may `recv` while another `send`s, and any may
    `shutdown`. Errors are OSErrors, as a socket's are: ssl.SSLError is one.

    Everything for the peer goes through `_outgoing`, in the order in which it was encrypted, and from
    there into the socket under `_lock`, without blocking: so what TLS itself has to say, on whichever
    thread, neither tears a record nor comes out of turn. `_lock` guards all fields but the socket itself,
    `_read_size`, which is the reader's, and `_negotiates`, the writer's; it is a leaf.
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
        self._owed = 0  # bytes of plaintext whose ciphertext is not all sent: send did not answer for them
        self._plain = b""  # what was decrypted past what was asked for
        self._negotiates = False  # the last send waits for the peer and its own reader, not for room
        self._timeout: float | None = None
        self._read_size = _READ_SIZE

    def handshake(self, timeout: float, clock: Callable[[], float] = monotonic) -> None:
        """Agrees on keys, and checks the peer's certificate as the context says, within `timeout` seconds.

        Runs on: any one thread, before all else. Raises ssl.SSLError, TimeoutError, OSError.
        """
        deadline = clock() + timeout

        def wait_for_the_rest() -> None:
            remaining = deadline - clock()
            if remaining <= 0:
                raise TimeoutError("the TLS handshake was not done in time")
            self._socket.settimeout(remaining)

        try:
            wait_for_the_rest()
            while not self._step():
                wait_for_the_rest()
                self._take_in(self._socket.recv(_READ_SIZE_BUSY))
        finally:
            self._socket.settimeout(None)

    def _step(self) -> bool:
        """One flight of the handshake; False: the next is the peer's."""
        try:
            self._tls.do_handshake()
            agreed = True
        except ssl.SSLWantReadError:
            agreed = False
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # an alert that says why
                self._socket.sendall(self._outgoing.read())
            raise
        self._socket.sendall(self._outgoing.read())
        return agreed

    # The reader

    def recv(self, size: int) -> bytes:
        """Blocks for bytes, `size` at most; none after the peer's last. Runs on: the reader thread.

        An end of the stream without a close_notify is an end all the same: WebSocket has a Close of its own.
        """
        left = None if self._timeout is None else self._begin(self._timeout)
        while (data := self._decrypt(size)) is None:
            if left is not None:
                self._wait(select.POLLIN, left())
            cipher = self._socket.recv(self._read_size)
            self._read_size = _READ_SIZE_BUSY if len(cipher) == self._read_size else _READ_SIZE
            with self._lock:
                self._take_in(cipher)
        return data

    def _decrypt(self, size: int) -> bytes | None:
        """What there is of plaintext; None: none, as long as nothing more is taken in."""
        with self._lock:
            if not self._plain:
                try:
                    # All of a record: one that is half read would make our close_notify an error.
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
        """Sends what TLS says to what was read: new keys, an alert.

        Where the socket is full, that leaves ahead of whatever is sent next.
        """
        with contextlib.suppress(OSError):  # the peer is gone, and may have left something to read
            self._flush_locked()
        if self._outgoing.pending > _MAX_ANSWERS:
            raise ConnectionAbortedError("the peer asks for new keys over and over and does not read them")

    def _take_in(self, cipher: bytes) -> None:
        if cipher:
            self._incoming.write(cipher)
        else:
            self._incoming.write_eof()

    # The writer

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Sends what the socket takes without blocking, whatever `flags` say; returns how many bytes.

        They count once the socket has taken all of their ciphertext. Some may be encrypted already that do
        not count yet: the next call has to begin with them, as it does wherever a short count is
        continued. Runs on: the writer thread.
        """
        rest = memoryview(data)
        while rest and (sent := self._send_portion(rest)):
            rest = rest[sent:]
        return len(data) - len(rest)

    def sendall(self, data: bytes) -> None:
        """Sends all, and blocks for it. Runs on: the writer thread."""
        left = None if self._timeout is None else self._begin(self._timeout)
        rest = memoryview(data)
        while rest:
            sent = self.send(rest)
            if not sent:
                self.wait_writable(None if left is None else left())
            rest = rest[sent:]

    def _send_portion(self, data: memoryview) -> int:
        """How many of the first bytes of `data` have left; none where the socket is full."""
        with self._lock:
            self._negotiates = False
            if not self._flush_locked():
                return 0
            assert len(data) >= self._owed, "a short count is continued where it ended"
            while self._owed < min(len(data), _PORTION):
                try:
                    self._owed += self._tls.write(data[self._owed : self._owed + _RECORD])
                except ssl.SSLWantReadError:  # half of what TLS has to say has come: the reader reads on
                    self._negotiates = True
                    if self._poll(_HANG_UP, 0):  # nothing is sent that would tell
                        raise ConnectionResetError("it ended in the middle of a negotiation") from None
                    break
            if not self._flush_locked():
                return 0
            sent, self._owed = self._owed, 0
            return sent

    def _flush_locked(self) -> bool:
        """Passes ciphertext on to the socket; False: it took not all of it."""
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
        """Blocks until `send` may get further, at most `seconds`. Runs on: the writer thread."""
        if self._negotiates:
            self._poll(_HANG_UP, _LOOK if seconds is None else min(seconds, _LOOK))
        else:
            self._poll(select.POLLOUT, seconds)

    # Timeouts, which the socket beneath has none of: it would wait for room in spite of MSG_DONTWAIT

    def _begin(self, timeout: float) -> Callable[[], float]:
        """Begins a call that may take so long; what it returns tells the seconds left or raises TimeoutError.

        They are for all of it: a record that comes byte by byte would else have the whole time for each.
        """
        deadline = monotonic() + timeout

        def left() -> float:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            return remaining

        return left

    def _wait(self, event: int, seconds: float | None) -> None:
        if not self._poll(event, seconds):
            raise TimeoutError("timed out")

    def _poll(self, event: int, seconds: float | None) -> bool:
        poll = select.poll()  # select.select knows no descriptors above 1,023
        poll.register(self._socket, event)
        return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    # Anybody

    def shutdown(self, how: int) -> None:
        """As a socket's: wakes a waiting reader. SHUT_WR says close_notify first. Runs on: any thread."""
        if how == socket.SHUT_WR:
            with self._lock:
                self._say_goodbye_locked()
        self._socket.shutdown(how)

    def _say_goodbye_locked(self) -> None:
        """Says close_notify, if there is room for it: nobody waits for a peer that does not read.

        OpenSSL would look for the peer's at once, and give up for good on finding data: it finds nothing.
        """
        unread = self._incoming.read()
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        if unread:
            self._incoming.write(unread)
        with contextlib.suppress(OSError):
            self._flush_locked()

    def settimeout(self, seconds: float | None) -> None:
        """Bounds each call, while only one thread uses the socket; None again before a second one does."""
        self._timeout = seconds

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """See socket.setsockopt. Runs on: any thread."""
        self._socket.setsockopt(level, option, value)

    def fileno(self) -> int:
        """The TCP socket's descriptor, for polling; -1 once closed. Runs on: any thread."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the TCP socket. Runs on: the last thread that has anything to do with it."""
        self._socket.close()
