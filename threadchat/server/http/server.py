"""Accepts TCP connections and serves the one HTTP request of each on a thread of its own."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from http import HTTPStatus
from threading import Condition, Event, Thread, current_thread
from typing import Any
from weakref import WeakSet
from wsgiref.types import WSGIApplication

from threadchat.server.http.certificates import Identity
from threadchat.server.http.connection import HttpConnection
from threadchat.server.http.connection_limits import ConnectionLimits
from threadchat.server.http.environ import server_part
from threadchat.server.http.listener import UNIX_PEER, bind, socket_address
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.rejections import Rejections
from threadchat.server.http.request import BODY_BYTES
from threadchat.server.http.response import Response
from threadchat.server.http.throttle import Throttle

logger = logging.getLogger(__name__)

BACK_OFF = 0.1  # seconds between two attempts to accept while descriptors or memory are exhausted
BURST = 64  # connections accepted in a row before other events are handled

_BUSY = Response.error(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server cannot accept another connection now; try again in a few seconds.",
    ("Retry-After", "5"),
)


class HttpServer:
    """Serves a WSGI application on one TCP address, with one thread and one request for each connection.

    The thread of a connection is named `http-<n>`, counted from 1, until the application renames it. With
    `environ["threadchat.handover"]` (see `Handover`), the application may take over the connection and keep
    it until its call returns. The thread counts as a connection until then.

    `request_timeout`: seconds for a complete request, from when its thread begins. `max_connections`: threads
    at the same time, 0 for no limit; connections above it are answered 503. `max_per_address`: the same for
    one TCP address; it does not apply to the trusted `proxies`. `certificates`: with them the server accepts
    TLS only, and closes connections above a limit without a reply, because the accept thread must not wait
    for a handshake. `max_body`: bytes of a request's body. `shared_port`: as `shared` in `bind`. `listener`:
    a socket that listens already; it replaces `host` and `port`, and the server closes it at its end.
    `on_accept_thread` is called once on the accept thread, before it accepts. `throttle`: requests are parsed
    in it. `clock`: seconds, monotonic.
    """

    _listener: socket.socket
    _selector: selectors.BaseSelector
    _waker: socket.socket
    _woken: socket.socket

    def __init__(
        self,
        app: WSGIApplication,
        *,
        host: str,
        port: int,
        request_timeout: float,
        max_connections: int = 0,
        max_per_address: int = 0,
        proxies: Proxies | None = None,
        certificates: Identity | None = None,
        max_body: int = BODY_BYTES,
        shared_port: bool = False,
        listener: socket.socket | None = None,
        on_accept_thread: Callable[[], None] | None = None,
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._request_timeout = request_timeout
        self._proxies = proxies or Proxies()
        self._certificates = certificates
        self._max_body = max_body
        self._shared_port = shared_port
        self._given = listener
        self._on_accept_thread = on_accept_thread
        self._throttle = throttle or Throttle()
        self._clock = clock
        self._stopping = Event()
        self._exhausted = False  # used on the accept thread: whether the present shortage was logged
        self._accepted = 0  # used on the accept thread: connections so far
        self._accept_thread: Thread | None = None
        # `_lock` guards `_connection_limits`, `_reading`, `_ending` and the closing of `_waker`. Nothing
        # blocks while it is held, and no other lock is acquired.
        self._lock = Condition()
        self._scheme = "https" if certificates else "http"
        self._connection_limits = ConnectionLimits(max_connections, max_per_address, self._proxies)
        self._reading: dict[int, socket.socket] = {}  # sockets that are not handed over
        self._ending: WeakSet[Thread] = WeakSet()  # threads about to end; `join` waits for them
        self._server_part: dict[str, Any] = {}
        self.address: tuple[str, int] = (host, port)

    def __repr__(self) -> str:
        state = "new" if self._accept_thread is None else "listening"
        if self._stopping.is_set():
            state = "stopped"
        return f"<HttpServer {self.address[0]}:{self.address[1]} {state} connections={self.connections}>"

    @property
    def listener(self) -> socket.socket:
        """The listening socket; available after `listen`."""
        return self._listener

    @property
    def connections(self) -> int:
        """The number of connections that have a thread."""
        return self._connection_limits.taken

    @property
    def url(self) -> str:
        """The URL of the server."""
        host, port = self.address
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    def reload(self) -> None:
        """Read the certificate and its key again, for new connections. Runs on: any thread, one at a time."""
        if self._certificates is not None:
            self._certificates.reload()

    def listen(self) -> None:
        """Bind, listen and start to accept. Raises OSError if the address is not available. Call it once."""
        with ExitStack() as undo:
            self._listener = undo.enter_context(self._bind())
            self._selector = undo.enter_context(selectors.DefaultSelector())
            self._waker, self._woken = socket.socketpair()
            undo.callback(self._woken.close)
            undo.callback(self._waker.close)
            self.address = socket_address(self._listener)
            self._server_part = server_part(*self.address, self._scheme)
            thread = Thread(target=self._accept_loop, name=f"accept-{self.address[1]}", daemon=True)
            thread.start()
            undo.pop_all()
        self._accept_thread = thread

    def _bind(self) -> socket.socket:
        if self._given is None:
            return bind(self._host, self._port, shared=self._shared_port)
        self._given.setblocking(False)
        return self._given

    def stop_accepting(self) -> None:
        """Close the listening socket and end the accept thread; existing connections are kept.

        After it returns, no client can connect, unless it was called on the accept thread itself. Runs on:
        any thread, any number of times.
        """
        self._stopping.set()
        thread = self._accept_thread
        if thread is None:
            return
        with self._lock:
            if self._waker.fileno() >= 0:
                self._waker.send(b"\0")
        if thread is not current_thread():
            thread.join()

    def hang_up(self) -> None:
        """Stop reading from all connections that are not handed over, so that none waits for its request.

        A reply in progress is still sent. Runs on: any thread; meant for a shutdown, after `stop_accepting`.
        """
        with self._lock:
            for sock in self._reading.values():
                with suppress(OSError):  # the peer has closed it already
                    sock.shutdown(socket.SHUT_RD)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all connection threads have ended; returns whether they have."""
        deadline = time.monotonic() + timeout
        with self._lock:
            if not self._lock.wait_for(lambda: not self._connection_limits.taken, timeout):
                return False
            ending = list(self._ending)
        for thread in ending:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in ending)

    def _accept_loop(self) -> None:
        """Runs on: the accept thread, the only one to use the listener, selector and rejected connections."""
        refusals = Rejections(self._selector, self._clock)
        self._selector.register(self._listener, selectors.EVENT_READ, lambda: self._accept_some(refusals))
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: None)
        try:
            self._run_hook()
            while not self._stopping.is_set():
                for key, _ in self._selector.select(refusals.timeout()):
                    key.data()
                refusals.expire()
        finally:
            refusals.close()
            self._selector.close()
            self._listener.close()
            with self._lock:
                self._waker.close()
                self._woken.close()

    def _run_hook(self) -> None:
        if self._on_accept_thread is None:
            return
        try:
            self._on_accept_thread()
        except Exception:
            logger.exception("on_accept_thread failed; connections are accepted anyway")

    def _accept_some(self, refusals: Rejections) -> None:
        for _ in range(BURST):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._back_off(f"cannot accept connections: {error}")
                return
            if not self._admit(sock, address or UNIX_PEER):
                self._turn_away(sock, refusals)
            if self._stopping.is_set():
                return

    def _turn_away(self, sock: socket.socket, refusals: Rejections) -> None:
        if self._certificates is None:
            refusals.add(sock, _BUSY.encode())
        else:
            sock.close()

    def _admit(self, sock: socket.socket, peer: Any) -> bool:
        """Start the connection's thread; False if a limit is reached or no thread can be started."""
        address = self._connection_limits.counted_as(peer)
        with self._lock:
            if not self._connection_limits.take(address):
                return False
            self._accepted += 1
            number = self._accepted
            self._reading[number] = sock
        try:
            serve = partial(self._serve, sock, peer, address, number)
            Thread(target=serve, name=f"http-{number}", daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            with self._lock:
                del self._reading[number]
                self._count_out_locked(address)
            self._log_shortage(f"cannot start a thread for a connection: {error}")
            return False
        self._exhausted = False
        return True

    def _back_off(self, problem: str) -> None:
        """Wait a little: during a shortage the listener stays readable, and the loop would spin."""
        self._log_shortage(problem)
        self._stopping.wait(BACK_OFF)

    def _log_shortage(self, problem: str) -> None:
        if not self._exhausted:
            self._exhausted = True
            logger.error("%s; trying again until it works", problem)

    def _serve(self, sock: socket.socket, peer: Any, address: str | None, number: int) -> None:
        """Runs on: the connection's own thread."""
        try:
            http_connection = HttpConnection(
                sock,
                number,
                timeout=self._request_timeout,
                clock=self._clock,
                release=lambda: self._release(number),
                proxies=self._proxies,
                max_body=self._max_body,
                throttle=self._throttle,
                tls=None if self._certificates is None else self._certificates.context,
            )
            http_connection.run(self._app, self._server_part, peer)
        finally:
            with self._lock:
                self._ending.add(current_thread())
                self._count_out_locked(address)

    def _release(self, number: int) -> None:
        with self._lock:
            self._reading.pop(number, None)

    def _count_out_locked(self, address: str | None) -> None:
        self._connection_limits.give_back(address)
        if not self._connection_limits.taken:
            self._lock.notify_all()
