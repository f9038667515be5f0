"""What the tests of the operators' doors share: requests without a server, connections that are none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from threadchat.errors import ConnectionClosed
from threadchat.server.session.statistics import Work
from threadchat.wire.connection import ConnectionState
from threadchat.wire.counters import ConnectionCounters

KEY = "key-of-the-tests"
Reply = tuple[int, dict[str, str], bytes]


def request(app: Callable[..., Any], path: str, method: str = "GET", body: bytes = b"", **more: str) -> Reply:
    """One request to a WSGI application: status, headers, body."""
    begun: list[Any] = []
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": "chat.example"}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **more}
    chunks = app(environ, lambda status, headers: begun.extend((status, headers)))
    return int(begun[0][:3]), dict(begun[1]), b"".join(chunks)


def post(app: Callable[..., Any], name: str, fields: object = None, **more: str) -> tuple[int, Any]:
    """A call with the key: status and what the JSON says."""
    body = json.dumps({} if fields is None else fields).encode()
    given = {"HTTP_X_API_KEY": KEY, "CONTENT_TYPE": "application/json", **more}
    status, headers, answer = request(app, f"/api/{name}", "POST", body, **given)
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    return status, json.loads(answer)


class FakeOutbox:
    """As much of an outbox as is looked at."""

    def __init__(self, messages: int = 0, size: int = 0, since: float | None = None) -> None:
        self.messages = messages
        self.bytes_waiting = size
        self.waiting_since = since

    def qsize(self) -> int:
        return self.messages


class FakeConnection:
    """As much of a connection as the statistics and the inspection look at."""

    def __init__(self, number: int, **counters: Any) -> None:
        self.number = number
        self.state = ConnectionState.IN_CHAT
        self.closed: ConnectionClosed | None = None
        self.outbox = FakeOutbox()
        self.keepalive = SimpleNamespace(asked_at=None)
        self.counters = ConnectionCounters()
        for name, value in counters.items():
            setattr(self.counters, name, value)


def session(user: int | None = 1, nickname: str = "ann", address: str = "192.0.2.1") -> Any:
    """As much of a session."""
    return SimpleNamespace(
        user=user, nickname=nickname, address=address, work=Work(), room_names=lambda: ["lobby"]
    )
