"""Parses the address of a WebSocket server, with the names of `websockets.uri`."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from threadchat.plain.websockets.exceptions import InvalidURI

__all__ = ["WebSocketURI", "parse_uri"]


class WebSocketURI(NamedTuple):
    """The parts of an address."""

    secure: bool
    host: str
    port: int
    path: str
    query: str
    username: str | None = None
    password: str | None = None

    @property
    def resource_name(self) -> str:
        """The path and query of the request."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    @property
    def user_info(self) -> tuple[str, str] | None:
        """The user name and password in the address, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_uri(uri: str) -> WebSocketURI:
    """The parts of a ws:// or wss:// address (RFC 6455 3). Raises InvalidURI."""
    parts = urlsplit(uri)
    if parts.scheme not in ("ws", "wss"):
        raise InvalidURI(uri, "scheme isn't ws or wss")
    if not parts.hostname:
        raise InvalidURI(uri, "hostname isn't provided")
    if parts.fragment:
        raise InvalidURI(uri, "fragment identifier is meaningless")
    username, password = parts.username, parts.password
    if username is not None and password is None:
        raise InvalidURI(uri, "username provided without password")
    return WebSocketURI(
        parts.scheme == "wss",
        parts.hostname,
        parts.port or (443 if parts.scheme == "wss" else 80),
        parts.path,
        parts.query,
        None if username is None else unquote(username),
        None if password is None else unquote(password),
    )
