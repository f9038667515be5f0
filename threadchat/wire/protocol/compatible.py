"""Errors that are also simple-websocket's, so that programs written for it catch them unchanged."""

from __future__ import annotations

from simple_websocket import ConnectionClosed as TheirConnectionClosed
from simple_websocket import ConnectionError as _TheirError

from threadchat.errors import CloseCode, ConnectionClosed, ThreadchatError

__all__ = ["SimpleConnectionClosed", "SimpleConnectionError", "TheirConnectionClosed"]


class SimpleConnectionClosed(ConnectionClosed, TheirConnectionClosed):  # type: ignore[misc]
    """The connection is closed. As in simple-websocket, `reason` is the code and `message` the text."""

    reason: int  # type: ignore[assignment]  # text in our class, the code in theirs

    def __init__(self, reason: int = CloseCode.NO_STATUS, message: str | None = None) -> None:
        Exception.__init__(self, f"Connection closed: {int(reason)} {message or ''}")
        self.code = self.reason = int(reason)
        self.message = message


class SimpleConnectionError(ThreadchatError, _TheirError):  # type: ignore[misc]
    """The handshake failed; `text` says why. `status_code` and `headers` belong in the HTTP response."""

    def __init__(
        self, status_code: int | None = None, text: str = "", headers: list[tuple[str, str]] | None = None
    ) -> None:
        Exception.__init__(self, f"Connection error: {status_code} {text}".rstrip())
        self.status_code = status_code
        self.text = text
        self.headers = headers or []
