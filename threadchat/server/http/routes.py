"""The server's WSGI application: routes to the page, the health checks and the WebSocket endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.server.http import documentation
from threadchat.server.http.handshake import UPGRADE_LOST, upgrade_lost, upgrade_requested
from threadchat.server.http.hosts import Hosts
from threadchat.server.http.refusal_log import log_refusal
from threadchat.server.http.replies import TEXT, reply, send
from threadchat.server.http.static import Resource, read_client, read_page

_FRESH: Final = ("Cache-Control", "no-store")
_HEALTH: Final = ("/healthz", "/readyz")


class Routes:
    """Serves the page, the browser's client, `/docs/`, `/healthz`, `/readyz` and the WebSocket `endpoints`.

    `endpoints` maps paths to WSGI applications; each is called with the requests that are meant as a
    handshake, and decides about them. `page` has the files of the page by path; the default is what
    `read_page` returns. `/healthz` reports that this process serves requests; `/readyz` reports the result
    of `ready`, which is whether the broker is available. `operators` returns the application for any other
    path, or None. `hosts` checks the host name of every request, except those for the health of this
    process. Runs on: any thread.
    """

    def __init__(
        self,
        endpoints: Mapping[str, WSGIApplication],
        *,
        page: Mapping[str, Resource] | None = None,
        ready: Callable[[], bool] = lambda: True,
        operators: Callable[[str], WSGIApplication | None] = lambda path: None,
        hosts: Hosts | None = None,
    ) -> None:
        self._endpoints = dict(endpoints)
        self._ready = ready
        self._operators = operators
        self._hosts = hosts or Hosts()
        self._resources = {**read_client(), **(page or read_page())}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or run a whole WebSocket session before returning (PEP 3333)."""
        if upgrade_requested(environ):
            return self._upgrade(environ, start_response)
        path = environ["PATH_INFO"]
        refusal = None if path in _HEALTH else self._hosts.refuse(environ)
        if refusal is not None:
            log_refusal(environ, refusal.status, refusal.body, "a request")
            return reply(start_response, refusal.status, refusal.body)
        door = self._operators(path)
        if door is not None:
            return door(environ, start_response)
        return self._serve(path, environ, start_response)

    def _serve(self, path: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        resource = self._resources.get(path) or documentation.find(path)
        health = path in _HEALTH
        if path == "/docs":
            return reply(start_response, "308 Permanent Redirect", "See docs/.", ("Location", "docs/"))
        if resource is None and not health and path not in self._endpoints:
            return reply(start_response, "404 Not Found", "There is nothing at this path; the page is at /.")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            sentence = "Only GET and HEAD are allowed here; send chat commands through the WebSocket /chat."
            return reply(start_response, "405 Method Not Allowed", sentence, ("Allow", "GET, HEAD"))
        if resource is not None:
            return resource.serve(environ, start_response)
        if health:
            return self._tell_health(start_response, path == "/healthz" or self._ready())
        return ask_for_upgrade(path, environ, start_response, hop_by_hop=True)

    @staticmethod
    def _tell_health(start_response: StartResponse, well: bool) -> Iterable[bytes]:
        if well:
            return send(start_response, "200 OK", b"ok", ("Content-Type", TEXT), _FRESH)
        sentence = "The broker is not available; commands are refused until it is back."
        return reply(start_response, "503 Service Unavailable", sentence, _FRESH)

    def _upgrade(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        endpoint = self._endpoints.get(environ["PATH_INFO"])
        if endpoint is not None:
            return endpoint(environ, start_response)
        known = ", ".join(sorted(self._endpoints))
        sentence = f"There is no WebSocket at this path; available paths: {known}."
        log_refusal(environ, "404 Not Found", sentence)
        return reply(start_response, "404 Not Found", sentence)


def ask_for_upgrade(
    path: str, environ: dict[str, Any], start_response: StartResponse, *, hop_by_hop: bool
) -> Iterable[bytes]:
    """The reply to a plain HTTP request for a WebSocket. Some servers do not allow `hop_by_hop` headers."""
    if upgrade_lost(environ):
        log_refusal(environ, "426 Upgrade Required", UPGRADE_LOST)
    sentence = f"{path} is a WebSocket; connect to it with a WebSocket client, at ws://<host>{path}."
    upgrade = [("Upgrade", "websocket")] if hop_by_hop else []
    return reply(start_response, "426 Upgrade Required", sentence, *upgrade, ("Sec-WebSocket-Version", "13"))
