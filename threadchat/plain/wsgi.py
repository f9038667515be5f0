"""The application behind `serve`: opens one connection for each request, and runs the handler on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final
from wsgiref.types import StartResponse

from threadchat.callbacks import check_callback, is_unrun
from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.plain.handshake import HandshakePolicy, ServerConnection
from threadchat.plain.http import Request, Response
from threadchat.plain.receive_queue import ReceiveQueue
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import installed
from threadchat.server.http.socket_takeover import Taken, take_socket
from threadchat.wire.connection import Connection
from threadchat.wire.limits import Limits
from threadchat.wire.protocol.state_machine import ServerProtocol

Handler = Callable[[ServerConnection], object]
CreateConnection = Callable[[Request], ServerConnection]
_CLOSED: Final[tuple[type[Exception], ...]] = (ConnectionClosed, *installed("ConnectionClosed"))


class HandlerApplication:
    """A WSGI application whose call lasts as long as the connection that it opens.

    `_lock` guards `_open`, `_handlers` and `_ending`; nothing blocks under it.
    """

    def __init__(
        self,
        handler: Handler,
        policy: HandshakePolicy,
        *,
        create_connection: CreateConnection = ServerConnection,
        limits: Limits,
        make_receive_queue: Callable[[], ReceiveQueue],
        close_timeout: float | None,
        logger: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        """Raises ConfigError for a handler that is async, or cannot be called with a connection."""
        check_callback("handler", handler, ("connection",))
        self._handler = handler
        self._policy = policy
        self._create_connection = create_connection
        self.server: Any = None
        self._limits = limits
        self._make_inbox = make_receive_queue
        self._close_timeout = close_timeout
        self._log = logger
        self._lock = threading.Lock()
        self._open: set[ServerConnection] = set()
        self._handlers: set[int] = set()
        self._ending: tuple[int, str] | None = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serves one request to its end. Runs on: the connection's thread, which is also the handler's."""
        connection = self._create_connection(Request.of_environ(environ))
        connection.logger, connection.server = self._log, self.server
        refusal = self._policy.judge(connection, environ)
        if refusal is None and self._ending is not None:
            refusal = Response.plain(HTTPStatus.SERVICE_UNAVAILABLE, "The server is shutting down.\n")
        agreed = refusal or self._policy.subprotocol(connection)
        if isinstance(agreed, Response):
            return _reply(self._policy.last_word(connection, agreed), start_response)
        inflate_to = self._limits.max_message_size if self._limits.compression else None
        protocol = ServerProtocol(environ, agreed, inflate_to=inflate_to)
        response = self._policy.accept(connection, protocol.subprotocol, protocol.extensions)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return _reply(response, start_response)
        connection.response = response
        protocol.response = response.serialize()
        taken = take_socket(environ)
        self._open_connection(connection, taken, protocol)
        del environ, refusal, protocol, agreed  # a handler runs in the call below for hours
        self._run(connection)
        return taken.finish(start_response)

    def connections(self) -> set[ServerConnection]:
        """The open connections. Runs on: any thread."""
        with self._lock:
            return {connection for connection in self._open if connection.threaded.is_open}

    def is_handler(self) -> bool:
        """Whether the calling thread is a handler's."""
        with self._lock:
            return threading.get_ident() in self._handlers

    def end(self, code: int, reason: str) -> None:
        """Closes all connections that are open or still opening; does not wait. Runs on: any thread."""
        with self._lock:
            self._ending = self._ending or (code, reason)
            connections = list(self._open)
        for connection in connections:
            connection.threaded.close(code, reason)

    def _open_connection(self, connection: ServerConnection, taken: Taken, protocol: ServerProtocol) -> None:
        try:
            threaded = ThreadedConnection(
                lambda slot, on_gone: Connection(
                    slot.number,
                    taken.sock,
                    {},
                    taken.trailing,
                    turnstile=slot.turnstile,
                    pinger=slot.pinger,
                    limits=self._limits,
                    on_gone=on_gone,
                    protocol=protocol,
                ),
                self._make_inbox(),
                close_timeout=self._close_timeout,
                answer_timeout=None,
            )
        except BaseException:
            taken.sock.close()
            raise
        connection.begin(threaded)

    def _run(self, connection: ServerConnection) -> None:
        thread = threading.current_thread()
        thread.name = f"handler-{connection.threaded.number}"
        with self._lock:
            self._open.add(connection)
            self._handlers.add(threading.get_ident())
            ending = self._ending
        if ending is not None:
            connection.threaded.close(*ending)
        try:
            self._handle(connection)
        finally:
            connection.close(CloseCode.INTERNAL_ERROR)  # where nobody else did
            with self._lock:
                self._open.discard(connection)
                self._handlers.discard(threading.get_ident())

    def _handle(self, connection: ServerConnection) -> None:
        try:
            if is_unrun(self._handler(connection)):
                raise TypeError("the handler returned a coroutine or a generator: its body did not run")
        except _CLOSED as error:
            self._log.info(
                "%s: the handler ended with its connection: %s", threading.current_thread().name, error
            )
            connection.threaded.close(CloseCode.INTERNAL_ERROR, "")
        except Exception:
            self._log.exception("%s: the handler failed", threading.current_thread().name)
            connection.threaded.close(CloseCode.INTERNAL_ERROR, "")
        else:
            connection.threaded.close(CloseCode.NORMAL, "")


def _reply(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{response.status_code} {response.reason_phrase}", list(response.headers.raw_items()))
    return [response.body]
