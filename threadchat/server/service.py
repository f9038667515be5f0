"""The engine: one hub, one broker, one pinger, one turnstile, and the server that listens for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from threadchat.broker.memory import MemoryBroker
from threadchat.chat.eventlog import JsonLines
from threadchat.chat.hub import Hub
from threadchat.chat.routing import make_routing
from threadchat.config import Config
from threadchat.errors import CloseCode
from threadchat.server.classic import BroadcastSession, DirectSession
from threadchat.server.exchange import HANDOVER
from threadchat.server.http import HttpServer
from threadchat.server.native import NativeSession
from threadchat.server.session import Session
from threadchat.server.web import Endpoint, Web
from threadchat.wire.connection import Connection, Limits
from threadchat.wire.pinger import Pinger
from threadchat.wire.turnstile import Turnstile

log = logging.getLogger(__name__)

_PATIENT_PART: Final = 0.8
"""Of the time for a drain, before connections are cut off: their threads need the rest to end."""


class Chat:
    """A whole chat server; `listen` opens it, `drain` ends it.

    `_lock` guards `_connections` and `_draining`; `_emptied` is told when the last connection has
    gone. Nothing else is acquired under it.
    """

    def __init__(self, config: Config) -> None:
        """Raises ConfigError, and OSError where the event log cannot be written."""
        self.config = config
        self.pinger = Pinger()
        self.turnstile = Turnstile()
        self.hub = Hub(
            MemoryBroker(config.history_size, config.history_bytes),
            routing=make_routing(config.routing, config.request_buffer, config.send_timeout),
            schedule=self.pinger.call_later,
            room_ttl=config.room_ttl,
            request_buffer=config.request_buffer,
            history_size=config.history_size,
            history_bytes=config.history_bytes,
            send_timeout=config.send_timeout,
            announce_limit=config.announce_limit,
        )
        if config.event_log:
            self.hub.attach_listener(JsonLines(config.event_log))
        self._limits = Limits(**{name: getattr(config, name) for name in Limits._fields})
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._connections: set[Connection] = set()
        self._draining = False
        self._http: HttpServer | None = None

    def listen(self, *, on_accept_thread: Callable[[], None] | None = None) -> None:
        """Binds and starts to accept; returns at once. Raises OSError. Runs on: any thread, once.

        `on_accept_thread` is called on the accepting thread, whose children are all connections'.
        """
        endpoints = {
            "/": self._endpoint(DirectSession),
            "/ws": self._endpoint(BroadcastSession),
            "/chat": self._endpoint(NativeSession),
        }
        self._http = HttpServer(
            Web(endpoints, allow_origin=self.config.allowed_origins),
            host=self.config.host,
            port=self.config.port,
            request_timeout=self.config.request_timeout,
            max_connections=self.config.max_connections,
            on_accept_thread=on_accept_thread,
        )
        self._http.listen()

    @property
    def url(self) -> str:
        """Where the page is."""
        assert self._http is not None, "listen first"
        host, port = self._http.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def drain(self, timeout: float) -> bool:
        """Stops accepting, tells everybody (3001), flushes what waits, ends all that was begun.

        What has not ended shortly before `timeout` seconds are over is cut off; False if something
        runs even then. Runs on: any thread but the chat's own.
        """
        begun = monotonic()
        if self._http is not None:
            self._http.stop_accepting()
        with self._lock:
            self._draining = True
            connections = list(self._connections)
        if self._http is not None:
            self._http.hang_up()
        for connection in connections:
            connection.close(CloseCode.SHUTDOWN)
        if not (clean := self._wait_until_gone(begun + timeout * _PATIENT_PART)):
            self._cut_off()
            clean = self._wait_until_gone(begun + timeout)
        clean = self.hub.close(max(0.0, begun + timeout - monotonic())) and clean
        self.pinger.stop()
        return clean

    def _wait_until_gone(self, deadline: float) -> bool:
        """Waits for whoever is connecting or connected; whether there is nobody left."""
        joined = self._http is None or self._http.join(max(0.0, deadline - monotonic()))
        with self._lock:
            return self._emptied.wait_for(lambda: not self._connections, deadline - monotonic()) and joined

    def _cut_off(self) -> None:
        with self._lock:
            overdue = list(self._connections)
        for connection in overdue:
            log.warning("%r did not end in time", connection)
            connection.abort(CloseCode.SHUTDOWN)

    def _endpoint(self, dialect: Callable[[Connection, Hub, Config], Session]) -> Endpoint:
        def run(environ: dict[str, Any]) -> None:
            dialect(self._connect(environ), self.hub, self.config).run()

        return run

    def _connect(self, environ: dict[str, Any]) -> Connection:
        """Makes a connection of the socket behind a request. Runs on: what becomes its reader thread."""
        handover = environ[HANDOVER]
        sock, trailing = handover.take()
        try:
            connection = Connection(
                handover.number,
                sock,
                environ,
                trailing,
                turnstile=self.turnstile,
                pinger=self.pinger,
                limits=self._limits,
                on_gone=self._forget,
            )
        except BaseException:
            sock.close()
            raise
        with self._lock:
            self._connections.add(connection)
            draining = self._draining
        if draining:
            connection.close(CloseCode.SHUTDOWN)
        return connection

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
            if not self._connections:
                self._emptied.notify_all()
