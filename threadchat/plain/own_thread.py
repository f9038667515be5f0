"""Serves requests for WebSockets on threads of their own, for servers that have few threads."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.plain.engine import ENGINE
from threadchat.server.http import response
from threadchat.server.http.handshake import upgrade_requested
from threadchat.server.http.socket_takeover import TAKEN_BEFORE, Taken, has_small_pool, take_socket

log = logging.getLogger(__name__)

MAX_THREADS: Final = 2000
"""Of one process: each has two more beside it, and some 100 KB of memory."""
EXIT_TIMEOUT: Final = 1.0
"""Seconds that handlers have at the end of a process, once their connections are closed."""
_REPLY_TIMEOUT: Final = 5.0
"""Seconds in which a reply that is not a WebSocket must be sent."""


class OwnThread:
    """A WSGI application that serves another one, with threads of their own for WebSockets.

    Such a request is handled on a new thread, from its first hook to its teardown, by the unchanged
    application. The server's thread is free at once. This is done for gunicorn (gthread, sync), and for
    Werkzeug without threads; on other servers each request already has a thread. `wanted` selects the
    requests. Above `max_threads` of them in this process, a request is answered 503; 0 means no limit.

    At the end of the process the connections are closed (1001), and the handlers have a moment to return.
    """

    def __init__(
        self,
        app: WSGIApplication,
        wanted: Callable[[dict[str, Any]], bool] = upgrade_requested,
        *,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._app = app
        self._wanted = wanted
        self.max_threads = max_threads

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Raises NoSocket if the server does not give access to its socket. Runs on: the server's thread."""
        stays = TAKEN_BEFORE in environ or not (has_small_pool(environ) and upgrade_requested(environ))
        if stays or not self._wanted(environ):
            return self._app(environ, start_response)
        if 0 < self.max_threads <= _THREADS.running:
            start_response("503 Service Unavailable", [("Retry-After", "5"), ("Content-Type", "text/plain")])
            return [b"There is no room for another WebSocket; try again in a few seconds.\n"]
        taken = take_socket(environ)
        environ[TAKEN_BEFORE] = taken
        try:
            _THREADS.start(lambda: self._run(environ, taken))
        except RuntimeError:  # the system has no more threads
            taken.sock.close()
            raise
        return taken.finish(start_response)

    def _run(self, environ: dict[str, Any], taken: Taken) -> None:
        """Runs on: the request's new thread."""
        try:
            reply = response.run(self._app, environ)
        except Exception:
            log.exception("%s failed", threading.current_thread().name)
            reply = response.Response("500 Internal Server Error", [], b"The server failed here.\n")
        if environ.pop(TAKEN_BEFORE, None) is None:
            return  # a WebSocket, whose end is its own business
        try:
            if reply is not None:
                taken.sock.settimeout(_REPLY_TIMEOUT)
                taken.sock.sendall(reply.encode())
                response.linger(taken.sock, _REPLY_TIMEOUT, monotonic)
        except OSError as error:
            log.debug("the peer is gone: %s", error)
        finally:
            taken.sock.close()


class _Threads:
    """The threads of handlers. `_lock` guards `_running`, and is a leaf."""

    def __init__(self) -> None:
        self._begin()
        self._started = 0
        self._watches_exit = False

    def _begin(self) -> None:
        """Prepares the first use, also after a fork: no thread runs, and the lock may be held."""
        self._lock = threading.Lock()
        self._running: set[threading.Thread] = set()

    @property
    def running(self) -> int:
        """The number of threads."""
        return len(self._running)

    def start(self, target: Callable[[], None]) -> None:
        """Runs `target` on a new thread. Raises RuntimeError if the system has no more threads."""
        with self._lock:
            if not self._watches_exit:
                atexit.register(self.end)
                self._watches_exit = True
            self._started += 1
            name = f"handler-{self._started}"
        thread = threading.Thread(target=self._run, args=(target,), name=name, daemon=True)
        with self._lock:
            self._running.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._running.discard(thread)
            raise

    def end(self) -> None:
        """Closes open connections (1001), and waits a moment. Runs on: the main thread, at its end."""
        ENGINE.end(EXIT_TIMEOUT)
        deadline = monotonic() + EXIT_TIMEOUT
        with self._lock:
            running = list(self._running)
        for thread in running:
            thread.join(max(0.0, deadline - monotonic()))

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        finally:
            with self._lock:
                self._running.discard(threading.current_thread())


_THREADS: Final = _Threads()
os.register_at_fork(after_in_child=_THREADS._begin)
