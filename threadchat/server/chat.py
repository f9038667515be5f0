"""The engine: one hub, one broker, one pinger, one turnstile, and the ways in that applications open."""

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
from threadchat.chat.eventlog import JsonLines
from threadchat.chat.log.events import UserId
from threadchat.config.settings import Config, warn_of_unused
from threadchat.errors import ConfigError, RoomClosed
from threadchat.server import shutdown
from threadchat.server.admin.routes import Operators
from threadchat.server.admin.snapshot import Inspector
from threadchat.server.auth.failures import Failures
from threadchat.server.auth.hooks import Given, Hooks, WithHooks
from threadchat.server.auth.identity import Admission
from threadchat.server.auth.known_names import KnownNames
from threadchat.server.auth.tokens import Tokens
from threadchat.server.auth.users import is_stranger
from threadchat.server.connection_registry import ConnectionRegistry
from threadchat.server.emitting import Emitting
from threadchat.server.http.routes import Routes
from threadchat.server.http.server import HttpServer
from threadchat.server.http.static import read_page
from threadchat.server.http_factory import make_http
from threadchat.server.hub_factory import make_hub
from threadchat.server.listening_check import ListeningCheck
from threadchat.server.mount import Mount
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
"""Of the time for a drain, before connections are cut off: their threads need the rest to end."""


