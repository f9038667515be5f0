"""Errors that are simple-websocket's too, so that programs written for it catch them as they are."""

from __future__ import annotations

from simple_websocket import ConnectionClosed as TheirConnectionClosed
from simple_websocket import ConnectionError as _TheirError

from threadchat.errors import CloseCode, ConnectionClosed, ThreadchatError

__all__ = ["SimpleConnectionClosed", "SimpleConnectionError", "TheirConnectionClosed"]


class SimpleConnectionClosed(ConnectionClosed, TheirConnectionClosed):  # type: ignore[misc]
    """The end of a connection in the words of simple-websocket: `reason` is the code, `message` the text."""

    reason: int  # type: ignore[assignment]  # text in our own, the code there

    def __init__(self, reason: int = CloseCode.NO_STATUS, message: str | None = None) -> None:
        Exception.__init__(self, f"Connection closed: {int(reason)} {message or ''}")
        self.code = self.reason = int(reason)
        self.message = message


class SimpleConnectionError(ThreadchatError, _TheirError):  # type: ignore[misc]
    """No WebSocket came about; `status_code` is the HTTP status that goes with it, `text` says why.

    `headers` belong to an answer with that status.
    """

    def __init__(
        self, status_code: int | None = None, text: str = "", headers: list[tuple[str, str]] | None = None
    ) -> None:
        Exception.__init__(self, f"Connection error: {status_code} {text}".rstrip())
        self.status_code = status_code
        self.text = text
        self.headers = headers or []
