"""Decides whether a request asks for a WebSocket, and whether it may open one; no I/O."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from threadchat.server.http.proxies import SCHEME

VERSION = "13"  # RFC 6455 section 4.1; the only standardised version
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[^\]\s]+\]|[^\s:/?#@,]+)(?::(?P<port>[0-9]{1,5}))?")
_HOST = re.compile(r"(?P<host>\[[^\]\s]+\]|[^\s:/?#@,]+)(?::(?P<port>[0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP reply to an upgrade that is refused; `body` is one sentence for people."""

    status: str
    body: str
    headers: list[tuple[str, str]] = field(default_factory=list)


_PLAIN_HEADERS = ("HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_PROTOCOL")


def upgrade_requested(environ: dict[str, Any]) -> bool:
    """Whether the request is meant as a WebSocket handshake, valid or not.

    An `Upgrade` header without a key and a version does not count, because simple proxy configurations add
    that header to every request.
    """
    return "websocket" in _tokens(environ, "HTTP_UPGRADE") and (
        "HTTP_SEC_WEBSOCKET_KEY" in environ or "HTTP_SEC_WEBSOCKET_VERSION" in environ
    )


UPGRADE_LOST = (
    "Sec-WebSocket-Key came without 'Upgrade: websocket'; a proxy in between must forward that header."
)


def upgrade_lost(environ: dict[str, Any]) -> bool:
    """Whether a proxy removed the `Upgrade` header of a WebSocket handshake: the key came without it."""
    return "HTTP_SEC_WEBSOCKET_KEY" in environ and not upgrade_requested(environ)


def is_own_page(environ: dict[str, Any]) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    return _is_allowed(environ, ())


def refuse(environ: dict[str, Any], allow_origin: Collection[str] = ()) -> Refusal | None:
    """The reason to refuse a handshake (RFC 6455 section 4.2.1); None if it is acceptable.

    `allow_origin` lists the origins, such as `https://chat.example`, that may connect in addition to the
    server's own. `null` is the origin of a local file or a sandboxed frame, and `*` allows every origin.
    """
    return (
        _refuse_form(environ)
        or _refuse_body(environ)
        or _refuse_letters(environ)
        or _refuse_origin(environ, allow_origin)
    )


def _refuse_form(environ: dict[str, Any]) -> Refusal | None:
    if environ.get("REQUEST_METHOD") != "GET":
        return Refusal("405 Method Not Allowed", "A WebSocket is opened with GET.", [("Allow", "GET")])
    if environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return Refusal("400 Bad Request", "A WebSocket needs HTTP/1.1; a proxy in between may use HTTP/1.0.")
    if "upgrade" not in _tokens(environ, "HTTP_CONNECTION"):
        return Refusal(
            "400 Bad Request", "The header 'Connection: Upgrade' is missing; send it with 'Upgrade'."
        )
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        return Refusal(
            "426 Upgrade Required",
            f"This server supports only version {VERSION} of the WebSocket protocol; ask for that.",
            [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)],
        )
    if not _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        return Refusal(
            "400 Bad Request",
            "Sec-WebSocket-Key is missing, repeated or malformed; send 16 random bytes in base64, once.",
        )
    return None


def _refuse_body(environ: dict[str, Any]) -> Refusal | None:
    """Only frames may follow a handshake: a proxy and this server could disagree where a body ends."""
    if environ.get("CONTENT_LENGTH", "") in ("", "0"):
        return None
    return Refusal("400 Bad Request", "A request for a WebSocket must not have a body; send it without one.")


def _refuse_letters(environ: dict[str, Any]) -> Refusal | None:
    if "".join([environ.get(name, "") for name in _PLAIN_HEADERS]).isascii():
        return None
    return Refusal(
        "400 Bad Request", "Connection, Upgrade and Sec-WebSocket-Protocol must contain ASCII only."
    )


def _refuse_origin(environ: dict[str, Any], allow_origin: Collection[str]) -> Refusal | None:
    if _is_allowed(environ, allow_origin):
        return None
    sentence = "Pages of this origin may not connect; to allow them, add the origin to allow_origin."
    return Refusal("403 Forbidden", sentence)


def _tokens(environ: dict[str, Any], name: str) -> list[str]:
    """The members of a list header, in lower case."""
    return [token.strip(" \t").lower() for token in environ.get(name, "").split(",")]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False


def _is_allowed(environ: dict[str, Any], allow_origin: Collection[str]) -> bool:
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or "*" in allow_origin:
        return True  # without Origin it is not a browser, and only a browser can act for somebody else
    if origin.lower() in (allowed.lower() for allowed in allow_origin):
        return True
    parsed = _parse_origin(origin)
    if parsed is None:
        return False  # above all "null", which is allowed only if it is listed
    return _is_addressed(parsed, environ) or parsed in map(_parse_origin, allow_origin)


def _parse_origin(text: str) -> tuple[str, str, int] | None:
    """The scheme, host and port; None for anything but a web origin."""
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        return None
    return match["scheme"], match["host"], int(match["port"] or _DEFAULT_PORTS[match["scheme"]])


def _is_addressed(origin: tuple[str, str, int], environ: dict[str, Any]) -> bool:
    """Whether `origin` is the server that the request is addressed to.

    The scheme must match if it is known: this server speaks TLS, or a trusted proxy has named the scheme.
    Otherwise a proxy may terminate TLS, so that the server sees http and the browser sees https; therefore a
    host without a port means the default port of the origin's scheme, not of the server's.
    """
    scheme, host, port = origin
    known = "https" if environ.get("wsgi.url_scheme") == "https" else environ.get(SCHEME, scheme)
    match = _HOST.fullmatch(environ.get("HTTP_HOST", "").lower())
    if match is None or scheme != known:
        return False
    return (match["host"], int(match["port"] or _DEFAULT_PORTS[scheme])) == (host, port)
