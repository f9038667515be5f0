"""WebSockets with the interface of simple-websocket: `from threadchat.plain import simple_websocket`.

For a WSGI application under gunicorn's gthread worker, Werkzeug, or threadchat's own server.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from threadchat.errors import CloseCode, HandshakeRefused
from threadchat.errors import ConnectionClosed as _Closed
from threadchat.plain import options
from threadchat.plain.messages import encoded
from threadchat.plain.threaded_connection import CLOSING_TIMEOUT, ThreadedConnection
from threadchat.server.http.handshake import refuse
from threadchat.server.http.socket_takeover import take_socket
from threadchat.wire.connecting.dial import dial
from threadchat.wire.connection import CLOSE_TIMEOUT, Connection
from threadchat.wire.limits import Limits
from threadchat.wire.protocol.compatible import SimpleConnectionClosed as ConnectionClosed
from threadchat.wire.protocol.compatible import SimpleConnectionError as ConnectionError

__all__ = ["Client", "ConnectionClosed", "ConnectionError", "Server", "accept"]

log = logging.getLogger(__name__)

MAX_MESSAGE_SIZE: Final = 16 << 20
"""Bytes of the largest message, unless somebody says otherwise. simple-websocket takes any size."""
_ANYBODY: Final = frozenset("*")
_MORE: Final = frozenset(
    {"send_timeout", "write_timeout", "close_timeout", "outbox_messages", "outbox_bytes"}
)


class Offer(NamedTuple):
    """The argument of `choose_subprotocol`: the subprotocols that the client offers, in its order."""

    subprotocols: list[str]


class Base:
    """The methods of both sides. Every method may be called on any thread."""

    threaded: ThreadedConnection
    """What the shape is laid over; `broadcast` offers to it."""

    @property
    def connected(self) -> bool:
        """Whether neither side has closed the connection, as far as is known here."""
        return self.threaded.is_open

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol, or None."""
        return self.threaded.connection.subprotocol

    @property
    def close_reason(self) -> int:
        """The close code; 1005 while there is none."""
        closed = self.threaded.connection.closed
        return int(CloseCode.NO_STATUS) if closed is None else closed.code

    @property
    def close_message(self) -> str | None:
        """The reason that came with the close code."""
        closed = self.threaded.connection.closed
        return None if closed is None else closed.reason

    def send(self, data: Any) -> None:
        """Sends one message: binary for bytes, and text for everything else, by its `str`.

        Returns once the message is in the queue of the connection's writer; `WebSocket.send` says how long
        it waits. Raises ConnectionClosed.
        """
        message = data if isinstance(data, bytes) else str(data)
        try:
            self.threaded.send(encoded(self.threaded.connection, message))
        except _Closed as error:
            raise ConnectionClosed(self.close_reason, self.close_message) from error

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Returns the next message, or None if there is none within `timeout` seconds; 0 does not wait.

        Raises ConnectionClosed after the last message.
        """
        try:
            return self.threaded.receive_queue.get(timeout if self.threaded.is_open else 0)
        except TimeoutError:
            if self.threaded.is_open:
                return None
            raise ConnectionClosed(self.close_reason, self.close_message) from None
        except EOFError:
            raise ConnectionClosed(self.close_reason, self.close_message) from None

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Sends what waits, then a Close with the code `reason` (1000) and the text `message`.

        Does not wait. Raises ConnectionClosed if the connection is closed already.
        """
        if not self.threaded.is_open:
            raise ConnectionClosed(self.close_reason, self.close_message)
        self.threaded.close(reason or CloseCode.NORMAL, message or "")
        self.threaded.receive_queue.end()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.threaded!r}>"


class Server(Base):
    """The server's side of a connection that came as a WSGI request.

    The calling thread is the handler's. The connection is read and written on threads of its own. Its socket
    is taken from the server, so nobody receives what the application returns at the end. The connection
    stays open until somebody closes it, also after the request, and is closed (1001) soon after the last
    reference to this object is gone.

    `subprotocols`: the first of the client's that is listed here is used. `ping_interval`, in seconds: a
    peer that is silent for two intervals is gone. `max_message_size`, in bytes: larger messages are refused
    (1009); None means 16 MiB. `receive_bytes` is accepted but not needed. `more`: `send_timeout`,
    `write_timeout`, `close_timeout`, `outbox_messages` and `outbox_bytes`, see
    `threadchat.plain.options.Options`.

    Raises ConnectionError, with the HTTP status to answer, if the request is not a handshake. Raises
    NoSocket, which is a RuntimeError, if the server gives no access to the socket, and TypeError for an
    unknown option.
    """

    def __init__(  # the order is simple-websocket's
        self,
        environ: dict[str, Any],
        subprotocols: str | Sequence[str] | None = None,
        receive_bytes: int = 4096,
        ping_interval: float | None = None,
        max_message_size: int | None = None,
        *left_out: None,
        **more: Any,
    ) -> None:
        limits, close_timeout = _limits("Server", ping_interval, max_message_size, left_out, more)
        refusal = refuse(environ, _ANYBODY)  # whose page it is, is the application's to ask
        if refusal is not None:
            raise ConnectionError(int(refusal.status[:3]), refusal.body, refusal.headers)
        self.environ = environ
        self.subprotocols = _listed(subprotocols)
        offered = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
        chosen = self.choose_subprotocol(Offer([name.strip() for name in offered if name.strip()]))
        taken = take_socket(environ)
        self.mode = taken.server
        """The server that the connection came from."""
        self.finish = taken.finish
        """What a WSGI application calls last, with its `start_response`; see `Taken`."""
        try:
            self.threaded = ThreadedConnection(
                lambda slot, on_gone: Connection(
                    slot.number,
                    taken.sock,
                    environ,
                    taken.trailing,
                    turnstile=slot.turnstile,
                    pinger=slot.pinger,
                    limits=limits,
                    on_gone=on_gone,
                    subprotocols=[] if chosen is None else [chosen],
                ),
                options.receive_queue(),
                close_timeout=close_timeout,
            )
        except BaseException:
            taken.sock.close()
            raise
        _explain_limit(self.threaded, max_message_size)
        self.threaded.end_with(self)

    @classmethod
    def accept(cls, environ: dict[str, Any], *given: Any, **named: Any) -> Server:
        """The same as the constructor."""
        return cls(environ, *given, **named)

    def choose_subprotocol(self, request: Offer) -> str | None:
        """The subprotocol to use, or None. Subclasses may choose another one."""
        return next((name for name in request.subprotocols if name in self.subprotocols), None)


