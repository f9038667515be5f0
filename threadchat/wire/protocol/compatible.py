"""Errors that are also simple-websocket's, so that programs written for it catch them unchanged."""

from __future__ import annotations

from simple_websocket import ConnectionClosed as _TheirClosed
from simple_websocket import ConnectionError as _TheirError

from threadchat.errors import ConnectionClosed, ThreadchatError


class SimpleConnectionClosed(ConnectionClosed, _TheirClosed):  # type: ignore[misc]
    """The connection is closed. As in simple-websocket, `reason` is the code and `message` the text."""

    reason: int  # type: ignore[assignment]  # text in our class, the code in theirs

    def __init__(self, code: int, message: str | None = None) -> None:
        ConnectionClosed.__init__(self, code, message or "")
        self.reason = self.code
        self.message = message


class SimpleConnectionError(ThreadchatError, _TheirError):  # type: ignore[misc]
    """The handshake failed; `text` says why. `status_code` and `headers` belong in the HTTP response."""

    def __init__(self, status_code: int, text: str, headers: list[tuple[str, str]] | None = None) -> None:
        Exception.__init__(self, text)
        self.status_code = status_code
        self.text = text
        self.headers = headers or []
