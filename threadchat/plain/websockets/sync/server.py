"""Serves WebSockets, by the names and with the defaults of `websockets.sync.server`."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from threadchat.plain import server as house
from threadchat.plain.handshake import ServerConnection
from threadchat.plain.http import Request, Response
from threadchat.plain.server import Server
from threadchat.plain.websockets.exceptions import InvalidHeader
from threadchat.plain.websockets.headers import (
    build_www_authenticate_basic,
    parse_authorization_basic,
    validate_subprotocols,
)
from threadchat.plain.websockets.sync.connection import broadcast

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

Handler = Callable[[ServerConnection], object]


def serve(handler: Handler, host: str | None = None, port: int | None = None, **named: Any) -> Server:
    """Like `threadchat.serve`, but with compression by default."""
    return house.serve(handler, host, port, **_defaults(named))


def unix_serve(handler: Handler, path: str | os.PathLike[str] | None = None, **named: Any) -> Server:
    """Like serve, on a Unix socket."""
    return house.unix_serve(handler, path, **_defaults(named))


def _defaults(named: dict[str, Any]) -> dict[str, Any]:
    validate_subprotocols(named.get("subprotocols") or [])
    found = {"compression": "deflate", "logger": logging.getLogger("websockets.server"), **named}
    found["logger"] = found["logger"] or logging.getLogger("websockets.server")
    return found


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], bool] | None = None,
) -> Callable[[ServerConnection, Request], Response | None]:
    """A `process_request` that asks for a user name and a password (RFC 7617).

    Either `credentials`, one pair or several, or `check_credentials(username, password)` decides who may
    connect. The connection then has the attribute `username`. Raises ValueError unless exactly one is given,
    and TypeError for something that is not a pair.
    """
    if (credentials is None) == (check_credentials is None):
        raise ValueError("provide either credentials or check_credentials")
    check = check_credentials or _checker(credentials)

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        try:
            username, password = parse_authorization_basic(request.headers["Authorization"])
        except KeyError:
            return _refused(connection, "Missing credentials\n", realm)
        except InvalidHeader:
            return _refused(connection, "Unsupported credentials\n", realm)
        if not check(username, password):
            return _refused(connection, "Invalid credentials\n", realm)
        connection.username = username
        return None

    return process_request


def _checker(credentials: Any) -> Callable[[str, str], bool]:
    pairs = [credentials] if _is_pair(credentials) else list(credentials)
    if not all(_is_pair(pair) for pair in pairs):
        raise TypeError(f"invalid credentials argument: {credentials!r}")
    known = dict(pairs)

    def check(username: str, password: str) -> bool:
        expected = known.get(username)
        return expected is not None and hmac.compare_digest(expected.encode(), password.encode())

    return check


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _refused(connection: ServerConnection, text: str, realm: str) -> Response:
    response = connection.respond(HTTPStatus.UNAUTHORIZED, text)
    response.headers["WWW-Authenticate"] = build_www_authenticate_basic(realm)
    return response
