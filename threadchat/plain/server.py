"""Serves WebSockets on one address, a handler's call and thread each, in the shape of `websockets.sync`."""

from __future__ import annotations

import logging
import re
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from threadchat.errors import CloseCode
from threadchat.plain import options
from threadchat.plain.handshake import HandshakePolicy, ProcessRequest, SelectSubprotocol, ServerConnection
from threadchat.plain.receive_queue import MAX_MESSAGES
from threadchat.plain.wakeup import Wakeup
from threadchat.plain.wsgi import HandlerApplication
from threadchat.server.http.server import HttpServer
from threadchat.wire.outbox import MAX_BYTES as MAX_OUT_BYTES
from threadchat.wire.outbox import MAX_MESSAGES as MAX_OUT_MESSAGES

_LOOPBACK = "127.0.0.1"  # which whoever looks for localhost finds, be it second; not so ::1
_log = logging.getLogger(__name__)


class Server:
    """A server that listens from the moment `serve` returns it, on threads of its own.

    Use it as a context manager, and it is shut down at the end.
    """

    def __init__(self, http: HttpServer, application: HandlerApplication) -> None:
        self._http = http
        self._application = application
        self._wake = Wakeup()

    @property
    def socket(self) -> socket.socket:
        """The listening socket: `server.socket.getsockname()`."""
        return self._http.listener

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return self._http.address

    @property
    def port(self) -> int:
        """The port that it listens on, also where port 0 left the choice to the system."""
        return self._http.address[1]

    @property
    def connections(self) -> set[ServerConnection]:
        """Those that are open now; good for `broadcast`."""
        return self._application.connections()

    def fileno(self) -> int:
        """The listening socket's descriptor."""
        return self.socket.fileno()

    def serve_forever(self) -> None:
        """Waits for `shutdown`, and returns when it is done. The server serves without it as well."""
        if self._wake.wait():
            self.shutdown()

    def shutdown(
        self,
        close_connections: bool = True,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
        *,
        timeout: float | None = None,
    ) -> bool:
        """Stops listening, closes every connection with `code`, and waits until all handlers have returned.

        With `close_connections=False` those that are open may go on until they end by themselves. It
        waits at most `timeout` seconds, for ever where that is None; True: nothing is left. Later calls
        wait as well.

        Runs on: any thread. On the thread that is in `serve_forever` (in a signal handler, that is) it only
        wakes that, which then does all this. On a handler's thread it does not wait, and returns False.
        """
        if self._wake.is_waiter():
            self._wake.wake()
            return False
        if close_connections:
            self._application.end(code, reason)
        self._http.stop_accepting()
        self._http.hang_up()
        self._wake.end()
        if self._application.is_handler():
            return False
        return self._http.join(options.NEVER if timeout is None else timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Server {self.address[0]}:{self.port} connections={self._http.connections}>"


def serve(
    handler: Callable[[ServerConnection], object],
    host: str | None = None,
    port: int | None = None,
    *,
    ssl: tls.SSLContext | None = None,
    origins: Sequence[str | re.Pattern[str] | None] | None = None,
    subprotocols: Sequence[str] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    compression: str | None = None,
    process_request: ProcessRequest | None = None,
    open_timeout: float | None = 10.0,
    ping_interval: float | None = 20.0,
    ping_timeout: float | None = 20.0,
    close_timeout: float | None = 10.0,
    send_timeout: float | None = None,
    max_size: int | tuple[int | None, int | None] | None = options.MAX_SIZE,
    max_queue: int | tuple[int | None, int | None] | None = MAX_MESSAGES,
    outbox_messages: int = MAX_OUT_MESSAGES,
    outbox_bytes: int = MAX_OUT_BYTES,
    max_connections: int = 0,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> Server:
    """Listens on `host` (None: every address) and `port` (None or 0: any free one), and serves from now on.

    `handler` is called for each connection with a ServerConnection, on a thread of its own. Its return closes
    the connection with 1000, an exception with 1011, and is logged.

    Timeouts are in seconds, None for none, and sizes in bytes. `open_timeout`: for a whole request.
    `ping_interval`, `ping_timeout`: a peer that was silent for both together is gone (3012); it is not held
    against it while the queue is full. `close_timeout`: what waits may take so long to leave at the close.
    `send_timeout` (3 s): see `send`. `max_size`: larger messages are refused (1009). `max_queue`: messages
    received ahead of the handler. `outbox_messages`, `outbox_bytes`: what may wait for one peer (100, 1 MiB).
    `max_connections`: those above are answered 503; 0 is for no limit.

    `process_request(connection, request)` may return a response, say `connection.respond(401, "...")`, to
    refuse, or None. `origins`: who may connect, of pages: names, patterns, and None for clients that are no
    pages; not given, anybody, so list them where cookies count. `subprotocols`: the first one that the client
    offers as well is spoken; without one it is refused. `select_subprotocol(connection, offered)` chooses
    in its stead, and refuses by a ValueError.

    `compression="deflate"`: with clients that offer permessage-deflate (RFC 7692), messages of 128 bytes and
    more are compressed, each once, for all whom `broadcast` sends it to. `max_size` is for what those of the
    clients inflate to.

    `ssl`: the port speaks TLS, by this context with its certificate, and nothing else. `open_timeout` is
    for its handshake as well, and those above `max_connections` are hung up on.

    Otherwise than in `websockets`, compression has to be asked for.

    Raises OSError, whose text names the address, where it cannot be listened on; ConfigError for an option
    that cannot be used.
    """
    terms = options.terms(
        compression=compression,
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        send_timeout=send_timeout,
        max_size=max_size,
        max_queue=max_queue,
        outbox_messages=outbox_messages,
        outbox_bytes=outbox_bytes,
    )
    log = logger or _log
    policy = HandshakePolicy(
        origins=origins,
        subprotocols=subprotocols,
        select_subprotocol=select_subprotocol,
        process_request=process_request,
        logger=log,
    )
    application = HandlerApplication(
        handler,
        policy,
        limits=terms.limits,
        make_receive_queue=terms.make_receive_queue,
        close_timeout=terms.close_timeout,
        logger=log,
    )
    http = HttpServer(
        application,
        host=_LOOPBACK if host == "localhost" else host or "",
        port=port or 0,
        request_timeout=terms.open_timeout,
        max_connections=max_connections,
        certificates=options.server_tls(ssl),
    )
    server = Server(http, application)
    try:
        http.listen()
    except BaseException as error:
        server.shutdown()
        if not isinstance(error, OSError):
            raise
        where = f"{host or 'every address'} port {port or 'any'}"
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror or error}") from error
    return server
