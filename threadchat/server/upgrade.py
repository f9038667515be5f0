"""Lets WebSockets in: judges the request, asks who it is, takes the socket over, and runs the session."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.callbacks import is_unrun
from threadchat.chat.hub import Hub
from threadchat.chat.sanctions import BAN
from threadchat.config.settings import Config
from threadchat.errors import BadToken, CloseCode, ConnectionClosed, NoSocket, Refuse, ThreadchatError
from threadchat.logs.rate_limit import LogRateLimit, is_thread_shortage
from threadchat.server.auth.hooks import Hooks
from threadchat.server.auth.identity import ANYBODY, Admission, Identity
from threadchat.server.auth.tokens import Pass
from threadchat.server.auth.users import User, as_user
from threadchat.server.connection_registry import MOST_PARTING, PARTING, ConnectionRegistry
from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.connection_limits import counted_as
from threadchat.server.http.handshake import Refusal, refuse
from threadchat.server.http.hosts import Hosts
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.refusal_log import log_refusal
from threadchat.server.http.replies import reply
from threadchat.server.http.socket_takeover import Taken, shows_socket, take_socket
from threadchat.server.session.app_commands import NO_CALLS, Calls
from threadchat.server.session.session import Session
from threadchat.server.subprotocols import HEADER, choose
from threadchat.wire.connection import Connection
from threadchat.wire.threads.numbers import Numbers

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

Dialect = Callable[..., Session]
_SHOWN: Final = ("HTTP_", "REMOTE_", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING")
"""What of a handshake's environ connections and the application's commands get."""
_SORRY = "The server failed here, the request is not to blame; try again later."
_RETRY = ("Retry-After", "5")
_BEARER: Final = re.compile(r"bearer(?: +(.*))?", re.IGNORECASE | re.DOTALL)


class Caller(NamedTuple):
    """Who asks for a WebSocket, as far as the request tells: None is nobody so far."""

    user: User | None = None
    shown: Pass | None = None


class Upgraded(NamedTuple):
    """The socket of one who was admitted, and what its connection is counted under."""

    taken: Taken
    of: str


class UpgradeHandler:
    """The way into one chat, for all its endpoints and whatever server the requests come from.

    `connect` makes a Connection of number, socket, headers and trailing bytes. `admission` says who may come
    in besides those whom the hook `authenticate` knows. To be called on any thread.
    """

    def __init__(
        self,
        hub: Hub,
        config: Config,
        hooks: Hooks,
        registry: ConnectionRegistry,
        connect: Callable[..., Connection],
        *,
        membership: Callable[[Connection, Session], object] = lambda connection, session: None,
        admission: Admission = ANYBODY,
        calls: Calls = NO_CALLS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._hub = hub
        self._config = config
        self._hooks = hooks
        self._registry = registry
        self._connect = connect
        self._membership = membership
        self._admission = admission
        self._calls = calls
        self._clock = clock
        self._numbers = Numbers()
        self._proxies = Proxies(config.trusted_proxy)
        self.hosts = Hosts(config.allow_host, config.host, self._proxies)
        self._told = False  # that the server shows no socket

    def leave_behind(self) -> None:
        """Begins anew in a forked process. Runs on: its only thread, first."""
        self._numbers = Numbers()
        self._admission.leave_behind()

    def endpoint(self, dialect: Dialect) -> WSGIApplication:
        """A WSGI application for requests that are meant as a handshake."""
        return partial(self.receive, dialect)

    def receive(
        self, dialect: Dialect, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answers a handshake with a refusal, or makes it a session, which may run as long as the call."""
        self._proxies.see_through(environ)
        answer = (
            self.hosts.refuse(environ)
            or refuse(environ, self._config.allowed_origins)
            or self._refuse_banned(environ)
            or self._ask_who(dialect, environ)
        )
        if isinstance(answer, Refusal):
            log_refusal(environ, answer.status, answer.body)
            return _turn_away(answer, environ, start_response)
        guest = self._take(environ)
        if isinstance(guest, Refusal):
            return _turn_away(guest, environ, start_response)
        headers = {name: value for name, value in environ.items() if name.startswith(_SHOWN)}
        # What was offered may be a secret, and the connection needs the one that is spoken.
        headers.pop(HEADER, None)
        if chosen := choose(environ, self._config.accepted_subprotocols).name:
            headers[HEADER] = chosen
        self._begin(partial(self._run, dialect, guest, headers, answer), guest)
        return guest.taken.finish(start_response)

    def _refuse_banned(self, environ: dict[str, Any]) -> Refusal | None:
        ban = self._hub.sanctions.find(BAN, environ.get("REMOTE_ADDR", ""))
        if ban is None:
            return None
        return Refusal("403 Forbidden", f"{ban.sentence('Your address is')}.")

    def _ask_who(self, dialect: Dialect, environ: dict[str, Any]) -> Caller | Refusal:
        """Asks the application, and of those whom it does not know the token."""
        hook = self._hooks.authenticate
        try:
            answer = None if hook is None else hook(environ)
            if is_unrun(answer):
                raise ThreadchatError(f"it returned a {type(answer).__name__}, whose body did not run")
            user = as_user(answer)
        except Refuse as error:
            return Refusal("403 Forbidden", error.reason)
        except ThreadchatError as error:
            log.error("authenticate: %s", error)
            return Refusal("500 Internal Server Error", _SORRY)
        except Exception:
            log.exception("authenticate failed")
            return Refusal("500 Internal Server Error", _SORRY)
        if user is not None:
            return Caller(user)
        return self._read_token(environ) or self._let_in_as_nobody(dialect)

    def _read_token(self, environ: dict[str, Any]) -> Caller | Refusal | None:
        """Whom `Authorization: Bearer` (RFC 6750) names, or else the subprotocol after `bearer`.

        None without either, or where there are no tokens.
        """
        tokens, found = self._admission.tokens, _BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        token = (found[1] or "").strip() if found else choose(environ, ()).token
        if tokens is None or token is None:
            return None
        try:
            shown = self._admission.verify(
                tokens, token, lambda failures: failures.note_request("token", environ)
            )
        except BadToken as error:
            log.info("%s: a token was refused: %s", environ.get("REMOTE_ADDR", "-"), error)
            scheme = [("WWW-Authenticate", 'Bearer error="invalid_token"')]
            return Refusal("401 Unauthorized", "This token is not valid here; get another.", scheme)
        return Caller(shown.user, shown)

    def _let_in_as_nobody(self, dialect: Dialect) -> Caller | Refusal:
        tokens = self._admission.tokens
        if self._admission.anonymous or (tokens is not None and getattr(dialect, "says_hello", False)):
            return Caller()
        # RFC 9110 section 15.5.2 wants a scheme, RFC 6750 section 3 a parameter with this one.
        scheme = "Session" if tokens is None else 'Bearer realm="threadchat"'
        sentence = "Log in first; the chat is for known users only."
        return Refusal("401 Unauthorized", sentence, [("WWW-Authenticate", scheme)])

    def _take(self, environ: dict[str, Any]) -> Upgraded | Refusal:
        of = self._admit(environ)
        if isinstance(of, Refusal):
            log_refusal(environ, of.status, of.body)
            return of
        try:
            return Upgraded(take_socket(environ), of)
        except BaseException as error:
            self._registry.give_back(of)
            if isinstance(error, NoSocket):
                self._tell(error, environ)
                return Refusal(error.status, f"{error}.")
            if isinstance(error, OSError):
                log.error("cannot take a connection over: %s", error)
                return Refusal("503 Service Unavailable", "The server has no room for another one.", [_RETRY])
            raise

    def _admit(self, environ: dict[str, Any]) -> str | Refusal:
        """Counts a connection in, and says under what; for too many of one address, under `PARTING`."""
        address = environ.get("REMOTE_ADDR", "")
        # A trusted proxy that does not say for whom it asks: its address is everybody's.
        of = "" if self._proxies.trusts(address) else counted_as(address)
        # Our own server counts its connections itself, and has answered those above the limit.
        most = 0 if HANDOVER in environ else self._config.max_connections
        denial = self._registry.admit(most, of, self._config.max_connections_per_address)
        if denial is None:
            return of
        if denial.of_address and self._registry.admit(most, PARTING, MOST_PARTING) is None:
            return PARTING
        return Refusal("503 Service Unavailable", denial.sentence, [_RETRY])

    def _part(self, connection: Connection) -> None:
        """Tells one of too many so, in a way that a page can read and does not come back after."""
        most = self._config.max_connections_per_address
        connection.close(CloseCode.CONNECTION_LIMIT, f"connection limit: at most {most} from one address")
        connection.end_reading()

    def _tell(self, error: NoSocket, environ: dict[str, Any]) -> None:
        if not error.status.startswith("5"):
            log_refusal(environ, error.status, str(error))
            return
        level = logging.DEBUG if self._told else logging.ERROR  # once; requests go on coming
        self._told = True
        log.log(level, "a WebSocket was refused: %s", error)

    def _begin(self, run: Callable[[int], None], guest: Upgraded) -> None:
        taken = guest.taken
        number = self._numbers.take() if taken.number is None else taken.number
        if not taken.leaves_thread:
            run(number)
            return
        try:
            self._registry.start_reader(partial(self._run_apart, run, number), f"reader-{number}")
        except RuntimeError as error:  # the system has no more threads
            log.error("connection %d: cannot start a thread: %s", number, error)
            taken.sock.close()
            self._registry.give_back(guest.of)

    def _run_apart(self, run: Callable[[int], None], number: int) -> None:
        """Runs on: a reader thread of our own, where nobody else would catch anything."""
        try:
            run(number)
        except (ConnectionClosed, RuntimeError) as error:
            log.error("connection %d: %s", number, error)

    def _run(
        self, dialect: Dialect, guest: Upgraded, headers: dict[str, Any], caller: Caller, number: int
    ) -> None:
        """Runs on: the connection's reader thread."""
        taken, of = guest
        try:
            connection = self._connect(number, taken.sock, headers, taken.trailing)
        except BaseException as error:
            taken.sock.close()
            self._registry.give_back(of)
            if isinstance(error, ConnectionClosed) or is_thread_shortage(error):
                log.error("connection %d: it could not begin: %s", number, error)
                return
            raise
        self._registry.add(connection, of)
        if of == PARTING:
            self._part(connection)
            return
        identity = Identity(
            connection,
            self._hooks,
            caller.user,
            headers.get("REMOTE_ADDR", ""),
            admission=self._admission,
            shown=caller.shown,
            environ=headers if self._calls else None,
        )
        session = dialect(
            connection, self._hub, self._config, identity=identity, calls=self._calls, clock=self._clock
        )
        self._membership(connection, session)
        session.run()


def _turn_away(refusal: Refusal, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    headers = refusal.headers
    if not shows_socket(environ):  # PEP 3333 forbids hop-by-hop headers, and wsgiref insists on it
        headers = [(name, value) for name, value in headers if name != "Upgrade"]
    return reply(start_response, refusal.status, refusal.body, *headers)
