"""The client's way to a connection: an address, TCP, TLS and the opening handshake, by one deadline."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Final

from threadchat.errors import BadUrl, CannotConnect, ConnectTimeout
from threadchat.wire.connecting.address import Address, checked_subprotocols, parse, request_headers
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.errors import connect_error
from threadchat.wire.connecting.racing import Remembered, connect_first
from threadchat.wire.connection import Connection
from threadchat.wire.limits import DEFAULT_LIMITS, Limits
from threadchat.wire.pinger import Pinger
from threadchat.wire.protocol.state_machine import ClientHandshake, ClientProtocol
from threadchat.wire.tls import TlsSocket
from threadchat.wire.transport import Socket
from threadchat.wire.turnstile import Turnstile

MAX_HEAD: Final = 16 << 10
"""Bytes of the answer's head."""
_worked: Final = Remembered()  # by all who connect in this process
_READ_SIZE: Final = 4096
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d ")  # more will follow: 100, 103


class Deadline:
    """How much of one total time is left."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self.clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises ConnectTimeout."""
        left = self._end - self.clock()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> ConnectTimeout:
        """What to raise when a call ran out of it."""
        return ConnectTimeout(f"no connection within {self._seconds:g} s")


OpenTcp = Callable[[Address, Deadline, Cancellation], socket.socket]
"""Makes the TCP connection that a handshake goes over."""


def dial(
    url: str,
    *,
    turnstile: Turnstile,
    pinger: Pinger,
    limits: Limits = DEFAULT_LIMITS,
    number: int,
    subprotocols: Sequence[str] | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    timeout: float = 10.0,
    ssl_context: ssl.SSLContext | None = None,
    on_gone: Callable[[Connection], None] | None = None,
    cancellation: Cancellation | None = None,
    server_hostname: str | None = None,
    open_tcp: OpenTcp | None = None,
    judge: Callable[[bytes, bytes], None] | None = None,
    clock: Callable[[], float] = monotonic,
) -> Connection:
    """Connects to a ws:// or wss:// address; a client's Connection, whose reader is still to be started.

    `timeout` is in seconds and for everything together, but for the look-up of the name, which the system
    bounds. Of a name's addresses the first that answers is taken, and none takes the others' time. `headers`
    go along with the request (Origin, Authorization, Cookie); user and password of the URL become Basic
    authorization. `ssl_context` is ssl.create_default_context() where wss:// comes without, and allows no
    renegotiation. `cancellation` lets another thread end the attempt. `server_hostname` is what the
    certificate has to name in place of the host. `open_tcp` makes the connection in its own way, through a
    proxy, say. `judge` is called with the heads of request and answer, and may raise.

    Runs on: any thread. Raises BadUrl before it connects; HandshakeRefused for any answer but 101, redirects
    too; ConnectTimeout; CannotConnect for the rest; RuntimeError where no thread can be started.
    """
    address = parse(url)
    if ssl_context is not None and not address.secure:
        raise BadUrl(f"{address.authority} is to be reached by ws://; a context for TLS is for wss://")
    if not isinstance(ssl_context, ssl.SSLContext | None):
        raise BadUrl(f"{ssl_context!r:.60}, for TLS, must be an ssl.SSLContext, or None for the usual one")
    extra = request_headers(headers, address.credentials)
    asked = checked_subprotocols(subprotocols)
    deadline = Deadline(timeout, clock)
    cancellation = cancellation or Cancellation()
    tcp = (open_tcp or _connected)(address, deadline, cancellation)
    try:
        sock = _secured(tcp, address, ssl_context, deadline, server_hostname)
        inflate_to = limits.max_message_size if limits.compression else None
        handshake = ClientHandshake(address.authority, address.target, extra, asked, inflate_to=inflate_to)
        protocol, trailing = _shake_hands(sock, handshake, deadline, judge)
        sock.settimeout(None)
        cancellation.forget(tcp)
        return Connection(
            number,
            sock,
            {},
            trailing,
            turnstile=turnstile,
            pinger=pinger,
            limits=limits,
            on_gone=on_gone,
            protocol=protocol,
        )
    except BaseException:
        cancellation.forget(tcp)
        tcp.close()
        raise


def _connected(address: Address, deadline: Deadline, cancellation: Cancellation) -> socket.socket:
    """A TCP connection to whichever address of the host answers first."""
    host, port = address.host, address.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
        raise connect_error(reason, f"{host}: unknown host") from error
    try:
        sock, endpoint = connect_first(_worked.ordered(host, port, found), deadline, cancellation)
    except CannotConnect:
        raise
    except OSError as error:
        raise _mapped(error, f"{host} port {port}", deadline) from error
    _worked.note(host, port, endpoint)
    return sock


connect_tcp: OpenTcp = _connected
"""The usual way."""


def _secured(
    sock: socket.socket,
    address: Address,
    context: ssl.SSLContext | None,
    deadline: Deadline,
    server_hostname: str | None = None,
) -> Socket:
    """The same, within TLS where the address wants it."""
    if not address.secure:
        return sock
    try:
        tls = TlsSocket(sock, context or _usual_context(), server_hostname=server_hostname or address.host)
        tls.handshake(deadline.left(), deadline.clock)
    except OSError as error:
        raise _mapped(error, f"{address.host} port {address.port}: no TLS", deadline) from error
    return tls


def _usual_context() -> ssl.SSLContext:
    """Python's own, without renegotiation: a writer could not send while a server draws it out."""
    context = ssl.create_default_context()
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _shake_hands(
    sock: Socket,
    handshake: ClientHandshake,
    deadline: Deadline,
    judge: Callable[[bytes, bytes], None] | None = None,
) -> tuple[ClientProtocol, bytes]:
    """The protocol that the handshake led to, and what came after it."""
    try:
        sock.settimeout(deadline.left())
        sock.sendall(handshake.request)
        head, rest = _read_head(sock, deadline)
        if judge is not None:
            judge(handshake.request, head)
        protocol = handshake.receive(head)
        if protocol is not None:
            return protocol, rest
        while rest or (rest := _read_body(sock, deadline)):  # a refusal's
            handshake.receive(rest)
            rest = b""
        handshake.end()
    except CannotConnect:
        raise
    except OSError as error:
        raise _mapped(error, "the connection was lost in the handshake", deadline) from error


def _read_head(sock: Socket, deadline: Deadline) -> tuple[bytes, bytes]:
    """The head of the answer, and what came with it already; interim ones are skipped."""
    data = b""
    skipped = 0
    while True:
        end = _END_OF_HEAD.search(data)
        if end is None:
            if skipped + len(data) > MAX_HEAD:
                raise CannotConnect(f"the head of the server's answer is longer than {MAX_HEAD} bytes")
            more = _read(sock, deadline)
            if not more:
                raise CannotConnect("the server ended the connection before it answered the handshake")
            data += more
        elif _INTERIM.match(data):
            skipped += end.end()
            data = data[end.end() :]
        else:
            return data[: end.end()], data[end.end() :]


def _read(sock: Socket, deadline: Deadline) -> bytes:
    sock.settimeout(deadline.left())
    return sock.recv(_READ_SIZE)


def _read_body(sock: Socket, deadline: Deadline) -> bytes:
    """Whatever goes wrong, the status is known, and that is what counts."""
    try:
        return _read(sock, deadline)
    except OSError:
        return b""


def _mapped(error: OSError, what: str, deadline: Deadline) -> CannotConnect:
    if isinstance(error, TimeoutError):
        return deadline.over()
    return connect_error(error, what)
