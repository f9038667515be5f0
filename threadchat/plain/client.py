"""Connects to a WebSocket server, in the shape of `websockets.sync.client.connect`."""

from __future__ import annotations

import logging
import os
import socket
import ssl as tls
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Unpack
from urllib.parse import urljoin

from threadchat.errors import CannotConnect, HandshakeRefused
from threadchat.plain import options
from threadchat.plain.connection import WebSocket
from threadchat.plain.http import Request, Response
from threadchat.plain.options import Options
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import SecurityError
from threadchat.plain.websockets.protocol import Side
from threadchat.plain.websockets.proxy import way_through
from threadchat.wire.connecting.address import Address, parse
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.dial import Deadline, OpenTcp, dial
from threadchat.wire.threads.synchronous import Awaited, Synchronous
from threadchat.wire.transport import SEND_BUFFER

MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = (300, 301, 302, 303, 307, 308)
_PRIVATE: Final = ("authorization", "cookie")  # headers that are for one host only
_log = logging.getLogger(__name__)

HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]


class ClientConnection(WebSocket, Awaited, Synchronous):
    """The client's side of a connection."""

    side = Side.CLIENT


class Heads:
    """The request and the response of a handshake, as they were sent."""

    request: Request
    response: Response | None = None

    def __init__(self, judge: Callable[[Request, Response], None] | None) -> None:
        self._judge = judge

    def note(self, request: bytes, response: bytes) -> None:
        """Keeps them, and lets the judge see an answer that is a yes."""
        self.request = Request.parse(request)
        try:
            self.response = Response.parse(response)
        except ValueError as error:
            raise CannotConnect(f"the server's answer is not a WebSocket handshake: {error}") from error
        if self._judge is not None and self.response.status_code == 101:
            self._judge(self.request, self.response)


def connect(
    uri: str,
    *,
    sock: socket.socket | None = None,
    ssl: tls.SSLContext | None = None,
    server_hostname: str | None = None,
    origin: str | None = None,
    subprotocols: Sequence[str] | None = None,
    additional_headers: HeadersLike | None = None,
    user_agent_header: str | None = None,
    proxy: str | Literal[True] | None = None,
    source_address: tuple[str, int] | None = None,
    address: tuple[str, int] | None = None,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
    create_connection: Callable[[Request], ClientConnection] | None = None,
    cancellation: Cancellation | None = None,
    heads: Heads | None = None,
    **common: Unpack[Options],
) -> ClientConnection:
    """Connects to a `ws://` or `wss://` address; returns the open connection: `with connect(uri) as ws:`.

    `threadchat.plain.options.Options` has the options that serve takes as well. The others are:
    - `sock`: a connected TCP socket, instead of one to the host and port of `uri`. `address`: another host
      and port to connect to. `source_address`: the local address.
    - `ssl`: the context of a `wss://` address; None means `ssl.create_default_context()`. `server_hostname`:
      the name that the certificate must have, instead of the host.
    - `origin`, `additional_headers`, `user_agent_header`: headers of the request.
    - `proxy`: the address of a proxy, `http://…` or, with the extra `socks`, `socks5h://…`. True means the
      system's proxy, None means no proxy.
    - `logger`: the logger to use. `create_connection(request)` makes the ClientConnection, perhaps a
      subclass. `cancellation.cancel()`, from `threadchat.wire.connecting.cancellation`, lets another thread
      cancel the attempt. `heads` receives the request and the response.

    Follows up to 10 redirects, but never from `wss://` to `ws://`. Another host gets neither Authorization
    nor Cookie.

    Runs on: any thread. Raises BadUrl, HandshakeRefused (`status`, `headers`, `body`), ConnectTimeout, and
    CannotConnect for other failures. These are also the system's exceptions: ConnectionRefusedError,
    TimeoutError, socket.gaierror, ssl.SSLCertVerificationError. Raises ConfigError for an invalid option and
    TypeError for an unknown one.
    """
    terms = options.terms("connect", common)
    headers = _headers(additional_headers, origin, user_agent_header)
    for _ in range(MAX_REDIRECTS + 1):
        heads = heads or Heads(None)
        where = parse(uri)
        open_tcp = _way(
            where,
            sock=sock,
            address=address,
            source_address=source_address,
            proxy=proxy,
            user_agent=user_agent_header,
        )
        try:
            threaded = _dialled(
                uri,
                terms=terms,
                headers=headers,
                subprotocols=subprotocols,
                ssl=ssl,
                server_hostname=server_hostname,
                cancellation=cancellation,
                open_tcp=open_tcp,
                heads=heads,
            )
            break
        except HandshakeRefused as error:
            uri, headers = _redirected(error, uri, where, headers, sock)
    else:
        raise SecurityError(f"more than {MAX_REDIRECTS} redirects")
    connection = (create_connection or ClientConnection)(heads.request)
    connection.logger = logger or _log
    assert heads.response is not None
    connection.response = heads.response
    connection.begin(threaded)
    return connection


