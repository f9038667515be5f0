"""Connects a client: name lookup, TCP, TLS and the opening handshake, within one timeout."""

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
from threadchat.wire.protocol.client_handshake import ClientHandshake
from threadchat.wire.protocol.state_machine import ClientProtocol
from threadchat.wire.tls import TlsSocket
from threadchat.wire.transport import Socket
from threadchat.wire.turnstile import Turnstile

MAX_HEAD: Final = 16 << 10
"""Largest head of the server's answer, in bytes."""
_remembered: Final = Remembered()  # shared by all attempts of this process
_READ_SIZE: Final = 4096
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d ")  # such as 100 and 103; the final answer follows


class Deadline:
    """A timeout for several steps together."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self.clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Returns the seconds left, more than 0. Raises ConnectTimeout."""
        left = self.rest()
        if not left:
            raise self.over()
        return left

    def rest(self) -> float:
        """Returns the seconds left, or 0."""
        return max(0.0, self._end - self.clock())

    def over(self) -> ConnectTimeout:
        """Returns the exception for a step that timed out."""
        return ConnectTimeout(f"no connection within {self._seconds:g} s")


OpenTcp = Callable[[Address, Deadline, Cancellation], socket.socket]
"""Makes the TCP connection for a handshake."""


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
    """Connects to a ws:// or wss:// URL; returns a Connection, whose reader the caller has to start.

    `timeout`, in seconds, is for all steps together, except the lookup of the name, which the system limits.
    The addresses of a name are raced, and the first that answers is used. `headers` are added to the request
    (Origin, Authorization, Cookie); the URL's user and password become Basic authorization. The default
    `ssl_context` is ssl.create_default_context() without renegotiation. `cancellation` lets another thread
    end the attempt. `server_hostname` is the name that the certificate must have instead of the host.
    `open_tcp` replaces the TCP connection, for example by one through a proxy. `judge` is called with the
    heads of the request and the answer, and may raise.

    Raises BadUrl before it connects, HandshakeRefused for any answer other than 101 (redirects included),
    ConnectTimeout, CannotConnect for all other failures, and RuntimeError if no thread can be started. Runs
    on: any thread.
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
    """Returns a TCP connection to the first address of the host that answers."""
    host, port = address.host, address.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
        raise connect_error(reason, f"{host}: unknown host") from error
    try:
        sock, endpoint = connect_first(_remembered.ordered(host, port, found), deadline, cancellation)
    except CannotConnect:
        raise
    except OSError as error:
        raise _mapped(error, f"{host} port {port}", deadline) from error
    _remembered.note(host, port, endpoint)
    return sock


connect_tcp: OpenTcp = _connected
"""Connects directly; the default for `open_tcp`."""


def _secured(
    sock: socket.socket,
    address: Address,
    context: ssl.SSLContext | None,
    deadline: Deadline,
    server_hostname: str | None = None,
) -> Socket:
    """Returns the socket, with TLS if the address asks for it."""
    if not address.secure:
        return sock
    try:
        tls = TlsSocket(sock, context or _usual_context(), server_hostname=server_hostname or address.host)
        tls.handshake(deadline.left(), deadline.clock)
    except OSError as error:
        raise _mapped(error, f"{address.host} port {address.port}: no TLS", deadline) from error
    return tls


def _usual_context() -> ssl.SSLContext:
    """Returns Python's default context without renegotiation, in which a server could stall our writer."""
    context = ssl.create_default_context()
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _shake_hands(
    sock: Socket,
    handshake: ClientHandshake,
    deadline: Deadline,
    judge: Callable[[bytes, bytes], None] | None = None,
) -> tuple[ClientProtocol, bytes]:
    """Returns the protocol after the handshake, and the bytes that arrived behind the answer's head."""
    try:
        sock.settimeout(deadline.left())
        sock.sendall(handshake.request)
        head, rest = _read_head(sock, deadline)
        if judge is not None:
            judge(handshake.request, head)
        protocol = handshake.receive(head)
        if protocol is not None:
            return protocol, rest
        while rest or (rest := _read_body(sock, deadline)):  # the body of a refusal
            handshake.receive(rest)
            rest = b""
        handshake.end()
    except CannotConnect:
        raise
    except OSError as error:
        raise _mapped(error, "the connection was lost in the handshake", deadline) from error


def _read_head(sock: Socket, deadline: Deadline) -> tuple[bytes, bytes]:
    """Returns the head of the final answer and the bytes that came with it; skips interim answers."""
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
    """Returns some bytes; after the deadline those that wait in the socket, as this thread was late then."""
    try:
        sock.settimeout(deadline.rest())
        return sock.recv(_READ_SIZE)
    except BlockingIOError:
        raise deadline.over() from None


def _read_body(sock: Socket, deadline: Deadline) -> bytes:
    """Like `_read`, but treats an error as the end: the status is known already, and matters more."""
    try:
        return _read(sock, deadline)
    except OSError:
        return b""


def _mapped(error: OSError, what: str, deadline: Deadline) -> CannotConnect:
    if isinstance(error, TimeoutError):
        return deadline.over()
    return connect_error(error, what)
