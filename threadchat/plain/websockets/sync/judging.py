"""Checks a server's response to a handshake; raises the exceptions of `websockets`."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from threadchat.plain.http import Request, Response
from threadchat.plain.websockets.exceptions import (
    InvalidHeader,
    InvalidHeaderValue,
    InvalidUpgrade,
    NegotiationError,
)
from threadchat.plain.websockets.headers import parse_connection, parse_upgrade

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


def check_answer(request: Request, response: Response) -> None:
    """Raises InvalidUpgrade, InvalidHeader or NegotiationError for a wrong 101 (RFC 6455 4.1)."""
    connection = response.headers.get_all("Connection")
    if not any(word.lower() == "upgrade" for line in connection for word in parse_connection(line)):
        raise InvalidUpgrade("Connection", ", ".join(connection) if connection else None)
    upgrade = response.headers.get_all("Upgrade")
    if [word.lower() for line in upgrade for word in parse_upgrade(line)] != ["websocket"]:
        raise InvalidUpgrade("Upgrade", ", ".join(upgrade) if upgrade else None)
    accept = _only(response, "Sec-WebSocket-Accept")
    key = request.headers["Sec-WebSocket-Key"].encode()
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    if accept != base64.b64encode(digest).decode():
        raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)
    _check_extensions(request, response)
    _check_subprotocol(request, response)


def _check_extensions(request: Request, response: Response) -> None:
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Extensions"))
    for extension in ",".join(response.headers.get_all("Sec-WebSocket-Extensions")).split(","):
        name = extension.partition(";")[0].strip()
        if name and not offered:
            raise NegotiationError("no extensions supported")
        if name and name not in [known.partition(";")[0].strip() for known in offered.split(",")]:
            raise NegotiationError(f"unsupported extension: {name}")


def _only(response: Response, name: str) -> str:
    values = response.headers.get_all(name)
    if not values:
        raise InvalidHeader(name)
    if len(values) > 1:
        raise InvalidHeader(name, "multiple values")
    return values[0]


def _check_subprotocol(request: Request, response: Response) -> None:
    chosen = response.headers.get_all("Sec-WebSocket-Protocol")
    if not chosen:
        return
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
    if not offered:
        raise NegotiationError("no subprotocols supported")
    if len(chosen) > 1:
        raise InvalidHeader("Sec-WebSocket-Protocol", f"multiple values: {', '.join(chosen)}")
    if chosen[0].strip() not in [name.strip() for name in offered.split(",")]:
        raise NegotiationError(f"unsupported subprotocol: {chosen[0].strip()}")
