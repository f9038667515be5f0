"""Serves several handlers by the paths of a Werkzeug URL map, by the names of `websockets.sync.router`."""

from __future__ import annotations

import ssl as tls
import urllib.parse
from http import HTTPStatus
from typing import Any, Literal

from threadchat.plain.handshake import ServerConnection
from threadchat.plain.http import Request, Response
from threadchat.plain.server import Server
from threadchat.plain.websockets.sync.server import serve, unix_serve

__all__ = ["Router", "route", "unix_route"]


class Router:
    """Finds the handler of a request; `url_map` is a werkzeug.routing.Map whose endpoints are handlers."""

    def __init__(self, url_map: Any, server_name: str | None = None, url_scheme: str = "ws") -> None:
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in url_map.iter_rules():
            rule.websocket = True
        url_map._remap = True

    def route_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """For `process_request`: finds the handler, or answers with a redirect or 404."""
        from werkzeug.exceptions import NotFound
        from werkzeug.routing import RequestRedirect

        parts = urllib.parse.urlsplit(request.path)
        adapter = self.url_map.bind(
            self.server_name or request.headers.get("Host", "localhost"), url_scheme=self.url_scheme
        )
        try:
            handler, arguments = adapter.match(
                path_info=urllib.parse.unquote(parts.path), query_args=parts.query, websocket=True
            )
        except RequestRedirect as redirect:
            response = connection.respond(HTTPStatus.FOUND, f"Found at {redirect.new_url}")
            response.headers["Location"] = redirect.new_url
            return response
        except NotFound:
            return connection.respond(HTTPStatus.NOT_FOUND, "Not Found")
        found: Any = connection
        found.handler, found.handler_kwargs = handler, arguments
        return None

    def handler(self, connection: ServerConnection) -> object:
        """Calls the handler that was found."""
        found: Any = connection
        return found.handler(connection, **found.handler_kwargs)


def route(
    url_map: Any,
    *given: Any,
    server_name: str | None = None,
    ssl: tls.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    **named: Any,
) -> Server:
    """As serve, with a URL map in place of the handler; what its rules capture are further arguments.

    `server_name`: the host as clients see it; `ssl=True`: they speak TLS, to a proxy in front.
    """
    return _routed(
        serve,
        url_map,
        given,
        server_name=server_name,
        ssl=ssl,
        create_router=create_router,
        named=named,
    )


def unix_route(url_map: Any, path: str | None = None, **named: Any) -> Server:
    """As route, on a socket in the file system."""
    options = {name: named.pop(name, None) for name in ("server_name", "ssl", "create_router")}
    return _routed(unix_serve, url_map, (path,), named=named, **options)


def _routed(
    serve: Any,
    url_map: Any,
    given: tuple[Any, ...],
    *,
    server_name: str | None,
    ssl: tls.SSLContext | Literal[True] | None,
    create_router: type[Router] | None,
    named: dict[str, Any],
) -> Server:
    router = (create_router or Router)(url_map, server_name, "ws" if ssl is None else "wss")
    if ssl is not None and ssl is not True:
        named["ssl"] = ssl
    before = named.pop("process_request", None)

    def process_request(connection: ServerConnection, request: Request) -> Any:
        answer = None if before is None else before(connection, request)
        return router.route_request(connection, request) if answer is None else answer

    server: Server = serve(router.handler, *given, process_request=process_request, **named)
    return server
