"""WebSockets in the shape of flask-sock: `from threadchat.plain.flask_sock import Sock` is enough."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from threadchat.callbacks import check_callback, is_unrun
from threadchat.errors import CloseCode
from threadchat.plain.own_thread import MAX_THREADS, OwnThread
from threadchat.plain.simple_websocket import ConnectionClosed, ConnectionError, Server
from threadchat.wire.protocol.compatible import TheirConnectionClosed

Handler = Callable[..., object]

__all__ = ["ConnectionClosed", "Server", "Sock"]

_MARK = "_is_websocket"


class Sock:
    """Adds routes for WebSockets to a Flask application, as flask-sock does.

    `app.config["SOCK_SERVER_OPTIONS"]` is a dictionary with options of
    `threadchat.plain.simple_websocket.Server`. Under gunicorn, a handler runs on a thread of its own, within
    the context of its request, from `before_request` to teardown. So the worker's threads stay free.
    `"leaves_thread": False` keeps handlers on the worker's threads. `"max_connections"` (2000; 0 for no
    limit) limits the handlers that have their own thread; above it, requests are answered 503.

    An invalid handshake is answered with a status, and the connection of a handler that raises an exception
    is closed (1011). A handler may raise ConnectionClosed, of this module or of simple-websocket.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self.app: Flask | None = None
        self.bp: Blueprint | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Registers the existing and future routes with `app`."""
        if self.bp is not None:
            app.register_blueprint(self.bp)
        self.app = app
        app.register_error_handler(ConnectionError, _answer)
        own_thread = OwnThread(app.wsgi_app, lambda environ: _leaves(app, environ, own_thread))
        app.wsgi_app = own_thread  # type: ignore[method-assign]

    def route(self, path: str, bp: Blueprint | None = None, **options: Any) -> Callable[[Handler], None]:
        """Decorates the handler of a path. It gets the connection, and then the variables of the path.

        `bp` is the blueprint of the route; `options` are those of `Flask.route`. Raises ConfigError for an
        async handler.
        """

        def decorate(handler: Handler) -> None:
            target: Any = bp or self.app
            if target is None:
                target = self.bp = self.bp or Blueprint("__flask_sock", __name__)
            target.route(path, **options, websocket=True)(_view(handler))

        return decorate


def _view(handler: Handler) -> Callable[..., Response]:
    check_callback("handler", handler)

    @wraps(handler)
    def view(*given: Any, **named: Any) -> Response:
        options = dict(current_app.config.get("SOCK_SERVER_OPTIONS") or {})
        for ours in ("leaves_thread", "max_connections"):
            options.pop(ours, None)
        ws = Server(request.environ, **options)
        try:
            if is_unrun(handler(ws, *given, **named)):
                raise TypeError("the handler returned a coroutine or a generator: its body did not run")
        except TheirConnectionClosed:
            pass
        except BaseException:
            ws.threaded.close(CloseCode.INTERNAL_ERROR)
            raise
        ws.threaded.close(CloseCode.NORMAL, "")
        return _Nothing(ws)

    setattr(view, _MARK, True)
    return view


class _Nothing(Response):
    """The return value of a view whose connection was taken over; it is sent to nobody."""

    def __init__(self, ws: Server) -> None:
        super().__init__()
        self._finish = ws.finish

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._finish(start_response)


def _leaves(app: Flask, environ: dict[str, Any], own_thread: OwnThread) -> bool:
    """Whether a request is for a WebSocket of this extension that gets its own thread."""
    options = app.config.get("SOCK_SERVER_OPTIONS") or {}
    if not options.get("leaves_thread", True):
        return False
    own_thread.max_threads = options.get("max_connections", MAX_THREADS)
    try:
        found, _ = _adapter(app, environ).match()
    except HTTPException:
        return False
    return hasattr(app.view_functions.get(found), _MARK)


def _adapter(app: Flask, environ: dict[str, Any]) -> MapAdapter:
    adapter = app.create_url_adapter(app.request_class(environ))
    assert adapter is not None, "there is one for every request"
    return adapter


def _answer(error: ConnectionError) -> tuple[str, int, list[tuple[str, str]]]:
    # Upgrade concerns one hop, and is not an application's to send (PEP 3333).
    lines = [(name, value) for name, value in error.headers if name != "Upgrade"]
    return (
        f"{error.text}\n",
        error.status_code or 400,
        [*lines, ("Content-Type", "text/plain; charset=utf-8")],
    )
