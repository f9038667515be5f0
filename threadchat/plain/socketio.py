"""Lets python-engineio, and so Flask-SocketIO and python-socketio, use the connections of this package."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from wsgiref.types import StartResponse

from threadchat.errors import ConfigError
from threadchat.plain.own_thread import OwnThread
from threadchat.plain.simple_websocket import ConnectionClosed, Server

KNOWN: Final = ((4, 9), (5, 0))
"""The versions of python-engineio that this is for: from the first, and below the second."""


def use_threadchat(socketio: Any, app: Any = None, *, path: str = "/socket.io", **options: Any) -> None:
    """Lets a Socket.IO server use the WebSockets of this package, with bounded outboxes and one writer each.

    `socketio` is a flask_socketio.SocketIO, a socketio.Server or an engineio.Server in threading mode. `app`
    is the Flask application that it belongs to. Under gunicorn, its WebSockets below `path` then leave the
    worker's threads. Wrap any other WSGI application in an OwnThread. `options` are those of
    `threadchat.plain.simple_websocket.Server`; by default, the server's `max_http_buffer_size` limits
    messages.

    Call it once, before the first client connects. It changes only this server. Raises ConfigError if
    python-engineio has another version, or its server is not in threading mode.
    """
    server = _engineio_server(socketio)
    _check_version()
    if getattr(server, "async_mode", None) != "threading" or "websocket" not in (server._async or {}):
        raise ConfigError(
            f"async_mode={getattr(server, 'async_mode', None)!r}: must be 'threading', "
            "SocketIO(app, async_mode='threading')"
        )

    def connection(handler: Callable[[Any], object], _: Any, **more: Any) -> _Connection:
        size = {"max_message_size": getattr(server, "max_http_buffer_size", None)}
        return _Connection(handler, {**size, **more, **options})

    server._async = {**server._async, "websocket": connection}
    if app is not None:
        prefix = f"{path.rstrip('/')}/"
        app.wsgi_app = OwnThread(
            app.wsgi_app, lambda environ: str(environ.get("PATH_INFO", "")).startswith(prefix)
        )


class _Connection:
    """A WebSocket with the interface that python-engineio uses."""

    ws: Server

    def __init__(self, handler: Callable[[Any], object], options: dict[str, Any]) -> None:
        self._handler = handler
        self._options = options

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Runs on: the request's thread, for as long as the connection lives."""
        self.ws = Server(environ, **self._options)
        self._handler(self)
        return []

    def send(self, message: str | bytes) -> None:
        """Raises OSError once it is closed."""
        try:
            self.ws.send(message)
        except ConnectionClosed as error:
            raise OSError(str(error)) from error

    def wait(self) -> str | bytes | None:
        """Returns the next message; None after the connection is closed."""
        try:
            return self.ws.receive()
        except ConnectionClosed:
            return None

    def close(self) -> None:
        """Closes the connection, if it is open."""
        if self.ws.connected:
            self.ws.threaded.close(1000, "")


def _engineio_server(given: Any) -> Any:
    """The engineio.Server of any of the three kinds of server."""
    found = getattr(given, "server", given)  # of flask_socketio.SocketIO
    found = getattr(found, "eio", found)  # of socketio.Server
    if not hasattr(found, "_async"):
        raise ConfigError(f"{given!r:.60}: must be a Socket.IO or Engine.IO server that has its application")
    return found


def _check_version() -> None:
    try:
        installed = version("python-engineio")
    except PackageNotFoundError as error:
        raise ConfigError("python-engineio is not installed") from error
    parts = tuple(int(part) for part in installed.split(".")[:2])
    if not KNOWN[0] <= parts < KNOWN[1]:
        least, below = (".".join(map(str, it)) for it in KNOWN)
        raise ConfigError(f"python-engineio {installed}: from {least} and below {below} is known")
