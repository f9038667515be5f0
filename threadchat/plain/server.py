"""Serves WebSockets on one address, each in a handler with a thread of its own, as `websockets.sync` does."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from threadchat.errors import CloseCode
from threadchat.plain import options
from threadchat.plain.handshake import (
    HandshakePolicy,
    ProcessRequest,
    ProcessResponse,
    SelectSubprotocol,
    ServerConnection,
)
from threadchat.plain.http import SOFTWARE
from threadchat.plain.options import Options
from threadchat.plain.wakeup import Wakeup
from threadchat.plain.wsgi import CreateConnection, HandlerApplication
from threadchat.server.http.listener import BACKLOG, explained
from threadchat.server.http.server import HttpServer

_LOOPBACK = "127.0.0.1"  # which whoever looks for localhost finds, be it second; not so ::1
_log = logging.getLogger(__name__)


class Server:
    """A server that listens when `serve` returns it, on threads of its own.

    As a context manager, it is shut down at the end of the block.
    """

    def __init__(
        self,
        http: HttpServer,
        application: HandlerApplication,
        logger: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self.logger = logger
        self._http = http
        self._asked: tuple[bool, int, str] = (True, CloseCode.GOING_AWAY, "")  # by a signal handler
        self._application = application
        self._wakeup = Wakeup()

    @property
    def socket(self) -> socket.socket:
        """The listening socket, as in `server.socket.getsockname()`."""
        return self._http.listener

    @property
    def address(self) -> tuple[str, int]:
        """The host and port on which it listens."""
        return self._http.address

    @property
    def port(self) -> int:
        """The port on which it listens, also if the system chose it."""
        return self._http.address[1]

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections, for example for `broadcast`."""
        return self._application.connections()

    def fileno(self) -> int:
        """The listening socket's descriptor."""
        return self.socket.fileno()

    def serve_forever(self) -> None:
        """Waits until `shutdown` is done. The server also serves without this call."""
        if self._wakeup.wait():
            self.shutdown(*self._asked)
        else:
            self._http.join(options.NEVER)

    def shutdown(
        self,
        close_connections: bool = True,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
        *,
        timeout: float | None = None,
    ) -> bool:
        """Stops listening, closes all connections with `code`, and waits until all handlers have returned.

        With `close_connections=False` open connections continue until they end by themselves. Waits at most
        `timeout` seconds, or without limit if that is None. Returns True if nothing is left. Later calls
        wait as well.

        Runs on: any thread. On the thread that runs `serve_forever`, that is in a signal handler, it only
        wakes `serve_forever`, which then does all this. On a handler's thread it does not wait, and returns
        False.
        """
        if self._wakeup.is_waiter():
            self._asked = close_connections, code, reason
            self._wakeup.wake()
            return False
        if close_connections:
            self._application.end(code, reason)
        self._http.stop_accepting()
        self._http.hang_up()
        self._wakeup.end()
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
    sock: socket.socket | None = None,
    ssl: tls.SSLContext | None = None,
    origins: Sequence[str | re.Pattern[str] | None] | None = None,
    subprotocols: Sequence[str] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    server_header: str | None = SOFTWARE,
    max_connections: int = 0,
    family: int = socket.AF_INET,
    backlog: int | None = None,
    reuse_port: bool = False,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
    create_connection: CreateConnection | None = None,
    **common: Unpack[Options],
) -> Server:
    """Listens on `host` (None: every address) and `port` (None or 0: any free one), and serves from now on.

    `handler` is called for each connection with a ServerConnection, on a thread of its own. The connection
    is closed with 1000 when it returns, and with 1011 if it raises an exception, which is logged.

    `threadchat.plain.options.Options` has the options that connect takes as well. The others are:
    - `sock`: a socket that listens already. `family`, `backlog`, `reuse_port`: as for socket.create_server.
    - `ssl`: a context with a certificate; the port then accepts TLS only. `open_timeout` also limits the TLS
      handshake, and connections above `max_connections` are closed without a response.
    - `max_connections`: further connections are answered 503; 0 means no limit.
    - `process_request(connection, request)`: returns None, or a response that refuses, such as
      `connection.respond(401, "...")`. `process_response(connection, request, response)`: may change the
      response or return another one; any other status than 101 refuses.
    - `origins`: the pages that may connect: names, patterns, and None for clients that are not pages. By
      default every page may connect, so list them if you use cookies.
    - `subprotocols`: the first one that the client offers too is used; a client without one is refused.
      `select_subprotocol(connection, offered)` chooses instead, and refuses by raising NegotiationError.
    - `server_header`: the value of the header Server, or None. `logger`: the logger to use.
    - `create_connection(request)` makes the ServerConnection, perhaps a subclass.

    Raises OSError if the address is not available; the message says why. Raises ConfigError for an invalid
    option and TypeError for an unknown one.
    """
    terms = options.terms("serve", common)
    log = logger or _log
    application = HandlerApplication(
        handler,
        HandshakePolicy(
            origins=origins,
            subprotocols=subprotocols,
            select_subprotocol=select_subprotocol,
            process_request=process_request,
            process_response=process_response,
            server_header=server_header,
            logger=log,
        ),
        create_connection=create_connection or ServerConnection,
        limits=terms.limits,
        make_receive_queue=terms.make_receive_queue,
        close_timeout=terms.close_timeout,
        logger=log,
    )
    certificates = options.server_tls(ssl)
    host, port = host or "", port or 0
    if sock is None and (family != socket.AF_INET or backlog is not None or reuse_port):
        try:
            sock = socket.create_server(
                (host, port), family=family, backlog=backlog or BACKLOG, reuse_port=reuse_port
            )
        except OSError as error:
            raise explained(error, host, port) from error
    http = HttpServer(
        application,
        host=_LOOPBACK if host == "localhost" else host,
        port=port,
        request_timeout=terms.open_timeout,
        max_connections=max_connections,
        certificates=certificates,
        listener=sock,
    )
    http.listen()
    server = application.server = Server(http, application, log)
    return server


def unix_serve(
    handler: Callable[[ServerConnection], object],
    path: str | os.PathLike[str] | None = None,
    **named: Any,
) -> Server:
    """Like serve, on a Unix socket at a path that must not exist yet, or on `sock`."""
    if path is not None:
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(path))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        named["sock"] = listener
    return serve(handler, **named)
