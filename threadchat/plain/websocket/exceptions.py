"""The exceptions of websocket-client, and the kinds of frames."""

from __future__ import annotations

from typing import Final

from threadchat.errors import ThreadchatError
from threadchat.wire.protocol.frames import BINARY, CLOSE, PING, PONG, TEXT


class ABNF:
    """The kinds of frames."""

    OPCODE_TEXT: Final = TEXT
    OPCODE_BINARY: Final = BINARY
    OPCODE_CLOSE: Final = CLOSE
    OPCODE_PING: Final = PING
    OPCODE_PONG: Final = PONG


class WebSocketException(ThreadchatError):
    """The base class of the exceptions in this module."""


class WebSocketProtocolException(WebSocketException):
    """A frame that is to be sent would break the protocol."""


class WebSocketConnectionClosedException(WebSocketException):
    """The connection is closed, or was lost."""


class WebSocketTimeoutException(WebSocketException, TimeoutError):
    """Nothing arrived in time."""


class WebSocketAddressException(WebSocketException):
    """The name of the host cannot be looked up."""


class WebSocketProxyException(WebSocketException):
    """The proxy refused the connection."""


class WebSocketBadStatusException(WebSocketException):
    """The server answered with another status than 101."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        super().__init__(f"Handshake status {status}: {body:.200}")
        self.status_code = status
        self.resp_headers = {name.lower(): value for name, value in headers}
        self.resp_body = body.encode()
