"""Decides whether a request of `serve` gets a WebSocket, and with which subprotocol."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from threadchat.callbacks import check_callback, is_unrun
from threadchat.errors import ConfigError
from threadchat.plain.connection import WebSocket
from threadchat.plain.http import SOFTWARE, Headers, Request, Response
from threadchat.plain.websockets.exceptions import NegotiationError, installed
from threadchat.plain.websockets.protocol import Side
from threadchat.server.http.handshake import refuse, upgrade_requested

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_FAILED: Final = "Failed to open a WebSocket connection.\nSee the server's log for more information.\n"
_ANYBODY: Final = frozenset("*")
_NO_AGREEMENT: Final[tuple[type[Exception], ...]] = (
    ValueError,
    NegotiationError,
    *installed("NegotiationError"),
)

Origins = Sequence[str | re.Pattern[str] | None]


class ServerConnection(WebSocket):
    """The server's side of a connection, which a handler gets.

    `process_request` gets it before it is open, when only `request`, `id`, `logger`, `server` and `respond`
    may be used. The handler gets the same object, with the attributes that were set on it.
    """

    side = Side.SERVER

    server: Any = None
    """The server that it came from."""

    username: str
    """Who showed a password, where `basic_auth` asked for one."""

    def respond(self, status: int, text: str) -> Response:
        """A plain-text response that `process_request` can change and return."""
        return Response.plain(status, text)


ProcessRequest = Callable[[ServerConnection, Request], Any]
ProcessResponse = Callable[[ServerConnection, Request, Response], Any]
SelectSubprotocol = Callable[[ServerConnection, Sequence[str]], str | None]


class HandshakePolicy:
    """What a server's options require of a request. Any thread may use it. Raises ConfigError."""

    def __init__(
        self,
        *,
        origins: Origins | None,
        subprotocols: Sequence[str] | None,
        select_subprotocol: SelectSubprotocol | None,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None = None,
        server_header: str | None = SOFTWARE,
        logger: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        for name, value in (("origins", origins), ("subprotocols", subprotocols)):
            if isinstance(value, str):
                raise ConfigError(f"{name}={value!r}: must be a list, such as [{value!r}]")
        if select_subprotocol is not None:
            check_callback("select_subprotocol", select_subprotocol, ("connection", "offered"))
        if process_request is not None:
            check_callback("process_request", process_request, ("connection", "request"))
        self._origins = origins
        self._subprotocols = list(subprotocols or ())
        self._select = select_subprotocol or self._first_of_ours
        self._process_request = process_request
        self._process_response = process_response
        self._server_header = server_header
        self._log = logger

    def judge(self, connection: ServerConnection, environ: dict[str, Any]) -> Response | None:
        """The response that refuses a request; None if it gets a WebSocket."""
        if self._process_request is not None:
            try:
                answer = self._process_request(connection, connection.request)
                if answer is not None and (is_unrun(answer) or not hasattr(answer, "status_code")):
                    raise TypeError(f"it returned a {type(answer).__name__}, not a response or None")
            except Exception:
                self._log.exception("process_request failed")
                return Response.plain(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED)
            if answer is not None:
                return response_like(answer)
        if not upgrade_requested(environ) or "upgrade" not in environ.get("HTTP_CONNECTION", "").lower():
            sentence = "This is a WebSocket server; connect with a WebSocket client, not with plain HTTP.\n"
            response = Response.plain(HTTPStatus.UPGRADE_REQUIRED, sentence)
            response.headers["Upgrade"] = "websocket"
            return response
        refusal = refuse(environ, _ANYBODY)
        if refusal is not None:
            response = Response.plain(int(refusal.status[:3]), f"{refusal.body}\n")
            response.headers.update(refusal.headers)
            return response
        if not self._lets_in(connection.request.headers.get_all("Origin")):
            sentence = "Pages of this origin may not connect; the server's `origins` would have to list it.\n"
            return Response.plain(HTTPStatus.FORBIDDEN, sentence)
        return None

    def subprotocol(self, connection: ServerConnection) -> list[str] | Response:
        """The subprotocol to use with this peer, or None; or the response if there is no acceptable one."""
        named = ",".join(connection.request.headers.get_all("Sec-WebSocket-Protocol"))
        offered = [name.strip() for name in named.split(",") if name.strip()]
        try:
            chosen = self._select(connection, offered)
            if chosen is not None and (is_unrun(chosen) or not isinstance(chosen, str)):
                raise TypeError(f"it returned a {type(chosen).__name__}, not a subprotocol or None")
        except _NO_AGREEMENT as error:
            sentence = f"Failed to open a WebSocket connection: {error}.\n"
            return Response.plain(HTTPStatus.BAD_REQUEST, sentence)
        except Exception:
            self._log.exception("select_subprotocol failed")
            return Response.plain(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED)
        return [] if chosen is None else [chosen]

    def accept(self, connection: ServerConnection, subprotocol: str | None, extensions: str) -> Response:
        """The response to a valid handshake, after `process_response`."""
        return self.last_word(connection, accepted(connection.request, subprotocol, extensions))

    def last_word(self, connection: ServerConnection, response: Response) -> Response:
        """`response`, or what `process_response` returns instead."""
        if self._server_header is not None:
            response.headers["Server"] = self._server_header
        if self._process_response is None:
            return response
        try:
            answer = self._process_response(connection, connection.request, response)
        except Exception:
            self._log.exception("process_response failed")
            return Response.plain(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED)
        return response if answer is None else response_like(answer)

    def _first_of_ours(self, connection: ServerConnection, offered: Sequence[str]) -> str | None:
        """Chooses as `websockets` does: a server with subprotocols refuses a client without a common one."""
        if not self._subprotocols:
            return None
        for name in self._subprotocols:
            if name in offered:
                return name
        ours = ", ".join(self._subprotocols)
        raise NegotiationError(f"no subprotocol in common; Sec-WebSocket-Protocol has to name one of: {ours}")

    def _lets_in(self, origins: list[str]) -> bool:
        if self._origins is None:
            return True
        origin = origins[0] if origins else None
        return any(_is(origin, known) for known in self._origins)


def _is(origin: str | None, known: str | re.Pattern[str] | None) -> bool:
    if isinstance(known, re.Pattern):
        return origin is not None and known.fullmatch(origin) is not None
    return origin == known


def response_like(answer: Any) -> Response:
    """A response of ours, of `websockets`, or of anything with the same attributes."""
    if isinstance(answer, Response):
        return answer
    lines: Iterable[tuple[str, str]] = answer.headers.raw_items()
    return Response(answer.status_code, answer.reason_phrase, Headers(lines), bytes(answer.body))


def accepted(request: Request, subprotocol: str | None, extensions: str = "") -> Response:
    """The response that has opened a connection (RFC 6455 4.2.2)."""
    key = request.headers["Sec-WebSocket-Key"].encode("latin-1")
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    headers = Headers({"Date": formatdate(usegmt=True), "Upgrade": "websocket", "Connection": "Upgrade"})
    headers["Sec-WebSocket-Accept"] = base64.b64encode(digest).decode()
    if extensions:
        headers["Sec-WebSocket-Extensions"] = extensions
    if subprotocol is not None:
        headers["Sec-WebSocket-Protocol"] = subprotocol
    return Response(101, "Switching Protocols", headers)
