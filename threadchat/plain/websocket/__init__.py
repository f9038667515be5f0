"""A client with the interface of websocket-client: `from threadchat.plain import websocket`."""

from __future__ import annotations

from threadchat.plain.websocket.app import WebSocketApp
from threadchat.plain.websocket.connection import WebSocket, create_connection
from threadchat.plain.websocket.exceptions import (
    ABNF,
    WebSocketAddressException,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketProtocolException,
    WebSocketProxyException,
    WebSocketTimeoutException,
)

__all__ = [
    "ABNF",
    "WebSocket",
    "WebSocketAddressException",
    "WebSocketApp",
    "WebSocketBadStatusException",
    "WebSocketConnectionClosedException",
    "WebSocketException",
    "WebSocketProtocolException",
    "WebSocketProxyException",
    "WebSocketTimeoutException",
    "create_connection",
]