def unix_connect(
    path: str | os.PathLike[str] | None = None, uri: str | None = None, **named: Any
) -> ClientConnection:
    """Like connect, to a Unix socket; the request has the host of `uri`."""
    if uri is None:
        uri = "ws://localhost/" if named.get("ssl") is None else "wss://localhost/"
    if path is not None:
        named["sock"] = sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(named.get("open_timeout", 10.0))
            sock.connect(os.fspath(path))
        except BaseException:
            sock.close()
            raise
    return connect(uri, **named)


def _dialled(
    uri: str,
    *,
    terms: options.Terms,
    headers: list[tuple[str, str]],
    subprotocols: Sequence[str] | None,
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    cancellation: Cancellation | None,
    open_tcp: OpenTcp | None,
    heads: Heads,
) -> ThreadedConnection:
    return ThreadedConnection(
        lambda slot, on_gone: dial(
            uri,
            turnstile=slot.turnstile,
            pinger=slot.pinger,
            limits=terms.limits,
            number=slot.number,
            subprotocols=subprotocols,
            headers=headers,
            timeout=terms.open_timeout,
            ssl_context=ssl,
            on_gone=on_gone,
            cancellation=cancellation,
            server_hostname=server_hostname,
            open_tcp=open_tcp,
            judge=heads.note,
        ),
        terms.make_receive_queue(),
        masks=True,
        close_timeout=terms.close_timeout,
        answer_timeout=None,
    )


def _way(
    where: Address,
    *,
    sock: socket.socket | None,
    address: tuple[str, int] | None,
    source_address: tuple[str, int] | None,
    proxy: str | Literal[True] | None,
    user_agent: str | None,
) -> OpenTcp | None:
    """How the TCP connection comes about; None: the usual way."""
    if sock is not None:
        given = sock
        return lambda where, deadline, cancellation: given
    if address is not None or source_address is not None:
        target = address or (where.host, where.port)
        return lambda where, deadline, cancellation: _from(target, source_address, deadline)
    return None if proxy is None else way_through(proxy, where, user_agent)


def _from(target: tuple[str, int], source: tuple[str, int] | None, deadline: Deadline) -> socket.socket:
    sock = socket.create_connection(target, deadline.left(), source)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return sock


def _redirected(
    error: HandshakeRefused,
    uri: str,
    where: Address,
    headers: list[tuple[str, str]],
    sock: socket.socket | None,
) -> tuple[str, list[tuple[str, str]]]:
    """The URL and the headers to follow a redirect. Raises `error` if it cannot be followed."""
    location = next((value for name, value in error.headers if name.lower() == "location"), None)
    if error.status not in _REDIRECTS or location is None:
        raise error
    target = location
    if "://" not in location:  # urljoin does not know ws
        target = urljoin(uri.replace("ws", "http", 1), location).replace("http", "ws", 1)
    there = parse(target)
    if sock is not None:
        raise ValueError(f"cannot follow redirect to {target} with a preexisting socket") from error
    if where.secure and not there.secure:
        raise SecurityError(f"cannot follow redirect to non-secure URI {target}") from error
    if (there.host, there.port) != (where.host, where.port):
        headers = [line for line in headers if line[0].lower() not in _PRIVATE]
    return target, headers


def _headers(given: HeadersLike | None, origin: str | None, user_agent: str | None) -> list[tuple[str, str]]:
    if given is not None and hasattr(given, "raw_items"):
        given = given.raw_items()  # headers in the shape of websockets: one name may come twice
    headers = list(given.items() if isinstance(given, Mapping) else given or ())
    if origin is not None:
        headers.append(("Origin", origin))
    if user_agent is not None and not any(name.lower() == "user-agent" for name, _ in headers):
        headers.append(("User-Agent", user_agent))
    return headers
