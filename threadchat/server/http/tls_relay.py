"""Turns a TLS socket of another server into a plain socket, with a thread that relays bytes."""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import ssl
import threading
from typing import Any, Final

log = logging.getLogger(__name__)

_PIECE: Final = 64 << 10
"""Bytes that may wait in each direction; a side that is full stops the other."""
_POLL: Final = 1000  # milliseconds between two checks without an event


def relayed(theirs: ssl.SSLSocket) -> socket.socket:
    """A connected plain socket for the TLS connection `theirs`; the server keeps a disabled socket object.

    A reader and a writer may not use an SSLSocket at the same time, and its descriptor cannot be replaced
    under OpenSSL. So one thread owns it from now on, and closes it. Raises OSError and RuntimeError; then
    `theirs` is unchanged. Runs on: the request's thread.
    """
    ours, inner = socket.socketpair()
    try:
        ours.settimeout(None)
        relay = _Relay(theirs, inner)
        begin = threading.Event()
        thread = threading.Thread(
            target=relay.run, args=(begin,), name=f"tls-relay-{theirs.fileno()}", daemon=True
        )
        thread.start()
        relay.take()
        begin.set()
    except BaseException:
        ours.close()
        inner.close()
        raise
    return ours


class _Relay:
    """Relays bytes in both directions until either side ends. Runs on: its own thread, except `take`."""

    def __init__(self, tls: ssl.SSLSocket, inner: socket.socket) -> None:
        self._kind = type(tls)
        self._tls = tls
        self._inner = inner
        self._tls_events = 0  # the poll events that OpenSSL waits for
        self._tls_ended = False
        self._inner_ended = False
        self._to_inner = memoryview(b"")
        self._to_tls = memoryview(b"")

    def take(self) -> None:
        """Takes over the connection. Runs on: the request's thread."""
        self._kind.setblocking(self._tls, False)
        self._inner.setblocking(False)
        _leave_dead_end(self._tls)

    def run(self, begin: threading.Event) -> None:
        """Relays until the end of the connection, once it is taken over."""
        begin.wait()
        try:
            while not self._is_over():
                self._tls_events = 0
                if not self._pass_on():
                    self._wait()
        except OSError as error:
            log.debug("a TLS connection was lost: %s", error)
        finally:
            self._inner.close()
            with contextlib.suppress(
                OSError, ValueError
            ):  # sends a close_notify; does not wait for the peer's
                self._kind.unwrap(self._tls)
            self._kind.close(self._tls)

    def _is_over(self) -> bool:
        if self._inner_ended:
            return not self._to_tls
        return self._tls_ended and not self._to_inner

    def _pass_on(self) -> bool:
        """Relays what can be relayed without waiting; returns whether anything was."""
        moved = False
        if not self._to_inner and not self._tls_ended:
            data = self._of_tls(lambda: self._kind.read(self._tls, _PIECE))
            if data is not None:
                moved, self._tls_ended, self._to_inner = True, not data, memoryview(data)
        if not self._to_tls and not self._inner_ended:
            data = self._of_inner(lambda: self._inner.recv(_PIECE))
            if data is not None:
                moved, self._inner_ended, self._to_tls = True, not data, memoryview(data)
        if self._to_inner:
            sent = self._of_inner(lambda: self._inner.send(self._to_inner))
            moved, self._to_inner = moved or bool(sent), self._to_inner[sent or 0 :]
        if self._to_tls:
            sent = self._of_tls(lambda: self._kind.write(self._tls, self._to_tls))
            moved, self._to_tls = moved or bool(sent), self._to_tls[sent or 0 :]
        return moved

    def _of_tls(self, action: Any) -> Any:
        """The result of `action`; None if it would block."""
        try:
            return action()
        except ssl.SSLWantReadError:
            self._tls_events |= select.POLLIN
        except ssl.SSLWantWriteError:
            self._tls_events |= select.POLLOUT
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        return None

    def _of_inner(self, action: Any) -> Any:
        try:
            return action()
        except BlockingIOError:
            return None

    def _wait(self) -> None:
        poll = select.poll()
        if self._tls_events:
            poll.register(self._kind.fileno(self._tls), self._tls_events)
        events = (0 if self._to_tls or self._inner_ended else select.POLLIN) | (
            select.POLLOUT if self._to_inner else 0
        )
        poll.register(self._inner, events)
        poll.poll(_POLL)


def _leave_dead_end(sock: ssl.SSLSocket) -> None:
    """Disables the socket object for the server: it reads nothing, writes nothing and closes nothing."""

    def broken(*given: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "this connection was taken over")

    dead: Any = sock
    dead.recv = lambda *given: b""
    dead.recv_into = lambda *given: 0
    dead.send = dead.sendall = broken
    for name in ("close", "shutdown", "unwrap", "settimeout", "setblocking"):
        setattr(dead, name, lambda *given: None)
