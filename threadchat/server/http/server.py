"""Accepts TCP connections and gives each a thread of its own, on which its one HTTP request is served."""

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

logger = logging.getLogger(__name__)

BACK_OFF = 0.1  # seconds between two attempts to accept while the machine has nothing left
BURST = 64  # connections accepted in a row before anything else gets its turn

_BUSY = Response.error(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server has no room for another connection; try again in a few seconds.",
    ("Retry-After", "5"),
)


class HttpServer:
    """Serves a WSGI application on one TCP address: one thread and one request a connection.

    A connection's thread is named `http-<n>`, counted from 1, until the application renames it. The
    application finds `environ["threadchat.handover"]` (see `Handover`), and with it may keep the
    connection for as long as its call lasts; the thread stays counted until then.

    `request_timeout`: seconds for a whole request, from its accept. `max_connections`: threads at
    once, 0 for any number; those above it are answered 503. `max_per_address`: the same for one address, as
    TCP has it; for `proxies`, which are trusted, it does not count. `certificates`: TLS is spoken then and
    nothing else, and those above a limit are hung up on: the accept thread has no time for a handshake.
    `max_body`: bytes of a request's body. `shared_port`: as `shared` of `bind`. `listener`, which listens
    already, takes the place of `host` and `port`, and is closed at the end. `on_accept_thread` is called
    once on the accept thread, before it serves. `clock`: seconds, monotonic.
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
        self._clock = clock
        self._stopping = Event()
        self._exhausted = False  # the accept thread's: whether this shortage was logged already
        self._accepted = 0  # the accept thread's: connections so far
        self._accept_thread: Thread | None = None
        # `_lock` guards `_connection_limits`, `_reading`, `_ending` and the closing of `_waker`. Nothing
        # blocks while it is held, and no other lock is acquired.
        self._lock = Condition()
        self._scheme = "https" if certificates else "http"
        self._connection_limits = ConnectionLimits(max_connections, max_per_address, self._proxies)
        self._reading: dict[int, socket.socket] = {}  # those that are not handed over
        self._ending: WeakSet[Thread] = WeakSet()  # done, but for the last lines of `Thread` itself
        self._server_part: dict[str, Any] = {}
        self.address: tuple[str, int] = (host, port)

    def __repr__(self) -> str:
        state = "new" if self._accept_thread is None else "listening"
        if self._stopping.is_set():
            state = "stopped"
        return f"<HttpServer {self.address[0]}:{self.address[1]} {state} connections={self.connections}>"

    @property
    def listener(self) -> socket.socket:
        """The listening socket, once there is one."""
        return self._listener

    @property
    def connections(self) -> int:
        """How many connections have a thread now."""
        return self._connection_limits.taken

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.address
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    def reload(self) -> None:
        """Read certificate and key again, for new connections. Any thread, one at a time."""
        if self._certificates is not None:
            self._certificates.reload()

    def listen(self) -> None:
        """Bind, listen and start to accept; raises OSError where the address cannot be had. Once only."""
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
        """Close the listening socket and end the accept thread; connections live on.

        Any thread, any number of times. On return nobody can connect any more, except where the
        accept thread itself called.
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
        """Let no connection wait for its request any longer: no more is read from those not handed over.

        A reply on its way still goes out. Any thread; meant for a shutdown after `stop_accepting`.
        """
        with self._lock:
            for sock in self._reading.values():
                with suppress(OSError):  # where the peer was faster
                    sock.shutdown(socket.SHUT_RD)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for all connection threads to end; whether they have."""
        deadline = time.monotonic() + timeout
        with self._lock:
            if not self._lock.wait_for(lambda: not self._connection_limits.taken, timeout):
                return False
            ending = list(self._ending)
        for thread in ending:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in ending)

    def _accept_loop(self) -> None:
        """Runs on: the accept thread. Only it touches listener, selector and refused connections."""
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
            logger.exception("on_accept_thread failed; connections are accepted nevertheless")

    def _accept_some(self, refusals: Rejections) -> None:
        for _ in range(BURST):
            accepted = self._clock()
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._back_off(f"cannot accept connections: {error}")
                return
            if not self._admit(sock, address or UNIX_PEER, accepted):
                self._turn_away(sock, refusals)
            if self._stopping.is_set():
                return

    def _turn_away(self, sock: socket.socket, refusals: Rejections) -> None:
        if self._certificates is None:
            refusals.add(sock, _BUSY.encode())
        else:
            sock.close()

    def _admit(self, sock: socket.socket, peer: Any, accepted: float) -> bool:
        """Start the connection's thread; False where there is no room for it."""
        address = self._connection_limits.counted_as(peer)
        with self._lock:
            if not self._connection_limits.take(address):
                return False
            self._accepted += 1
            number = self._accepted
            self._reading[number] = sock
        try:
            serve = partial(self._serve, sock, peer, address, number, accepted)
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
        """Wait a little: the listener stays readable while the machine has nothing left to accept with."""
        self._log_shortage(problem)
        self._stopping.wait(BACK_OFF)

    def _log_shortage(self, problem: str) -> None:
        if not self._exhausted:
            self._exhausted = True
            logger.error("%s; trying again until it works", problem)

    def _serve(
        self, sock: socket.socket, peer: Any, address: str | None, number: int, accepted: float
    ) -> None:
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
                tls=None if self._certificates is None else self._certificates.context,
            )
            http_connection.run(self._app, self._server_part, peer, accepted)
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
