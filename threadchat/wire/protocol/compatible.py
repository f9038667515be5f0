"""Errors that are simple-websocket's too, so that programs written for it catch them as they are."""

from __future__ import annotations

from simple_websocket import ConnectionClosed as _TheirClosed
from simple_websocket import ConnectionError as _TheirError

from threadchat.errors import ConnectionClosed, ThreadchatError


class SimpleConnectionClosed(ConnectionClosed, _TheirClosed):  # type: ignore[misc]
    """The end of a connection in the words of simple-websocket: `reason` is the code, `message` the text."""

    reason: int  # type: ignore[assignment]  # text in our own, the code there

    def __init__(self, code: int, message: str | None = None) -> None:
        ConnectionClosed.__init__(self, code, message or "")
        self.reason = self.code
        self.message = message


class SimpleConnectionError(ThreadchatError, _TheirError):  # type: ignore[misc]
    """No WebSocket came about; `status_code` is the HTTP status that goes with it, `text` says why.

    `headers` belong to an answer with that status.
    """

    def __init__(self, status_code: int, text: str, headers: list[tuple[str, str]] | None = None) -> None:
        Exception.__init__(self, text)
        self.status_code = status_code
        self.text = text
        self.headers = headers or []
