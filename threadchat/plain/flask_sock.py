"""flask-sock itself, on threadchat's connections: `from threadchat.plain.flask_sock import Sock` is enough.

flask-sock looks up simple-websocket's two names in its own module when a request comes; importing this
module puts ours in their place, for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import flask_sock

from threadchat.errors import CloseCode
from threadchat.plain.simple_websocket import ConnectionClosed, ConnectionError, Server

Handler = Callable[..., None]

__all__ = ["ConnectionClosed", "Server", "Sock"]

flask_sock.Server = Server
flask_sock.ConnectionClosed = ConnectionClosed


class Sock(flask_sock.Sock):  # type: ignore[misc]  # it has no type hints
    """As flask-sock's, and more exact about failures.

    A request that is no good handshake gets its own status instead of 500; a handler that fails closes its
    connection (1011).
    """

    def init_app(self, app: Any) -> None:
        """As flask-sock's."""
        super().init_app(app)
        app.register_error_handler(ConnectionError, _answer)

    def route(self, path: str, bp: Any = None, **options: Any) -> Callable[[Handler], None]:
        """As flask-sock's."""
        register: Callable[[Handler], None] = super().route(path, bp, **options)
        return lambda handler: register(_closing(handler))


def _closing(handler: Handler) -> Handler:
    @wraps(handler)
    def closing(ws: Server, *given: Any, **named: Any) -> None:
        try:
            handler(ws, *given, **named)
        except ConnectionClosed:
            raise
        except Exception:
            ws.threaded.close(CloseCode.INTERNAL_ERROR)
            raise

    return closing


def _answer(error: ConnectionError) -> tuple[str, int, list[tuple[str, str]]]:
    # Upgrade concerns one hop, and is not an application's to send (PEP 3333).
    lines = [(name, value) for name, value in error.headers if name != "Upgrade"]
    return f"{error.text}\n", error.status_code, [*lines, ("Content-Type", "text/plain; charset=utf-8")]
