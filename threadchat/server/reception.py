"""Lets WebSockets in: judges the request, asks who it is, takes the socket over, and runs the session."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.chat.hub import Hub
from threadchat.config import Config
from threadchat.errors import ConnectionClosed, NoSocket, Refuse, ThreadchatError
from threadchat.server.exchange import HANDOVER
from threadchat.server.handshake import Refusal, refuse
from threadchat.server.hooks import Hooks, Visit
from threadchat.server.replies import reply
from threadchat.server.roster import Roster
from threadchat.server.session import Session
from threadchat.server.takeover import Taken, shows_socket, take_socket
from threadchat.server.users import User, as_user
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)

Dialect = Callable[..., Session]
_SORRY = "The server failed here, the request is not to blame; try again later."
_RETRY = ("Retry-After", "5")


class Reception:
    """The way into one chat, for all its endpoints and whatever server the requests come from.

    `connect` makes a Connection of number, socket, headers and trailing bytes. To be called on any thread.
    """

    def __init__(
        self,
        hub: Hub,
        config: Config,
        hooks: Hooks,
        roster: Roster,
        connect: Callable[..., Connection],
        *,
        anonymous: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._hub = hub
        self._config = config
        self._hooks = hooks
        self._roster = roster
        self._connect = connect
        self._anonymous = anonymous
        self._clock = clock
        self._numbers = itertools.count(1)  # `next` of a count is one atomic step
        self._told = False  # that the server shows no socket

    def endpoint(self, dialect: Dialect) -> WSGIApplication:
        """A WSGI application for requests that are meant as a handshake."""
        return partial(self.receive, dialect)

    def receive(
        self, dialect: Dialect, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answers a handshake with a refusal, or makes it a session, which may run as long as the call."""
        answer = refuse(environ, self._config.allowed_origins) or self._ask_who(environ)
        if isinstance(answer, Refusal):
            return _turn_away(answer, environ, start_response)
        taken = self._take(environ)
        if isinstance(taken, Refusal):
            return _turn_away(taken, environ, start_response)
        headers = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "REMOTE_"))}
        identity = None if answer is _NOBODY else answer
        self._begin(partial(self._run, dialect, taken, headers, identity), taken)
        return taken.finish(start_response)

    def _ask_who(self, environ: dict[str, Any]) -> User | Refusal:
        """Asks the application. Whoever is nobody to it is `_NOBODY`."""
        hook = self._hooks.authenticate
        try:
            user = None if hook is None else as_user(hook(environ))
        except Refuse as error:
            return Refusal("403 Forbidden", error.reason)
        except ThreadchatError as error:
            log.error("authenticate: %s", error)
            return Refusal("500 Internal Server Error", _SORRY)
        except Exception:
            log.exception("authenticate failed")
            return Refusal("500 Internal Server Error", _SORRY)
        if user is None and not self._anonymous:
            scheme = [("WWW-Authenticate", "Session")]  # RFC 9110 section 15.5.2 wants one
            return Refusal("401 Unauthorized", "Log in first; the chat is for known users only.", scheme)
        return user or _NOBODY

    def _take(self, environ: dict[str, Any]) -> Taken | Refusal:
        # Our own server counts its connections itself, and has answered those above the limit.
        sentence = self._roster.admit(0 if HANDOVER in environ else self._config.max_connections)
        if sentence is not None:
            return Refusal("503 Service Unavailable", sentence, [_RETRY])
        try:
            return take_socket(environ)
        except BaseException as error:
            self._roster.give_back()
            if isinstance(error, NoSocket):
                self._tell(error)
                return Refusal(error.status, f"{error}.")
            if isinstance(error, OSError):
                log.error("cannot take a connection over: %s", error)
                return Refusal("503 Service Unavailable", "The server has no room for another one.", [_RETRY])
            raise

    def _tell(self, error: NoSocket) -> None:
        news = error.status.startswith("5") and not self._told  # once; requests go on coming
        level = logging.ERROR if news else logging.DEBUG
        self._told = self._told or news
        log.log(level, "a WebSocket was refused: %s", error)

    def _begin(self, run: Callable[[int], None], taken: Taken) -> None:
        number = next(self._numbers) if taken.number is None else taken.number
        if not taken.leaves_thread:
            run(number)
            return
        try:
            self._roster.start_reader(partial(self._run_apart, run, number), f"reader-{number}")
        except RuntimeError as error:  # the system has no more threads
            log.error("connection %d: cannot start a thread: %s", number, error)
            taken.sock.close()
            self._roster.give_back()

    def _run_apart(self, run: Callable[[int], None], number: int) -> None:
        """Runs on: a reader thread of our own, where nobody else would catch anything."""
        try:
            run(number)
        except (ConnectionClosed, RuntimeError) as error:
            log.error("connection %d: %s", number, error)

    def _run(
        self, dialect: Dialect, taken: Taken, headers: dict[str, Any], identity: User | None, number: int
    ) -> None:
        """Runs on: the connection's reader thread. Raises what making a Connection raises."""
        try:
            connection = self._connect(number, taken.sock, headers, taken.trailing)
        except BaseException:
            taken.sock.close()
            self._roster.give_back()
            raise
        self._roster.add(connection)
        visit = Visit(connection, self._hooks, identity, headers.get("REMOTE_ADDR", ""))
        dialect(connection, self._hub, self._config, visit=visit, clock=self._clock).run()


_NOBODY = User(0)


def _turn_away(refusal: Refusal, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    headers = refusal.headers
    if not shows_socket(environ):  # PEP 3333 forbids hop-by-hop headers, and wsgiref insists on it
        headers = [(name, value) for name, value in headers if name != "Upgrade"]
    return reply(start_response, refusal.status, refusal.body, *headers)
