"""A client's connection with the interface of websocket-client: `create_connection` and `WebSocket`."""

from __future__ import annotations

import ssl as tls
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from threadchat.errors import CloseCode, ConnectTimeout, HandshakeRefused
from threadchat.errors import ConnectionClosed as _Closed
from threadchat.plain import client
from threadchat.plain.client import ClientConnection
from threadchat.plain.options import refuse_unknown
from threadchat.plain.websocket.exceptions import (
    WebSocketAddressException,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketProtocolException,
    WebSocketProxyException,
    WebSocketTimeoutException,
)
from threadchat.plain.websockets.exceptions import ProxyError
from threadchat.wire.connecting.address import parse
from threadchat.wire.connecting.errors import UnknownHost
from threadchat.wire.protocol.frames import BINARY, CLOSE, PING, PONG, TEXT

Header = Sequence[str] | Mapping[str, str] | None


class WebSocket:
    """A connection to a server. Every method may be called on any thread; only one may receive at a time.

    `sslopt` has a `context`, or `ca_certs`, `cert_reqs` and `check_hostname` to make one.
    """

    def __init__(self, sslopt: Mapping[str, Any] | None = None, **options: Any) -> None:
        refuse_unknown("WebSocket", options.keys() - {"enable_multithread", "sockopt"})
        self._sslopt = sslopt or {}
        self._timeout: float | None = None
        self._connection: ClientConnection | None = None
        self._close_told = False

    def connect(
        self,
        url: str,
        *,
        timeout: float | None = None,
        header: Header = None,
        cookie: str | None = None,
        origin: str | None = None,
        suppress_origin: bool = False,
        subprotocols: Sequence[str] | None = None,
        socket: Any = None,
        http_proxy_host: str | None = None,
        http_proxy_port: int | str | None = None,
        http_proxy_auth: tuple[str, str] | None = None,
        proxy_type: str | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        **more: Any,
    ) -> None:
        """Connects. `timeout`, in seconds, limits this call and each `recv`; None means no limit.

        A peer that is silent for `ping_interval` and `ping_timeout` together, in seconds, is lost. Raises
        WebSocketBadStatusException, WebSocketTimeoutException, WebSocketAddressException,
        WebSocketProxyException, and exceptions of the system such as ConnectionRefusedError. Raises
        ValueError for an invalid address and TypeError for an unknown option.
        """
        refuse_unknown("connect", more)
        if timeout is not None:
            self._timeout = timeout
        proxy = None
        if http_proxy_host is not None:
            who = "" if http_proxy_auth is None else f"{http_proxy_auth[0]}:{http_proxy_auth[1]}@"
            proxy = f"{proxy_type or 'http'}://{who}{http_proxy_host}:{http_proxy_port or 80}"
        where = parse(url)
        if origin is None and not suppress_origin:
            origin = f"{'https' if where.secure else 'http'}://{where.authority}"
        try:
            self._connection = client.connect(
                url,
                sock=socket,
                ssl=_context(self._sslopt) if where.secure else None,
                server_hostname=self._sslopt.get("server_hostname"),
                origin=origin,
                additional_headers=_headers(header, cookie),
                subprotocols=subprotocols,
                proxy=proxy if proxy is not None or socket is not None else True,
                open_timeout=self._timeout,
                ping_interval=ping_interval or None,
                ping_timeout=ping_timeout or ping_interval or None,
                max_size=None,
                close_timeout=3.0,
            )
        except HandshakeRefused as error:
            raise WebSocketBadStatusException(error.status, error.headers, error.body) from error
        except ConnectTimeout as error:
            raise WebSocketTimeoutException(str(error)) from error
        except UnknownHost as error:
            raise WebSocketAddressException(str(error)) from error
        except ProxyError as error:
            raise WebSocketProxyException(str(error)) from error

    # Sending

    def send(self, payload: str | bytes, opcode: int = TEXT) -> int:
        """Sends a message of the kind `opcode`; returns the size of its frame. Raises WebSocketException."""
        connection = self._open()
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        try:
            if opcode == PING:
                connection.ping(data)
            elif opcode == PONG:
                connection.pong(data)
            elif opcode in (TEXT, BINARY):
                connection.send(data, text=opcode == TEXT)
            else:
                raise WebSocketProtocolException(f"opcode {opcode}: must be text, binary, ping or pong")
        except _Closed as error:
            raise WebSocketConnectionClosedException("socket is already closed.") from error
        size = len(data)
        return size + (6 if size < 126 else 8 if size < 1 << 16 else 14)

    send_text = send

    def send_bytes(self, data: bytes) -> int:
        """Sends a binary message."""
        return self.send(data, BINARY)

    send_binary = send_bytes

    def ping(self, payload: str | bytes = "") -> None:
        """Sends a ping; its pong is not reported."""
        self.send(payload, PING)

    def pong(self, payload: str | bytes = "") -> None:
        """Sends an unsolicited pong."""
        self.send(payload, PONG)

    # Receiving

    def recv(self) -> str | bytes:
        """Returns the next message, or an empty text for the peer's Close.

        Raises WebSocketTimeoutException, and WebSocketConnectionClosedException after the end.
        """
        opcode, data = self.recv_data()
        return data.decode() if opcode == TEXT else data if opcode == BINARY else ""

    def recv_data(self) -> tuple[int, bytes]:
        """Returns the next message as opcode and bytes; also the peer's Close, but no pings and pongs."""
        connection = self._connection
        if connection is None or self._close_told:
            raise WebSocketConnectionClosedException("Connection is closed")
        try:
            message = connection.recv(self._timeout)
        except _Closed as error:
            self._close_told = True
            if error.rcvd is None or connection.threaded.connection.close_sent is None:
                raise WebSocketConnectionClosedException("Connection to remote host was lost.") from error
            code = b"" if error.rcvd.code == CloseCode.NO_STATUS else error.rcvd.code.to_bytes(2, "big")
            return CLOSE, code + error.rcvd.reason.encode()
        except TimeoutError as error:
            raise WebSocketTimeoutException("Connection timed out") from error
        return (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)

    def __iter__(self) -> Iterator[str | bytes]:
        while True:
            yield self.recv()

    # The end

    def close(self, status: int = 1000, reason: str | bytes = b"", timeout: float | None = 3) -> None:
        """Sends a Close, and waits at most 3 s for the answer. Later calls do nothing."""
        if self._connection is not None and not self._close_told:
            self._close_told = True
            self._connection.close(status, reason.decode() if isinstance(reason, bytes) else reason)

    def getstatus(self) -> int | None:
        """See `status`."""
        return self.status

    def getheaders(self) -> dict[str, str] | None:
        """See `headers`."""
        return self.headers

    def getsubprotocol(self) -> str | None:
        """See `subprotocol`."""
        return self.subprotocol

    @property
    def close_code(self) -> int | None:
        """The peer's close code, once the connection is closed."""
        return None if self._connection is None else self._connection.close_code

    def shutdown(self) -> None:
        """Ends the connection without a Close."""
        if self._connection is not None:
            self._close_told = True
            self._connection.threaded.connection.abort(CloseCode.ABNORMAL)

    abort = shutdown

    # What is known of it

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._connection is not None and not self._close_told and self._connection.threaded.is_open

    @property
    def sock(self) -> Any:
        """The socket, for its options; None before the connection."""
        return None if self._connection is None else self._connection.socket

    @property
    def status(self) -> int | None:
        """The status of the handshake's response."""
        return None if self._connection is None else self._connection.response.status_code

    @property
    def headers(self) -> dict[str, str] | None:
        """The headers of the handshake's response, in lower case."""
        if self._connection is None:
            return None
        return {name.lower(): value for name, value in self._connection.response.headers.raw_items()}

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol, or None."""
        return None if self._connection is None else self._connection.subprotocol

    def gettimeout(self) -> float | None:
        """See `timeout`."""
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        """See `timeout`."""
        self._timeout = timeout

    def _open(self) -> ClientConnection:
        if self._connection is None or not self.connected:
            raise WebSocketConnectionClosedException("socket is already closed.")
        return self._connection


def create_connection(
    url: str, timeout: float | None = None, class_: type[WebSocket] = WebSocket, **options: Any
) -> WebSocket:
    """Connects; `options` are those of `WebSocket` and of `WebSocket.connect`."""
    ours = {key: options.pop(key) for key in ("sslopt", "sockopt", "enable_multithread") if key in options}
    websocket = class_(**ours)
    websocket.connect(url, timeout=timeout, **options)
    return websocket


def _context(sslopt: Mapping[str, Any]) -> tls.SSLContext:
    if "context" in sslopt:
        found: tls.SSLContext = sslopt["context"]
        return found
    context = tls.create_default_context(cafile=sslopt.get("ca_certs"))
    context.check_hostname = sslopt.get("check_hostname", sslopt.get("cert_reqs") != tls.CERT_NONE)
    context.verify_mode = sslopt.get("cert_reqs", tls.CERT_REQUIRED)
    return context


def _headers(header: Header, cookie: str | None) -> list[tuple[str, str]]:
    lines = (
        header.items() if isinstance(header, Mapping) else (line.partition(":")[::2] for line in header or ())
    )
    found = [(name.strip(), value.strip()) for name, value in lines]
    return [*found, ("Cookie", cookie)] if cookie else found
