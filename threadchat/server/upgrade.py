"""Upgrades requests to WebSockets: checks and authenticates a request, takes its socket, runs a session."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from operator import methodcaller
from time import monotonic, time
from typing import Any, Final, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.callbacks import is_unrun
from threadchat.chat.access.sanctions import BAN
from threadchat.chat.hub import Hub
from threadchat.config.settings import Config
from threadchat.errors import BadToken, CloseCode, ConnectionClosed, NoSocket, Refuse, ThreadchatError
from threadchat.logs.rate_limit import LogRateLimit, is_thread_shortage
from threadchat.server.auth.admission import ANYBODY, Admission
from threadchat.server.auth.hooks import Hooks
from threadchat.server.auth.identity import Identity
from threadchat.server.auth.tokens import Pass
from threadchat.server.auth.users import User, as_user
from threadchat.server.budgets.budgets import Budgets
from threadchat.server.connection_registry import MAX_OVER_LIMIT, OVER_LIMIT, ConnectionRegistry
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
_shown: Final = methodcaller("startswith", ("HTTP_", "REMOTE_", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING"))
"""Whether connections and the application's commands receive this key of a handshake's environ."""
_SORRY = "The server failed, although the request was valid; try again later."
_RETRY = ("Retry-After", "5")
_BEARER: Final = re.compile(r"bearer(?: +(.*))?", re.IGNORECASE | re.DOTALL)


class Requester(NamedTuple):
    """Who asks for a WebSocket, if known so far, and when the application was asked that (Unix time)."""

    user: User | None = None
    shown: Pass | None = None
    issued: float | None = None


class Upgraded(NamedTuple):
    """The socket of an admitted request, and the source that its connection is counted under."""

    taken: Taken
    source: str


class UpgradeHandler:
    """Handles the WebSocket requests of one chat, for all its endpoints and on any WSGI server.

    `connect` makes a Connection from number, socket, headers and trailing bytes. `admission` decides about
    those whom the hook `authenticate` does not know. May be called on any thread.
    """

    def __init__(
        self,
        hub: Hub,
        config: Config,
        hooks: Hooks,
        registry: ConnectionRegistry,
        connect: Callable[..., Connection],
        *,
        note_session: Callable[[Connection, Session], object] = lambda connection, session: None,
        admission: Admission = ANYBODY,
        calls: Calls = NO_CALLS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._hub = hub
        self._config = config
        self._hooks = hooks
        self._registry = registry
        self._connect = connect
        self._note_session = note_session
        self._admission = admission
        self._calls = calls
        self._clock = clock
        self._budgets = Budgets(config, clock)
        self._numbers = Numbers()
        self._proxies = Proxies(config.trusted_proxy)
        self.hosts = Hosts(config.allow_host, config.host, self._proxies)
        self._no_socket_logged = False

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self._numbers = Numbers()
        self._admission.leave_behind()
        self._budgets.leave_behind()

    def endpoint(self, dialect: Dialect) -> WSGIApplication:
        """A WSGI application for handshakes of one dialect."""
        return partial(self.receive, dialect)

    def receive(
        self, dialect: Dialect, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Refuses a handshake, or begins its session, which may run on this thread until it ends."""
        self._proxies.see_through(environ)
        answer = (
            self.hosts.refuse(environ)
            or refuse(environ, self._config.allowed_origins)
            or self._refuse_banned(environ)
            or self._authenticate(dialect, environ)
        )
        if isinstance(answer, Refusal):
            log_refusal(environ, answer.status, answer.body)
            return _turn_away(answer, environ, start_response)
        upgraded = self._take(environ)
        if isinstance(upgraded, Refusal):
            return _turn_away(upgraded, environ, start_response)
        headers = {name: environ[name] for name in filter(_shown, environ)}
        # The offer may hold a token, and the connection needs only the chosen subprotocol.
        if headers.pop(HEADER, "") and (chosen := choose(environ, self._config.accepted_subprotocols).name):
            headers[HEADER] = chosen
        self._begin(partial(self._run, dialect, upgraded, headers, answer), upgraded)
        return upgraded.taken.finish(start_response)

    def _refuse_banned(self, environ: dict[str, Any]) -> Refusal | None:
        ban = self._hub.sanctions.find(BAN, environ.get("REMOTE_ADDR", ""))
        if ban is None:
            return None
        return Refusal("403 Forbidden", f"{ban.sentence('Your address is')}.")

    def _authenticate(self, dialect: Dialect, environ: dict[str, Any]) -> Requester | Refusal:
        """Asks the application who it is; if the application does not know, reads the token."""
        hook, asked = self._hooks.authenticate, time()
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
            return Requester(user, issued=asked)
        return self._read_token(environ) or self._admit_unknown(dialect)

    def _read_token(self, environ: dict[str, Any]) -> Requester | Refusal | None:
        """Verifies the token in `Authorization: Bearer` (RFC 6750), or else in the subprotocols.

        Returns None if there is no token, or if the chat takes none.
        """
        tokens, found = self._admission.tokens, _BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        token = (found[1] or "").strip() if found else choose(environ, ()).token
        if tokens is None or token is None:
            return None
        try:
            shown = self._admission.verify(tokens, token, lambda it: it.note_request("token", environ))
        except BadToken as error:
            log.info("%s: a token was refused: %s", environ.get("REMOTE_ADDR", "-"), error)
            scheme = [("WWW-Authenticate", 'Bearer error="invalid_token"')]
            return Refusal("401 Unauthorized", "This token is not valid here; get another.", scheme)
        return Requester(shown.user, shown)

    def _admit_unknown(self, dialect: Dialect) -> Requester | Refusal:
        tokens = self._admission.tokens
        if self._admission.anonymous or (tokens is not None and getattr(dialect, "says_hello", False)):
            return Requester()
        # RFC 9110 section 15.5.2 requires a scheme, RFC 6750 section 3 a parameter for Bearer.
        scheme = "Session" if tokens is None else 'Bearer realm="threadchat"'
        sentence = "Log in first; the chat is for known users only."
        return Refusal("401 Unauthorized", sentence, [("WWW-Authenticate", scheme)])

    def _take(self, environ: dict[str, Any]) -> Upgraded | Refusal:
        source = self._admit(environ)
        if isinstance(source, Refusal):
            log_refusal(environ, source.status, source.body)
            return source
        try:
            return Upgraded(take_socket(environ), source)
        except BaseException as error:
            self._registry.give_back(source)
            if isinstance(error, NoSocket):
                self._log_no_socket(error, environ)
                return Refusal(error.status, f"{error}.")
            if isinstance(error, OSError):
                log.error("cannot take over a socket: %s", error)
                sentence = "The server cannot take another connection."
                return Refusal("503 Service Unavailable", sentence, [_RETRY])
            raise

    def _admit(self, environ: dict[str, Any]) -> str | Refusal:
        """Admits a connection and returns its source; `OVER_LIMIT` if its address has too many."""
        address = environ.get("REMOTE_ADDR", "")
        # This address is a trusted proxy's that named no client, so it stands for many people.
        source = "" if self._proxies.trusts(address) else counted_as(address)
        # Our own server counts its connections itself, and has already refused those above the limit.
        limit = 0 if HANDOVER in environ else self._config.max_connections
        denial = self._registry.admit(limit, source, self._config.max_connections_per_address)
        if denial is None:
            return source
        if denial.per_address and self._registry.admit(limit, OVER_LIMIT, MAX_OVER_LIMIT) is None:
            return OVER_LIMIT
        return Refusal("503 Service Unavailable", denial.sentence, [_RETRY])

    def _close_over_limit(self, connection: Connection) -> None:
        """Closes with a code that a page can read, and after which it does not reconnect."""
        limit = self._config.max_connections_per_address
        connection.close(CloseCode.CONNECTION_LIMIT, f"connection limit: at most {limit} from one address")
        connection.end_reading()

    def _log_no_socket(self, error: NoSocket, environ: dict[str, Any]) -> None:
        if not error.status.startswith("5"):
            log_refusal(environ, error.status, str(error))
            return
        level = logging.DEBUG if self._no_socket_logged else logging.ERROR  # an error only the first time
        log.log(level, "a WebSocket was refused: %s", error)
        self._no_socket_logged = True

    def _begin(self, run: Callable[[int], None], upgraded: Upgraded) -> None:
        taken = upgraded.taken
        number = self._numbers.take() if taken.number is None else taken.number
        if not taken.leaves_thread:
            run(number)
            return
        try:
            self._registry.start_reader(partial(self._run_apart, run, number), f"reader-{number}")
        except RuntimeError as error:  # the system has no more threads
            log.error("connection %d: cannot start a thread: %s", number, error)
            taken.sock.close()
            self._registry.give_back(upgraded.source)

    def _run_apart(self, run: Callable[[int], None], number: int) -> None:
        """Runs on: a reader thread of our own, on which nobody else catches exceptions."""
        try:
            run(number)
        except (ConnectionClosed, RuntimeError) as error:
            log.error("connection %d: %s", number, error)

    def _run(
        self, dialect: Dialect, upgraded: Upgraded, headers: dict[str, Any], requester: Requester, number: int
    ) -> None:
        """Runs on: the connection's reader thread."""
        taken, source = upgraded
        try:
            connection = self._connect(number, taken.sock, headers, taken.trailing)
        except BaseException as error:
            taken.sock.close()
            self._registry.give_back(source)
            if isinstance(error, ConnectionClosed) or is_thread_shortage(error):
                log.error("connection %d could not begin: %s", number, error)
                return
            raise
        self._registry.add(connection, source)
        if source == OVER_LIMIT:
            self._close_over_limit(connection)
            return
        identity = Identity(
            connection,
            self._hooks,
            requester.user,
            headers.get("REMOTE_ADDR", ""),
            admission=self._admission,
            shown=requester.shown,
            environ=headers if self._calls else None,
            issued=requester.issued,
        )
        session = dialect(
            connection,
            self._hub,
            self._config,
            identity=identity,
            calls=self._calls,
            budgets=self._budgets,
            clock=self._clock,
        )
        self._note_session(connection, session)
        session.run()


def _turn_away(refusal: Refusal, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    headers = refusal.headers
    if not shows_socket(environ):  # PEP 3333 forbids hop-by-hop headers, and wsgiref enforces it
        headers = [(name, value) for name, value in headers if name != "Upgrade"]
    return reply(start_response, refusal.status, refusal.body, *headers)
