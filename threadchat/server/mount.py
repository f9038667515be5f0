"""Mounts the chat in somebody else's WSGI application: a path for the socket, and those of files below it."""

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
    """A WSGI application: answers for its own paths, passes everything else on to the one it wraps.

    The browser's client is at `path/threadchat.js`. With `page` (see `read_page`) its files are below `path/`
    too, and so is a second way to the socket, `path/chat`, which is where the page looks for it. `operators`
    finds what answers at other paths below `path`, which it gets without that. Paths count from where the
    wrapped application is, below any SCRIPT_NAME. `alone`: nothing is shared between processes, so several
    are worth a warning.
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
        """Raises ConfigError for a path that cannot be one, and for what is no application."""
        if not callable(app):
            raise ConfigError(
                f"app={app!r:.60} cannot be called; give a WSGI application, such as app.wsgi_app"
            )
        if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
            raise ConfigError(
                f"app={app!r:.60} is an ASGI application, and a chat is mounted in WSGI ones; beside it "
                "the chat can have a port of its own: chat.listen(port)"
            )
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ConfigError(
                f"path={path!r:.60} must look like /chat: one or more parts, each behind a slash"
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
        """Raises ConfigError where it wraps what calls it. Runs on: any thread of the server's."""
        if getattr(self._app, "wsgi_app", None) is self:
            raise ConfigError(
                "the chat is mounted in itself, in a circle: write app.wsgi_app = chat.mount(app.wsgi_app)"
            )
        if self._look_for_siblings:
            self._look_for_siblings = False
            self._warn_of_siblings(environ)
        path: str = environ.get("PATH_INFO", "")
        door = self._find_door(path)
        if door is not None:
            body = door({**environ, "PATH_INFO": path.removeprefix(self._path)}, start_response)
        elif path in self._sockets or path in self._files:
            body = self._answer(path, environ, start_response)
        else:
            return self._app(environ, start_response)
        # Some servers would send it all the same, and the client take it for the next reply.
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    def _find_door(self, path: str) -> WSGIApplication | None:
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
        # Relative, so that it is right behind a proxy that has taken a prefix away, too.
        there = f"./{path.rpartition('/')[2]}/"
        return reply(
            start_response, "308 Permanent Redirect", f"The page is at {there}.", ("Location", there)
        )

    def _warn_of_siblings(self, environ: dict[str, Any]) -> None:
        if environ.get("wsgi.multiprocess"):
            log.warning(
                "this server runs several processes, and each would have a chat of its own: people in one do "
                "not meet those in another; run one process with more threads (gunicorn --workers 1 "
                "--threads 8), or share rooms by a broker (broker=redis://...)"
            )
