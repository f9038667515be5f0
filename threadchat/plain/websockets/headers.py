"""Builds and reads the headers of a handshake, by the names of `websockets.headers`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from threadchat.plain.websockets.exceptions import InvalidHeaderFormat, InvalidHeaderValue

__all__ = [
    "build_authorization_basic",
    "build_host",
    "build_subprotocol",
    "build_www_authenticate_basic",
    "parse_authorization_basic",
    "parse_connection",
    "parse_subprotocol",
    "parse_upgrade",
    "validate_subprotocols",
]

_TOKEN = re.compile(r"[-!#$%&\'*+.^_`|~0-9A-Za-z]+")
_TOKEN68 = re.compile(r"[A-Za-z0-9-._~+/]+=*")
_GAP = re.compile(r"[ \t]*")


def build_host(host: str, port: int, secure: bool, *, always_include_port: bool = False) -> str:
    """The value of Host; it contains the port unless that is the scheme's default."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if always_include_port or port != (443 if secure else 80) else shown


def build_subprotocol(subprotocols: Sequence[str]) -> str:
    """The value of Sec-WebSocket-Protocol."""
    return ", ".join(subprotocols)


def validate_subprotocols(subprotocols: Sequence[str]) -> None:
    """Raises TypeError unless it is a sequence of texts, and ValueError for an invalid name."""
    if isinstance(subprotocols, str) or not isinstance(subprotocols, Sequence):
        raise TypeError("subprotocols must be a list")
    for name in subprotocols:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"invalid subprotocol: {name}")


def build_authorization_basic(username: str, password: str) -> str:
    """The value of Authorization for a user name, which has no colon, and a password."""
    if ":" in username:
        raise ValueError("a user name for Basic authorization has no colon (RFC 7617 2)")
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def build_www_authenticate_basic(realm: str) -> str:
    """The value of WWW-Authenticate that asks for a user name and a password."""
    quoted = re.sub(r'(["\\])', r"\\\1", realm)
    return f'Basic realm="{quoted}", charset="UTF-8"'


def parse_authorization_basic(header: str) -> tuple[str, str]:
    """User name and password of Authorization. Raises InvalidHeaderFormat and InvalidHeaderValue."""
    name = "Authorization"
    scheme = _TOKEN.match(header)
    if scheme is None:
        raise InvalidHeaderFormat(name, "expected token", header, 0)
    if scheme[0].lower() != "basic":
        raise InvalidHeaderValue(name, f"unsupported scheme: {scheme[0]}")
    start = scheme.end() + 1
    if header[scheme.end() : start] != " " or not _TOKEN68.fullmatch(header, start):
        raise InvalidHeaderFormat(name, "expected token68", header, min(start, len(header)))
    try:
        both = base64.b64decode(header[start:].encode(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidHeaderValue(name, "expected base64-encoded credentials") from None
    username, colon, password = both.partition(":")
    if not colon:
        raise InvalidHeaderValue(name, "expected username:password credentials")
    return username, password


def parse_connection(header: str) -> list[str]:
    """The members of Connection. Raises InvalidHeaderFormat."""
    return _tokens(header, "Connection")


def parse_upgrade(header: str) -> list[str]:
    """The members of Upgrade. Raises InvalidHeaderFormat."""
    return _tokens(header, "Upgrade", re.compile(_TOKEN.pattern + r"(?:/[\w.-]+)?"))


def parse_subprotocol(header: str) -> list[str]:
    """The members of Sec-WebSocket-Protocol. Raises InvalidHeaderFormat."""
    return _tokens(header, "Sec-WebSocket-Protocol")


def _tokens(header: str, name: str, token: re.Pattern[str] = _TOKEN) -> list[str]:
    found: list[str] = []
    position = 0
    while True:
        position = _gap(header, position)
        if header[position : position + 1] == ",":
            position += 1  # an empty member is none (RFC 9110 5.6.1)
            continue
        if position == len(header) and found:
            return found
        match = token.match(header, position)
        if match is None:
            raise InvalidHeaderFormat(name, "expected token", header, position)
        found.append(match[0])
        position = _gap(header, match.end())
        if position == len(header):
            return found
        if header[position] != ",":
            raise InvalidHeaderFormat(name, "expected comma", header, position)


def _gap(header: str, position: int) -> int:
    match = _GAP.match(header, position)
    assert match is not None
    return match.end()
