"""Mounts the chat in a WSGI application: one path for WebSockets, and paths for files below it."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.errors import ConfigError
from threadchat.server.http.handshake import upgrade_lost, upgrade_requested
from threadchat.server.http.replies import reply
from threadchat.server.http.routes import ask_for_upgrade
from threadchat.server.http.socket_takeover import shows_socket
from threadchat.server.http.static import Resource, read_client

log = logging.getLogger(__name__)

_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class Mount:
    """A WSGI application that answers its own paths and passes other requests to the one it wraps.

    The JavaScript client is at `path/threadchat.js`. With `page` (see `read_page`), the page's files are
    below `path/`, and WebSockets are also served at `path/chat`, where the page connects. `operators` returns
    the application for another path below `path`; it is called with the rest of that path. All paths are
    relative to the wrapped application, below any SCRIPT_NAME. `alone` says that processes share nothing, so
    that a server with several processes is worth a warning.
    """

    def __init__(
        self,
        app: WSGIApplication,
        path: str,
        endpoint: WSGIApplication,
        page: Mapping[str, Resource] | None = None,
        *,
        operators: Callable[[str], WSGIApplication | None] | None = None,
        alone: bool = True,
    ) -> None:
        """Raises ConfigError for an invalid path, and if `app` is not a WSGI application."""
        if not callable(app):
            raise ConfigError(
                f"app={app!r:.60} cannot be called; give a WSGI application, such as app.wsgi_app"
            )
        if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
            raise ConfigError(
                f"app={app!r:.60} is an ASGI application, and a chat is mounted in WSGI ones only; "
                "give the chat a port of its own instead: chat.listen(port)"
            )
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ConfigError(
                f"path={path!r:.60} must look like /chat: one or more parts, each after a slash"
            )
        self._app = app
        self._path = path
        self._endpoint = endpoint
        files = {**read_client(), **(page or {})}
        self._files = {path + name: resource for name, resource in files.items()}
        self._has_page = page is not None
        self._sockets = {path} if page is None else {path, f"{path}/chat"}
        self._operators = operators
        self._look_for_siblings = alone

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Raises ConfigError if the wrapped application calls this one. Runs on: any thread of the server."""
        if getattr(self._app, "wsgi_app", None) is self:
            raise ConfigError(
                "the chat is mounted in itself, in a circle: write app.wsgi_app = chat.mount(app.wsgi_app)"
            )
        if self._look_for_siblings:
            self._look_for_siblings = False
            self._warn_of_siblings(environ)
        path: str = environ.get("PATH_INFO", "")
        operators = self._find_operators(path)
        if operators is not None:
            body = operators({**environ, "PATH_INFO": path.removeprefix(self._path)}, start_response)
        elif path in self._sockets or path in self._files:
            body = self._answer(path, environ, start_response)
        else:
            return self._app(environ, start_response)
        # Some servers would send the body, and the client would read it as the next response.
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    def _find_operators(self, path: str) -> WSGIApplication | None:
        if self._operators is None or not path.startswith(f"{self._path}/"):
            return None
        return self._operators(path.removeprefix(self._path))

    def _answer(self, path: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if path in self._sockets:
            if upgrade_requested(environ):
                return self._endpoint(environ, start_response)
            return self._without_upgrade(path, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return reply(start_response, "405 Method Not Allowed", "This is a file.", ("Allow", "GET, HEAD"))
        return self._files[path].serve(environ, start_response)

    def _without_upgrade(
        self, path: str, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        if not self._has_page or path != self._path or upgrade_lost(environ):
            whole = quote(environ.get("SCRIPT_NAME", "").encode("latin-1")) + path
            return ask_for_upgrade(whole, environ, start_response, hop_by_hop=shows_socket(environ))
        # The location is relative, so it is also right behind a proxy that removes a path prefix.
        there = f"./{path.rpartition('/')[2]}/"
        return reply(
            start_response, "308 Permanent Redirect", f"The page is at {there}.", ("Location", there)
        )

    def _warn_of_siblings(self, environ: dict[str, Any]) -> None:
        if environ.get("wsgi.multiprocess"):
            log.warning(
                "this server runs several processes, and each has its own chat: people connected to one do "
                "not meet those of another; run one process with more threads (gunicorn --workers 1 "
                "--threads 8), or share rooms through a broker (broker=redis://...)"
            )
