"""`Chat`: joins one hub, broker, pinger and turnstile, and serves them by `mount` and `listen`."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final, Unpack
from wsgiref.types import WSGIApplication

from threadchat.broker.opening import open_broker
from threadchat.chat.log.events import UserId
from threadchat.config.settings import Config
from threadchat.config.unused import warn_of_unused
from threadchat.errors import ConfigError, RoomClosed
from threadchat.server import shutdown
from threadchat.server.admin.monitor import Monitor
from threadchat.server.admin.routes import Operators
from threadchat.server.admin.snapshot import Inspector
from threadchat.server.auth.admission import Admission
from threadchat.server.auth.failures import Failures
from threadchat.server.auth.hooks import Given, Hooks, WithHooks
from threadchat.server.auth.tokens import Tokens
from threadchat.server.auth.users import is_stranger
from threadchat.server.connection_registry import ConnectionRegistry
from threadchat.server.emitting import Emitting
from threadchat.server.http.routes import Routes
from threadchat.server.http.server import HttpServer
from threadchat.server.http.throttle import Throttle
from threadchat.server.http_factory import make_http
from threadchat.server.hub_factory import make_event_log, make_hub
from threadchat.server.listening_check import ListeningCheck
from threadchat.server.mount import Mount
from threadchat.server.page_look import configured_page
from threadchat.server.session.app_commands import Calls, WithCommands
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.native import NativeSession
from threadchat.server.session.statistics import Statistics
from threadchat.server.shedder import Shedder
from threadchat.server.subprotocols import HEADER
from threadchat.server.upgrade import UpgradeHandler
from threadchat.wire.connection import Connection, Limits
from threadchat.wire.pinger import Pinger
from threadchat.wire.turnstile import Turnstile
from threadchat.wire.unfinished import UnfinishedBudget

log = logging.getLogger(__name__)

_PATIENT_PART: Final = 0.8
"""The share of the drain's time before connections are cut off. Their threads need the rest to end."""


