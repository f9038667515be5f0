"""One connection: reads its request, runs the application, then replies or hands over the socket."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIApplication

from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.http import response
from threadchat.server.http.certificates import secure
from threadchat.server.http.environ import make_environ
from threadchat.server.http.listener import tune
from threadchat.server.http.proxies import Proxies, bare_host, is_loopback
from threadchat.server.http.request import BODY_BYTES, PeerGone, RequestError, RequestReader
from threadchat.server.http.response import Response
from threadchat.wire.transport import Socket

logger = logging.getLogger(__name__)
logger.addFilter(LogRateLimit())

HANDOVER = "threadchat.handover"  # a key of the environ
LINGER_SECONDS = 1.0  # at most; never longer than the time for a whole request
HSTS = ("Strict-Transport-Security", "max-age=31536000")
"""For a year, browsers use only TLS for this host (RFC 6797). Not sent to loopback names."""
NO_PROXIES = Proxies()

_SPEAK_TLS = Response.error(HTTPStatus.BAD_REQUEST, "This port requires TLS; use https:// or wss://.")


class Handover:
    """An object in the environ with which an application can take over the connection.

    `target` and `headers` are those of the request, exactly as sent; `take` drops `headers`.
    """

    def __init__(
        self,
        http_connection: HttpConnection,
        number: int,
        target: str = "/",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._http_connection = http_connection
        self.number = number
        self.target = target
        self.headers = headers

    def take(self) -> tuple[Socket, bytes]:
        """Return the connected, blocking socket without a timeout, and the bytes that followed the request.

        With TLS, it is a TlsSocket. From now on only the caller uses the socket and closes it, and the server
        sends no reply. Call it once, on the connection's own thread; a second call raises RuntimeError.
        """
        self.headers = ()  # frees their memory: the connection may live for hours
        return self._http_connection.hand_over()


class HttpConnection:
    """One request and its reply on one accepted socket.

    `release` is called once, before the socket is handed over or closed. After that its file descriptor may
    be reused, so `release` must remove the socket from all lists. `proxies` are the trusted proxies. With
    `tls`, the peer must use TLS. `max_body` and `throttle` are as for RequestReader.
    """

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        *,
        timeout: float,
        clock: Callable[[], float],
        release: Callable[[], None],
        proxies: Proxies = NO_PROXIES,
        tls: ssl.SSLContext | None = None,
        max_body: int = BODY_BYTES,
        throttle: AbstractContextManager[object] = nullcontext(),  # noqa: B008  # it has no state
    ) -> None:
        self._sock: Socket | None = sock
        self._raw = sock
        self._proxies = proxies
        self._tls = tls
        self._max_body = max_body
        self._throttle = throttle
        self._number = number
        self._timeout = timeout
        self._clock = clock
        self._release = release
        self._trailing = b""
        self._head_only = False

    def run(self, application: WSGIApplication, server: dict[str, Any], peer: Any) -> None:
        """Serve the connection to its end. Runs on: the connection's own thread. Raises nothing.

        `server` and `peer` are as for `make_environ`. The request's deadline counts from now, because a
        thread that begins late is not the peer's fault.
        """
        deadline = self._clock() + self._timeout
        try:
            tune(self._raw)
            reply = self._secure(deadline) or self._answer(application, server, peer, deadline)
            if reply is not None and self._sock is not None:
                self._sock.settimeout(self._timeout)
                self._sock.sendall(reply)
                response.linger(self._sock, min(LINGER_SECONDS, self._timeout), self._clock)
        except (PeerGone, OSError) as error:
            logger.debug("http-%d: the peer is gone: %s", self._number, error)
        finally:
            if self._sock is not None:
                self._release()
                self._sock.close()

    def hand_over(self) -> tuple[Socket, bytes]:
        """See `Handover.take`."""
        sock, trailing = self._sock, self._trailing
        if sock is None:
            raise RuntimeError("the connection was taken over already; there is only one socket")
        self._release()
        self._sock, self._trailing = None, b""
        sock.settimeout(None)
        return sock, trailing

    def _secure(self, deadline: float) -> bytes | None:
        """Do the TLS handshake if TLS is configured; returns the reply for a peer that does not use TLS."""
        if self._tls is None:
            return None
        secured = secure(self._raw, self._tls, deadline, self._clock)
        if secured is None:
            return _SPEAK_TLS.encode()
        self._sock = secured
        return None

    def _answer(
        self, application: WSGIApplication, server: dict[str, Any], peer: Any, deadline: float
    ) -> bytes | None:
        """The bytes of the reply; None if the application took over the socket."""
        assert self._sock is not None
        reader = RequestReader(
            self._sock, deadline, self._clock, max_body=self._max_body, throttle=self._throttle
        )
        try:
            request = reader.read()
        except RequestError as error:
            logger.debug("http-%d: refused: %s", self._number, error)
            return Response.error(error.status, error.sentence).encode(head_only=reader.asked_for_head)
        self._trailing = request.trailing
        self._head_only = request.method == "HEAD"
        environ = make_environ(request, server, peer)
        self._proxies.see_through(environ)
        environ[HANDOVER] = Handover(self, self._number, request.target, request.headers)
        del reader, request  # frees their memory: a session may run for hours in the call below
        return self._run_application(application, environ)

    def _run_application(self, application: WSGIApplication, environ: dict[str, Any]) -> bytes | None:
        try:
            reply = response.run(application, environ)
            if reply is not None:
                if self._tls is not None and not is_loopback(bare_host(environ.get("HTTP_HOST", ""))):
                    reply.add(HSTS)
                return reply.encode(head_only=self._head_only)
            if self._sock is None:
                return None
            raise RuntimeError("the application neither replied nor took over the connection")
        except PeerGone:
            raise
        except RequestError as error:  # of its body, which the application was reading
            logger.debug("http-%d: refused: %s", self._number, error)
            return Response.error(error.status, error.sentence).encode(head_only=self._head_only)
        except Exception:
            logger.exception("http-%d: the application failed", self._number)
            apology = (
                "The server failed to handle this request because of an internal error; try again later."
            )
            failed = Response.error(HTTPStatus.INTERNAL_SERVER_ERROR, apology)
            return failed.encode(head_only=self._head_only)
