"""Builds the WSGI environ of a request (PEP 3333)."""

from __future__ import annotations

import sys
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from threadchat.server.http.proxies import plain_address
from threadchat.server.http.request import Request

_COMMON: Final = (
    *("Host", "Connection", "Pragma", "Cache-Control", "User-Agent", "Upgrade", "Origin", "Cookie"),
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization"),
    *("Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"),
    *("X-Forwarded-For", "X-Forwarded-Proto"),
)
"""Headers that come with most handshakes, spelled as browsers and proxies spell them."""


def server_part(host: str, port: int, scheme: str = "http") -> dict[str, Any]:
    """The part of the environ that is the same for all requests to a server on `host` and `port`."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _key_of(name: str) -> str:
    """The environ's key for a header; empty for a header that is left out."""
    if "_" in name:
        return ""  # X_User would get the same key as X-User, which an application may trust a proxy for
    key = "HTTP_" + name.upper().replace("-", "_")
    return key[5:] if key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH") else key


_KEYS: Final = {name: _key_of(name) for name in _COMMON}


def make_environ(request: Request, server: dict[str, Any], peer: Any) -> dict[str, Any]:
    """Return the environ of `request`; `server` comes from `server_part`, and `peer` from `accept`."""
    environ = server | {
        "REMOTE_ADDR": plain_address(peer[0]),
        "REMOTE_PORT": str(peer[1]),
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": request.version,
        "wsgi.input": request.body,
    }
    for name, value in request.headers:
        key = _KEYS.get(name) or _key_of(name)
        if key:
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    if request.authority is not None:
        environ["HTTP_HOST"] = request.authority  # RFC 9112 section 3.2.2: it overrides the Host header
    return environ