class Client(Base):
    """The client's side of a connection to a `ws://` or `wss://` address.

    `headers` are sent with the request. `timeout` limits TCP, TLS and the handshake together, in seconds. If
    `ssl_context` is None, `ssl.create_default_context()` is used. The other options are those of `Server`.

    Raises ConnectionError, with its HTTP status, if the server refuses. Raises CannotConnect, which is also
    a ConnectionError and the system's exception, if the server cannot be reached, and BadUrl for an invalid
    address.
    """

    def __init__(  # noqa: PLR0917  # the order is simple-websocket's
        self,
        url: str,
        subprotocols: str | Sequence[str] | None = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        receive_bytes: int = 4096,
        ping_interval: float | None = None,
        max_message_size: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        *left_out: None,
        timeout: float = 10.0,
        **more: Any,
    ) -> None:
        limits, close_timeout = _limits("Client", ping_interval, max_message_size, left_out, more)
        self.url = url
        try:
            self.threaded = ThreadedConnection(
                lambda slot, on_gone: dial(
                    url,
                    turnstile=slot.turnstile,
                    pinger=slot.pinger,
                    limits=limits,
                    number=slot.number,
                    subprotocols=_listed(subprotocols),
                    headers=headers,
                    timeout=timeout,
                    ssl_context=ssl_context,
                    on_gone=on_gone,
                ),
                options.receive_queue(),
                masks=True,
                close_timeout=close_timeout,
            )
        except HandshakeRefused as error:
            raise ConnectionError(error.status, str(error), error.headers) from error
        _explain_limit(self.threaded, max_message_size)

    @classmethod
    def connect(cls, url: str, *given: Any, **named: Any) -> Client:
        """The same as the constructor."""
        return cls(url, *given, **named)

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Like `Base.close`, but waits until the Close is sent, because the program may end right after."""
        super().close(reason, message)
        patience = self.threaded.close_timeout
        self.threaded.wait_gone(None if patience is None else patience + 2 * CLOSE_TIMEOUT)


def accept(environ: dict[str, Any], *given: Any, **named: Any) -> Server:
    """Accepts the WebSocket that a WSGI request asks for; see `Server` for options, errors and methods.

    Runs on: the request's thread.
    """
    return Server(environ, *given, **named)


def _limits(
    where: str,
    ping_interval: float | None,
    max_message_size: int | None,
    left_out: tuple[None, ...],
    more: dict[str, Any],
) -> tuple[Limits, float | None]:
    """The limits of a connection, and the seconds that closing it may take."""
    if any(it is not None for it in left_out):
        options.refuse_unknown(where, ["thread_class"])
    named = {name: value for name, value in more.items() if value is not None or name not in options.LEFT_OUT}
    options.refuse_unknown(where, named.keys() - _MORE)
    close_timeout = options.positive("close_timeout", named.pop("close_timeout", CLOSING_TIMEOUT))
    size = MAX_MESSAGE_SIZE if max_message_size is None else max_message_size
    limits = options.limits(ping_interval=ping_interval, ping_timeout=ping_interval, max_size=size, **named)
    return limits, close_timeout


def _explain_limit(threaded: ThreadedConnection, max_message_size: int | None) -> None:
    """Logs what to do if a default limit closes a connection."""
    if max_message_size is None:
        connection, number = threaded.connection, threaded.number
        threaded.call_when_gone(lambda: _log_limit(connection, number))


def _log_limit(connection: Connection, number: int) -> None:
    sent = connection.close_sent
    if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG and not connection.peer_closed_first:
        log.warning(
            "connection %d: a message larger than %d bytes was refused (1009); max_message_size=... of "
            "simple_websocket, or of SOCK_SERVER_OPTIONS, is the option that changes that",
            number,
            MAX_MESSAGE_SIZE,
        )


def _listed(subprotocols: str | Sequence[str] | None) -> list[str]:
    return [subprotocols] if isinstance(subprotocols, str) else list(subprotocols or ())