class Chat(WithHooks, WithCommands, Emitting):
    """A complete chat. `mount` it in a WSGI application, let it `listen` on a port, or both.

    Every method may be called from any thread and needs no application context. `publish` and `direct` work
    without `mount` and `listen`. A chat may be made before the server forks: its threads start at the first
    use, in the process that uses it. The chat ends with `close`, or with the process.

    An application may set six hooks, as arguments or with decorators (`@chat.on_message`), before the first
    client connects. The hooks of one connection are called one at a time, on a thread that may block. An
    exception in a hook is logged and answered with error 100; the connection stays open. A hook raises
    `Refuse("why")` to refuse (error 103). `authorize` and `moderates` return True or False; None means False,
    and any other answer is logged and refused with error 100. Setting a hook that is async, or that takes
    other arguments, raises ConfigError.

    `authenticate(environ)` is called for each WebSocket request, before it is answered. It returns an id (an
    integer from 1, or text such as a UUID), or an object or mapping with `id` and `nickname`. None means
    unknown: that person may still have a token, else they are anonymous, or refused with `anonymous=False`
    (`anonymous=None` uses the setting).
    `on_connect(info: SessionInfo)` is called at hello. False or an exception refuses the hello.
    `on_message(user: User, room, text)` returns the text to publish, or None or empty text to refuse it.
    `authorize(user: User, action, room)` returns whether it is allowed. The actions are join, subscribe,
    message, history, who, direct and call; for the last two, `room` is the recipient or the command's name.
    `moderates(user: User, room)` returns whether a known user may kick, ban, mute and delete in a room; an
    empty room means everywhere. A token may also grant this.
    `on_disconnect(info: SessionInfo, code, reason)` is called once after each successful `on_connect`.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        anonymous: bool | None = None,
        pinger: Pinger | None = None,
        **hooks: Unpack[Given],
    ) -> None:
        """Raises ConfigError, BrokerError, and OSError if the event log cannot be written."""
        if config is not None and not isinstance(config, Config):
            hint = ", which a mapping becomes by Config(**settings)" if isinstance(config, Mapping) else ""
            hint = "; to connect to a server, use Client" if isinstance(config, str) else hint
            given = type(config).__name__
            raise ConfigError(f"config is a {given}; it must be a Config, such as Config(port=8080){hint}")
        self.config = config = config or Config()
        warn_of_unused(config, 2)
        self.hooks = Hooks(**hooks)
        self.calls = Calls()
        # A test passes a pinger with a FakeClock, and so controls the deadlines.
        self.pinger = pinger or Pinger()
        self.turnstile = Turnstile()
        self._throttle = Throttle(self.turnstile)
        self.tokens = Tokens.of(config)
        self._broker = open_broker(config.broker, config)
        self.registry = ConnectionRegistry()
        self.shedder = Shedder(self.registry.connections, self.pinger, config.queued_bytes)
        self.unfinished = UnfinishedBudget(config.unfinished_bytes)
        self.statistics = Statistics(self.registry.forget, self.pinger.clock)
        self.hub = make_hub(self._broker, config, self.pinger, self.statistics, self._keeps_inbox)
        self.listening_check = ListeningCheck(self.hub, config)
        self.failures = Failures(self.pinger.clock)
        self.inspector = Inspector(self.statistics, self.hub, self.pinger.clock, self.failures)
        self.monitor = Monitor(self.inspector, config, self.unfinished, self.pinger)
        self._limits = Limits(**{name: getattr(config, name) for name in Limits._fields})
        self._upgrade_handler = UpgradeHandler(
            self.hub,
            config,
            self.hooks,
            self.registry,
            self._connect,
            note_session=self.statistics.note_session,
            admission=Admission.of(config, self.tokens, anonymous, self.failures, self.hub.revocations),
            calls=self.calls,
            clock=self.pinger.clock,
        )
        self._http: HttpServer | None = None
        # Guards `_unattached_log` and `_process`; it is held while the event log's thread starts.
        self._beginning = threading.Lock()
        self._event_log = self._unattached_log = make_event_log(config)
        self._process = 0  # the id of the process that uses this chat; 0 before the first use

    @property
    def closing(self) -> bool:
        """Whether the chat accepts no more connections. Runs on: any thread."""
        return self.registry.closing

    def mount(
        self, app: WSGIApplication, path: str = "/chat", *, page: bool = False, api: bool = False
    ) -> Mount:
        """Wraps `app`: serves WebSockets at `path` and, with `page`, the chat's page at `path/`.

        With `api`, also serves `path/api/`, `path/ops` and `path/metrics`, as `api_key` and `metrics` allow.
        Works on gunicorn (gthread, sync) and Werkzeug. On other servers a WebSocket request is answered 501,
        and the log says what to do. Raises ConfigError for an invalid path. Runs on: any thread.
        """
        endpoint = self._upgrade_handler.endpoint(NativeSession)
        alone = not self.config.broker.startswith(("redis", "unix:"))
        operators = Operators.asked_for(self, self.config).find if api else None
        files = configured_page(self.config) if page else None
        mount = Mount(app, path, endpoint, files, operators=operators, alone=alone)
        self.listening_check.note_entry(mount)
        return mount

    def listen(
        self,
        port: int | None = None,
        host: str | None = None,
        *,
        on_accept_thread: Callable[[], None] | None = None,
    ) -> None:
        """Binds the port and starts to accept connections; returns at once. Runs on: any thread, once.

        `port` and `host` replace those of the configuration; port 0 takes any free port, see `url`.
        `on_accept_thread` is called on the accepting thread, which starts the threads of all connections.
        Raises OSError and ConfigError.
        """
        if self.registry.closing:
            raise ConfigError("this chat is closed; make another one")
        if self._http is not None:
            raise ConfigError(f"this chat already listens at {self.url}; a second port needs a second chat")
        dialects = {"/": DirectSession, "/ws": BroadcastSession, "/chat": NativeSession}
        endpoints = {path: self._upgrade_handler.endpoint(dialect) for path, dialect in dialects.items()}
        operators = Operators(self, self.config).find
        hosts = self._upgrade_handler.hosts
        page = configured_page(self.config)
        web = Routes(
            endpoints, page=page, ready=lambda: self.inspector.ready, operators=operators, hosts=hosts
        )
        http = make_http(web, self.config, self._throttle, host, port, on_accept_thread=on_accept_thread)
        self._begin()
        # Reading `ready` makes the broker connect now instead of at the first client.
        log.debug("ready: %s", self.inspector.ready)
        http.listen()
        self._http = http
        self.listening_check.note_entry()

    @property
    def url(self) -> str:
        """The URL of the page. Raises ConfigError before `listen`."""
        if self._http is None:
            raise ConfigError("this chat does not listen yet; call listen first")
        return self._http.url

    def reload(self) -> None:
        """Reads TLS files and `token_keys` again, reopens the event log. Runs on: one thread at a time."""
        for part in (self._http, self.tokens, self._event_log):
            if part is not None:
                part.reload()

    # Closing

    def leave_behind(self) -> None:
        """Drops the port and all connections, which belong to the parent process.

        Runs on: the only thread of a forked process, first.
        """
        self._http = None
        self._beginning = threading.Lock()
        rounds, pool = self.shedder.rounds, self.calls.pool
        for part in (self.pinger, self.turnstile, self.registry, rounds, self.statistics, pool, self.hub):
            part.leave_behind()
        for served in (self.inspector, self.monitor, self.unfinished, self._upgrade_handler, self._throttle):
            served.leave_behind()

    def close(self, timeout: float | None = None) -> bool:
        """Calls `drain` with `timeout` seconds, by default `drain_timeout`."""
        return self.drain(self.config.drain_timeout if timeout is None else timeout)

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def drain(self, timeout: float) -> bool:
        """Stops accepting, closes all connections (3001), flushes their outboxes and ends the threads.

        Connections that are still open after 80 % of `timeout` seconds are cut off. Returns False if threads
        still run after `timeout`. Runs on: any thread that does not belong to the chat.
        """
        begun = monotonic()
        shutdown.forget(self)
        if self._http is not None:
            self._http.stop_accepting()
            self._http.hang_up()
        self.registry.close()
        if not (clean := self._wait_until_gone(begun + timeout * _PATIENT_PART)):
            self.registry.cut_off()
            clean = self._wait_until_gone(begun + timeout)
        clean = self.hub.close(max(0.0, begun + timeout - monotonic())) and clean
        if self._unattached_log is not None:  # the chat was never used, so no hub has it
            self._unattached_log.close()
        self.calls.pool.stop()
        self.pinger.stop()
        self.monitor.stop()
        return clean

    def _wait_until_gone(self, deadline: float) -> bool:
        """Waits for requests and connections to end; returns whether all have ended."""
        joined = self._http is None or self._http.join(max(0.0, deadline - monotonic()))
        return self.registry.wait(deadline) and joined

    # Helpers

    def _begin(self) -> None:
        """Prepares the first use in this process. What a fork would lose is started here."""
        if self._process == os.getpid():
            return
        with self._beginning:
            if self._process not in (0, os.getpid()):
                log.warning(
                    "this chat was used before its process forked; its connections and listeners, including "
                    "the event log, stay in process %d",
                    self._process,
                )
            elif self._unattached_log is not None:
                with contextlib.suppress(RoomClosed):  # in that case `drain` closes the log
                    self.hub.attach_listener(self._unattached_log)
                    self._unattached_log = None
            shutdown.close_at_exit(self)
            self.monitor.start()
            self._process = os.getpid()

    def _keeps_inbox(self, user: UserId) -> bool:
        """Whether a user has an inbox: only those whom the application or a token identifies do."""
        knows = self.hooks.authenticate is not None or self.tokens is not None
        return knows and self.config.inbox_size > 0 and not is_stranger(user)

    def _connect(self, number: int, sock: Any, headers: dict[str, Any], trailing: bytes) -> Connection:
        self._begin()
        self.shedder.watch()
        make = partial(Connection, turnstile=self.turnstile, pinger=self.pinger, limits=self._limits)
        chosen = [name] if (name := headers.get(HEADER)) else None
        with self._throttle:
            connection = make(
                number,
                sock,
                headers,
                trailing,
                on_gone=self.statistics.left,
                subprotocols=chosen,
                budget=self.unfinished,
            )
        return self.statistics.came(connection)