class Chat(WithHooks, WithCommands, Emitting):
    """A whole chat: `mount` it in a WSGI application, or let it `listen` on a port, or both.

    Every method may be called from any thread, needs no context of the application, and `publish` and
    `direct` need neither `mount` nor `listen`. Make it before a server forks if you like: threads start with
    the first use, in the process that uses it. `close` ends it, and so does the end of the process.

    The application has its say by up to six callables, given here or as decorators (`@chat.on_message`),
    before the first client comes. Those of one connection are called one after the other, on a thread that
    may block: on a database, say. What they raise is logged and answered with error 100, and ends nothing;
    `Refuse("why")` is how they say no (error 103). `authorize` and `moderates` answer True or False, and None
    for False; any other answer is logged and is a no (error 100). A hook that is async, or takes other
    arguments, raises ConfigError when it is set.

    `authenticate(environ)` → an id, which is an integer from 1 on or text such as a UUID; or an object or
    mapping with `id` and `nickname`; or None for somebody unknown, who may have a token, or is anonymous, or
    refused with `anonymous=False` (None: as the setting says). Called for each request for a WebSocket,
    before it is answered.
    `on_connect(info: SessionInfo)`, with hello: what it raises refuses the hello, and so does False.
    `on_message(user: User, room, text)` → the text to be published, or None (or no text) to refuse it.
    `authorize(user: User, action, room)` → whether they may; action is join, subscribe, message, history,
    who, or direct and call, where the recipient's id or the command's name takes the place of the room.
    `moderates(user: User, room)` → whether somebody known may kick, ban, mute and delete there; an empty
    room means everywhere. A token may say so too.
    `on_disconnect(info: SessionInfo, code, reason)`, once for each `on_connect` that let somebody in.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        anonymous: bool | None = None,
        pinger: Pinger | None = None,
        **hooks: Unpack[Given],
    ) -> None:
        """Raises ConfigError, BrokerError, and OSError where the event log cannot be written."""
        if config is not None and not isinstance(config, Config):
            raise ConfigError(
                f"config is a {type(config).__name__}; it must be a Config, such as Config(port=8080)"
                + (", which a mapping becomes by Config(**settings)" if isinstance(config, Mapping) else "")
            )
        self.config = config = config or Config()
        warn_of_unused(config, 2)
        self.hooks = Hooks(**hooks)
        self.calls = Calls()
        # With a pinger of a FakeClock, a test decides when deadlines go off.
        self.pinger = pinger or Pinger()
        self.turnstile = Turnstile()
        self.tokens = Tokens.of(config)
        self._broker = open_broker(config.broker, config)
        self.registry = ConnectionRegistry()
        self.shedder = Shedder(self.registry.connections, self.pinger, config.queued_bytes)
        self.unfinished = UnfinishedBudget(config.unfinished_bytes)
        self.statistics = Statistics(self.registry.forget, self.pinger.clock)
        self.hub = make_hub(self._broker, config, self.pinger, self.statistics, self._keeps_inbox)
        self.audience = ListeningCheck(self.hub, config)
        self.failures = Failures(self.pinger.clock)
        self.inspector = Inspector(self.statistics, self.hub, self.pinger.clock, self.failures)
        self._limits = Limits(**{name: getattr(config, name) for name in Limits._fields})
        self._upgrade_handler = UpgradeHandler(
            self.hub,
            config,
            self.hooks,
            self.registry,
            self._connect,
            membership=self.statistics.membership,
            admission=Admission(
                self.tokens,
                config.anonymous if anonymous is None else anonymous,
                self.failures,
                KnownNames(),
            ),
            calls=self.calls,
            clock=self.pinger.clock,
        )
        self._http: HttpServer | None = None
        # Guards `_event_log` and `_process`; held while the log's thread starts.
        self._beginning = threading.Lock()
        self._event_log = JsonLines(config.event_log) if config.event_log else None
        self._process = 0  # that uses this chat; 0 before the first use

    @property
    def closing(self) -> bool:
        """Whether it lets nobody in any more. Runs on: any thread."""
        return self.registry.closing

    # Ways in

    def mount(
        self, app: WSGIApplication, path: str = "/chat", *, page: bool = False, api: bool = False
    ) -> WSGIApplication:
        """`app` with the chat's socket at `path`, and with `page` its page at `path/`.

        With `api`, what `api_key` and `metrics` open is there too: `path/api/`, `path/ops`, `path/metrics`.
        Works on gunicorn (gthread, sync) and Werkzeug; elsewhere a WebSocket is answered 501, and the log
        names the way out. Raises ConfigError for a path that cannot be one. Runs on: any thread.
        """
        endpoint = self._upgrade_handler.endpoint(NativeSession)
        alone = not self.config.broker.startswith(("redis:", "rediss:", "unix:"))
        doors = Operators.asked_for(self, self.config).find if api else None
        mount = Mount(app, path, endpoint, read_page() if page else None, operators=doors, alone=alone)
        self.audience.may_come(mount)
        return mount

    def listen(
        self,
        port: int | None = None,
        host: str | None = None,
        *,
        on_accept_thread: Callable[[], None] | None = None,
    ) -> None:
        """Binds and starts to accept; returns at once. Raises OSError. Runs on: any thread, once.

        `port` and `host` replace the configuration's; port 0 takes any free one, see `url`.
        `on_accept_thread` is called on the accepting thread, whose children are all connections'. Raises
        ConfigError.
        """
        if self.registry.closing:
            raise ConfigError("this chat is closed; make another one")
        if self._http is not None:
            raise ConfigError(f"this chat listens already, at {self.url}; a port more needs another one")
        dialects = {"/": DirectSession, "/ws": BroadcastSession, "/chat": NativeSession}
        endpoints = {path: self._upgrade_handler.endpoint(dialect) for path, dialect in dialects.items()}
        doors = Operators(self, self.config).find
        hosts = self._upgrade_handler.hosts
        web = Routes(endpoints, ready=lambda: self.inspector.ready, operators=doors, hosts=hosts)
        http = make_http(web, self.config, host=host, port=port, on_accept_thread=on_accept_thread)
        self._begin()
        # By asking: what takes time to be ready begins now, and not with the first client.
        log.debug("ready: %s", self.inspector.ready)
        http.listen()
        self._http = http
        self.audience.may_come()

    @property
    def url(self) -> str:
        """Where the page is. Raises ConfigError before `listen`."""
        if self._http is None:
            raise ConfigError("this chat listens nowhere; call listen first")
        return self._http.url

    def reload(self) -> None:
        """Reads certificate, key and `token_keys` again, for what comes. Runs on: one thread at a time."""
        for part in (self._http, self.tokens):
            if part is not None:
                part.reload()

    # The end

    def leave_behind(self) -> None:
        """Lets go of the port and of everybody: they are the process's that forked this one.

        Runs on: the only thread of a forked process, first.
        """
        self._http = None
        self._beginning = threading.Lock()
        rounds, pool = self.shedder.rounds, self.calls.pool
        for part in (self.pinger, self.turnstile, self.registry, rounds, self.statistics, pool, self.hub):
            part.leave_behind()
        self.inspector.leave_behind()
        self.unfinished.leave_behind()
        self._upgrade_handler.leave_behind()

    def close(self, timeout: float | None = None) -> bool:
        """`drain`, within `drain_timeout` unless `timeout` says otherwise (seconds)."""
        return self.drain(self.config.drain_timeout if timeout is None else timeout)

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def drain(self, timeout: float) -> bool:
        """Stops accepting, tells everybody (3001), flushes what waits, ends all that was begun.

        What has not ended shortly before `timeout` seconds are over is cut off; False if something
        runs even then. Runs on: any thread but the chat's own.
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
        if self._event_log is not None:  # nobody ever used it
            self._event_log.close()
        self.calls.pool.stop()
        self.pinger.stop()
        return clean

    def _wait_until_gone(self, deadline: float) -> bool:
        """Waits for whoever is connecting or connected; whether there is nobody left."""
        joined = self._http is None or self._http.join(max(0.0, deadline - monotonic()))
        return self.registry.wait(deadline) and joined

    # Helpers

    def _begin(self) -> None:
        """The first use in this process: what a fork would have left behind is begun only now."""
        if self._process == os.getpid():
            return
        with self._beginning:
            if self._process not in (0, os.getpid()):
                log.warning(
                    "this chat was used before its process forked; listeners, the event log among them, and "
                    "whoever was connected stayed behind in process %d",
                    self._process,
                )
            elif self._event_log is not None:
                with contextlib.suppress(RoomClosed):  # `drain` closes the log then
                    self.hub.attach_listener(self._event_log)
                    self._event_log = None
            shutdown.close_at_exit(self)
            self._process = os.getpid()

    def _keeps_inbox(self, user: UserId) -> bool:
        """Whoever is known to the application, or by a token."""
        knows = self.hooks.authenticate is not None or self.tokens is not None
        return knows and self.config.inbox_size > 0 and not is_stranger(user)

    def _connect(self, number: int, sock: Any, headers: dict[str, Any], trailing: bytes) -> Connection:
        self._begin()
        self.shedder.watch()
        make = partial(Connection, turnstile=self.turnstile, pinger=self.pinger, limits=self._limits)
        chosen = [name] if (name := headers.get(HEADER)) else None
        return self.statistics.came(
            make(
                number,
                sock,
                headers,
                trailing,
                on_gone=self.statistics.left,
                subprotocols=chosen,
                budget=self.unfinished,
            )
        )
