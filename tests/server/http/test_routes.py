"""What `server/http/routes.py` answers at each path, method and upgrade."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse

import pytest

from threadchat.server.http.routes import Routes
from threadchat.server.http.server import HttpServer
from threadchat.server.http.static import read_page

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
UPGRADE = {
    "HTTP_HOST": "h",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    for name, text in {
        "index.html": "<!doctype html>ä",
        "chat.js": "'use strict'",
        "chat.css": "a {}",
        "favicon.svg": "<svg/>",
        "font.xyz": "?",
        ".hidden": "no",
        "__init__.py": "no",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "deep.js").write_text("no")
    return tmp_path


class Caller:
    """A Routes application with three endpoints that note their calls."""

    def __init__(self, page: Path) -> None:
        self.entered: list[str] = []
        self.ready = True
        endpoints = dict.fromkeys(("/", "/ws", "/chat"), self._enter)
        self.web = Routes(endpoints, page=read_page(page), ready=lambda: self.ready)

    def _enter(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        self.entered.append(environ["PATH_INFO"])
        return []

    def __call__(
        self, path: str, method: str = "GET", **more: str
    ) -> tuple[int | None, dict[str, str], bytes]:
        reply: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", **more}
        body = b"".join(self.web(environ, lambda status, headers: reply.extend((status, headers))))  # type: ignore
        if not reply:
            return None, {}, body
        headers = dict(reply[1])
        assert len(headers) == len(reply[1])
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        return int(reply[0][:3]), headers, body


@pytest.fixture
def call(page: Path) -> Caller:
    return Caller(page)


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/", "text/html; charset=utf-8", "<!doctype html>ä"),
        ("/page/index.html", "text/html; charset=utf-8", "<!doctype html>ä"),
        ("/page/chat.js", "text/javascript; charset=utf-8", "'use strict'"),
        ("/page/chat.css", "text/css; charset=utf-8", "a{}"),
        ("/page/favicon.svg", "image/svg+xml", "<svg/>"),
        ("/favicon.ico", "image/svg+xml", "<svg/>"),
        ("/page/font.xyz", "application/octet-stream", "?"),
    ],
)
def test_files_of_the_page(call: Caller, path: str, content_type: str, body: str) -> None:
    status, headers, got = call(path)
    assert (status, got.decode()) == (200, body)
    assert headers["Content-Type"] == content_type
    assert headers["Cache-Control"] == "no-cache"
    assert call(path, "HEAD")[1] == headers


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page",
        "/page/.hidden",
        "/page/__init__.py",
        "/page/folder",
        "/page/folder/deep.js",
        "/page/../web.py",
        "/page/../../web.py",
        "/page//etc/passwd",
        "/page/./chat.js",
        "/page/chat.js\0",
        "//page/chat.js",
        "/../etc/passwd",
        "/index.html",
        "/nothing",
        "/chat/",
        "",
    ],
)
def test_nothing_else_is_there(call: Caller, path: str) -> None:
    status, headers, body = call(path)
    assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert body.endswith(b".\n")


def test_a_copy_that_is_current_is_not_sent_again(call: Caller) -> None:
    etag = call("/page/chat.js")[1]["ETag"]
    assert etag != call("/page/chat.css")[1]["ETag"]
    for match in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        status, headers, body = call("/page/chat.js", HTTP_IF_NONE_MATCH=match)
        assert (status, headers["ETag"], headers["Cache-Control"], body) == (304, etag, "no-cache", b"")
    for match in ('"other"', "", etag.strip('"')):
        assert call("/page/chat.js", HTTP_IF_NONE_MATCH=match)[0] == 200


def test_health(call: Caller) -> None:
    call.ready = False
    assert call("/healthz")[::2] == (200, b"ok")


def test_readiness(call: Caller) -> None:
    assert call("/readyz")[::2] == (200, b"ok")
    call.ready = False
    status, headers, body = call("/readyz")
    assert (status, headers["Cache-Control"]) == (503, "no-store")
    assert body == b"The broker is not available; commands are refused until it is back.\n"


def test_whoever_depends_on_nobody_is_ready(page: Path) -> None:
    web, statuses = Routes({}, page=read_page(page)), []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/readyz"}
    web(environ, lambda status, headers: statuses.append(status))  # type: ignore[arg-type,func-returns-value]
    assert statuses == ["200 OK"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/", "/chat", "/healthz", "/page/chat.js"])
def test_other_methods_are_405(call: Caller, path: str, method: str) -> None:
    status, headers, _ = call(path, method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nothing", "/api/info", "/ops", "/metrics", "*"])
def test_what_is_not_there_is_404_by_any_method(call: Caller, path: str) -> None:
    """Above all what there would be with a key, so that nobody can tell."""
    answers = [call(path, method) for method in ("GET", "POST", "OPTIONS", "BREW")]
    assert answers == [call("/nowhere")] * 4
    assert answers[0][0] == 404


def test_operators_are_asked_first(page: Path) -> None:
    def door(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("204 No Content", [])
        return [environ["REQUEST_METHOD"].encode()]

    web, statuses = Routes({}, page=read_page(page), operators={"/door": door, "/": door}.get), []
    for path in ("/door", "/"):
        environ = {"REQUEST_METHOD": "BREW", "PATH_INFO": path}
        body = web(environ, lambda status, headers: statuses.append(status))  # type: ignore[arg-type,func-returns-value]
        assert body == [b"BREW"]
    assert statuses == ["204 No Content"] * 2


@pytest.mark.parametrize("path", ["/ws", "/chat"])
def test_an_endpoint_without_upgrade_is_426(call: Caller, path: str) -> None:
    for more in ({}, {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "upgrade"}):
        status, headers, body = call(path, **more)
        assert (status, headers["Upgrade"], headers["Sec-WebSocket-Version"]) == (426, "websocket", "13")
        assert f"ws://<host>{path}".encode() in body
    assert call.entered == []


def test_an_upgrade_header_alone_still_gets_the_page(call: Caller) -> None:
    assert call("/", HTTP_UPGRADE="websocket", HTTP_CONNECTION="upgrade")[0] == 200


@pytest.mark.parametrize("path", ["/", "/ws", "/chat"])
def test_an_upgrade_enters_the_endpoint(call: Caller, path: str) -> None:
    assert call(path, **UPGRADE) == (None, {}, b"")
    assert call.entered == [path]


@pytest.mark.parametrize("path", ["/nothing", "/healthz", "/page/chat.js", "/chat/"])
def test_an_upgrade_anywhere_else_is_404(call: Caller, path: str) -> None:
    status, _, body = call(path, **UPGRADE)
    assert (status, call.entered) == (404, [])
    assert b"/, /chat, /ws" in body


def test_what_is_wrong_with_a_handshake_is_for_the_endpoint_to_say(call: Caller) -> None:
    assert call("/chat", **{**UPGRADE, "HTTP_SEC_WEBSOCKET_KEY": "x"})[0] is None
    assert call("/chat", "POST", **UPGRADE)[0] is None
    assert call.entered == ["/chat", "/chat"]


@pytest.mark.parametrize("missing", ["index.html", "favicon.svg"])
def test_a_page_that_is_not_whole_is_an_error_at_once(page: Path, missing: str) -> None:
    (page / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        read_page(page)


@pytest.fixture
def ask(call: Caller) -> Iterator[Callable[[str], bytes]]:
    server = HttpServer(call.web, host="127.0.0.1", port=0, request_timeout=5)
    server.listen()

    def ask(head: str) -> bytes:
        with socket.create_connection(server.address) as client:
            client.sendall(f"{head}\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))

    yield ask
    server.stop_accepting()
    assert server.join(5)


def test_over_the_wire(ask: Callable[[str], bytes]) -> None:
    page = ask("GET / HTTP/1.1")
    assert page.startswith(b"HTTP/1.1 200 OK\r\n")
    head, _, body = page.partition(b"\r\n\r\n")
    assert body.decode() == "<!doctype html>ä"
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    without_date = [line for line in head.split(b"\r\n") if not line.startswith(b"Date")]
    bare = ask("HEAD / HTTP/1.1")
    assert bare.endswith(b"\r\n\r\n")
    assert [line for line in bare.split(b"\r\n") if line and not line.startswith(b"Date")] == without_date
    etag = next(line for line in head.decode().split("\r\n") if line.startswith("ETag")).split(": ")[1]
    unchanged = ask(f"GET / HTTP/1.1\r\nIf-None-Match: {etag}")
    assert unchanged.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Content-Length" not in unchanged
    assert unchanged.endswith(b"\r\n\r\n")
    for target in (
        "/page/../web.py",
        "/page/%2e%2e/web.py",
        "/page/..%2fweb.py",
        "/page/%00",
        "//etc/passwd",
    ):
        assert ask(f"GET {target} HTTP/1.1").startswith(b"HTTP/1.1 404 ")
    assert b"\r\nConnection: close, Upgrade\r\n" in ask("GET /chat HTTP/1.1")
