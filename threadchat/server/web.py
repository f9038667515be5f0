"""The server's WSGI application: the page, the health check, and the doors to the WebSocket endpoints."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Any
from wsgiref.types import StartResponse

from threadchat.server.handshake import refuse, upgrade_requested

Endpoint = Callable[[dict[str, Any]], None]
"""Takes the connection over by its environ, and returns when the session has ended."""

_SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
_TEXT = "text/plain; charset=utf-8"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A page's file as it is served."""

    content_type: str
    body: bytes
    etag: str


class Web:
    """Serves the page, `/healthz` and the WebSocket `endpoints`, which are named by their paths.

    `allow_origin` is as in `handshake.refuse`. `page` is the folder of the page's files, the
    package's own unless given; it is read here and never again, so a request can only name what is
    there. Raises FileNotFoundError where it lacks `index.html` or `favicon.svg`. To be called on any thread.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        allow_origin: Collection[str] = (),
        page: Traversable | None = None,
    ) -> None:
        self._endpoints = dict(endpoints)
        self._allow_origin = tuple(allow_origin)
        self._resources = _read_page(page or importlib.resources.files("threadchat.server") / "page")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or run a whole WebSocket session before returning (PEP 3333)."""
        if upgrade_requested(environ):
            return self._upgrade(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            sentence = (
                "Only GET and HEAD are served here; commands of the chat go through the WebSocket /chat."
            )
            return _reply(start_response, "405 Method Not Allowed", sentence, ("Allow", "GET, HEAD"))
        path = environ["PATH_INFO"]
        resource = self._resources.get(path)
        if resource is not None:
            return _serve(resource, environ, start_response)
        if path == "/healthz":
            return _send(
                start_response, "200 OK", b"ok", ("Content-Type", _TEXT), ("Cache-Control", "no-store")
            )
        if path in self._endpoints:
            sentence = f"{path} is a WebSocket; connect to it with a WebSocket client, at ws://<host>{path}."
            upgrade = ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")
            return _reply(start_response, "426 Upgrade Required", sentence, *upgrade)
        return _reply(start_response, "404 Not Found", "There is nothing at this path; the page is at /.")

    def _upgrade(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        endpoint = self._endpoints.get(environ["PATH_INFO"])
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints))
            sentence = f"There is no WebSocket at this path; the ones there are: {known}."
            return _reply(start_response, "404 Not Found", sentence)
        refusal = refuse(environ, self._allow_origin)
        if refusal is not None:
            return _reply(start_response, refusal.status, refusal.body, *refusal.headers)
        endpoint(environ)
        return []


def _read_page(folder: Traversable) -> dict[str, Resource]:
    """The page's files by the path at which they are served."""
    resources = {}
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith((".", "_")):
            body = file.read_bytes()
            content_type = _TYPES.get(PurePosixPath(file.name).suffix, "application/octet-stream")
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            resources[f"/page/{file.name}"] = Resource(content_type, body, etag)
    for path, name in (("/", "index.html"), ("/favicon.ico", "favicon.svg")):
        if f"/page/{name}" not in resources:
            raise FileNotFoundError(f"the page has no {name}; is threadchat installed whole?")
        resources[path] = resources[f"/page/{name}"]
    return resources


def _serve(resource: Resource, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    caching = ("ETag", resource.etag), ("Cache-Control", "no-cache")
    if _matches(environ.get("HTTP_IF_NONE_MATCH", ""), resource.etag):
        return _send(start_response, "304 Not Modified", b"", *caching)
    return _send(start_response, "200 OK", resource.body, ("Content-Type", resource.content_type), *caching)


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether the client's copy is current; the weak comparison of RFC 9110 section 13.1.2."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _reply(
    start_response: StartResponse, status: str, sentence: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    return _send(start_response, status, f"{sentence}\n".encode(), ("Content-Type", _TEXT), *headers)


def _send(
    start_response: StartResponse, status: str, body: bytes, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Any reply there is goes through here, so that none lacks a security header."""
    start_response(status, [*headers, *_SECURITY_HEADERS])
    return [body]
