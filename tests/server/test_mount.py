"""Tests of the middleware: which requests are the chat's, which the application's, and where the page is."""

from __future__ import annotations

import io
import logging
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from tests.server.http.test_routes import UPGRADE
from threadchat.errors import ConfigError
from threadchat.server.chat import Chat
from threadchat.server.http.static import read_page
from threadchat.server.mount import Mount


class Caller:
    """A mounted endpoint that notes its calls, in front of an application that says its path."""

    def __init__(self, path: str = "/chat", *, page: bool = False, alone: bool = True) -> None:
        self.entered: list[str] = []
        resources = read_page() if page else None
        self.mount = Mount(self._application, path, self._endpoint, resources, alone=alone)

    def _endpoint(self, environ: Any, start_response: Any) -> list[bytes]:
        self.entered.append(environ["PATH_INFO"])
        return []

    def _application(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-App", "yes")])
        return [environ["PATH_INFO"].encode()]

    def __call__(self, path: str, method: Any = "GET", **more: Any) -> tuple[int, dict[str, str], bytes]:
        reply: list[Any] = [0, []]

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            reply[:] = int(status[:3]), headers

        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", **more}
        body = b"".join(self.mount(environ, start_response))
        return reply[0], dict(reply[1]), body


@pytest.mark.parametrize("path", ["/", "/chats", "/chat/", "/chat/chat", "/chat/page/app.js", "/a/chat", ""])
def test_what_is_not_the_sockets_is_the_applications(path: str) -> None:
    call = Caller()
    assert call(path) == (200, {"X-App": "yes"}, path.encode())
    assert call(path, **UPGRADE)[0] == 200
    assert call(path, "POST")[0] == 200
    assert call.entered == []


def test_an_upgrade_at_the_path_is_the_endpoints() -> None:
    call = Caller("/deep/er.chat-1")
    call("/deep/er.chat-1", **UPGRADE)
    call("/deep/er.chat-1", "POST", **UPGRADE)  # for the endpoint to refuse
    assert call.entered == ["/deep/er.chat-1"] * 2


def test_a_plain_request_at_the_path_is_told_how() -> None:
    call = Caller()
    status, headers, body = call("/chat", SCRIPT_NAME="/forum")
    assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")
    assert b"ws://<host>/forum/chat" in body
    assert "Upgrade" not in headers, "wsgiref fails on a hop-by-hop header"
    assert call("/chat", **{"gunicorn.socket": object()})[1]["Upgrade"] == "websocket"
    assert call.entered == []


def test_the_page_is_below_the_path() -> None:
    call = Caller(page=True)
    status, headers, body = call("/chat/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<!doctype html>" in body.lower()
    for path in ("/chat/page/app.js", "/chat/page/style.css", "/chat/page/favicon.svg", "/chat/favicon.ico"):
        assert call(path)[0] == 200
        assert call(path, "HEAD")[1] == call(path)[1]
        assert call(path)[1]["Content-Length"] == str(len(call(path)[2]))
    assert call("/chat/page/app.js", "POST")[1]["Allow"] == "GET, HEAD"
    assert "Access-Control-Allow-Origin" not in headers
    assert call("/page/app.js")[1] == {"X-App": "yes"}
    assert call("/chat/nothing")[1] == {"X-App": "yes"}


@pytest.mark.parametrize("page", [False, True])
def test_the_browsers_client_is_below_the_path(page: bool) -> None:
    call = Caller("/deep/chat", page=page)
    status, headers, body = call("/deep/chat/threadchat.js")
    assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert b"export function connect" in body
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] == "*", "to import a module from elsewhere needs that"
    assert call("/deep/chat/threadchat.js", HTTP_IF_NONE_MATCH=headers["ETag"])[0] == 304
    assert call("/deep/chat/threadchat.d.ts")[0] == 200
    assert call("/deep/chat/threadchat.js", "POST")[0] == 405
    assert call("/threadchat.js")[1] == {"X-App": "yes"}
    assert call("/deep/chat/package.json")[1] == {"X-App": "yes"}


@pytest.mark.parametrize("path", ["/chat", "/chat/", "/chat/chat", "/chat/page/app.js"])
def test_a_reply_to_head_has_no_body(path: str) -> None:
    """gunicorn 21 sends what there is and keeps the connection: the next reply would begin with a page."""
    call = Caller(page=True)
    assert call(path)[2]
    assert call(path, "HEAD")[2] == b""


def test_a_mount_in_itself_is_told_from_one_that_is_not() -> None:
    """The likeliest slip of the pen: chat.mount(app) where app.wsgi_app is meant."""

    class Framework:
        wsgi_app: Any

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.wsgi_app(environ, start_response)

    app = Framework()
    app.wsgi_app = Mount(app, "/chat", app)
    with pytest.raises(ConfigError, match=r"app.wsgi_app = chat.mount\(app.wsgi_app\)"):
        app({"PATH_INFO": "/"}, None)


def test_what_is_wrapped_can_be_called() -> None:
    with Chat() as chat, pytest.raises(ConfigError, match="app=None cannot be called"):
        chat.mount(None)  # type: ignore[arg-type]


def test_the_page_finds_its_socket_below_itself() -> None:
    call = Caller(page=True)
    call("/chat/chat", **UPGRADE)
    call("/chat", **UPGRADE)
    assert call.entered == ["/chat/chat", "/chat"]
    assert call("/chat/chat")[0] == 426


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize("app", [Asgi(), Asgi().__call__])
def test_an_asgi_application_is_told_what_it_is(app: Any) -> None:
    with Chat() as chat, pytest.raises(ConfigError, match=r"is an ASGI application.*chat\.listen"):
        chat.mount(app)


@pytest.mark.parametrize("path", ["/chat", "/team/talk"])
def test_the_path_alone_leads_to_the_page_whatever_is_in_front(path: str) -> None:
    status, headers, _ = Caller(path, page=True)(path, SCRIPT_NAME="/forum")
    assert (status, headers["Location"]) == (308, f"./{path.rsplit('/', maxsplit=1)[-1]}/")


@pytest.mark.parametrize("path", ["", "/", "chat", "/chat/", "//chat", "/ch at", "/ä", "/a//b", None, 5])
def test_a_path_that_cannot_be_one(path: Any) -> None:
    with pytest.raises(ConfigError, match="must look like /chat"):
        Caller(path)


def test_several_processes_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    call = Caller()
    for _ in range(3):
        call("/", **{"wsgi.multiprocess": True})
    assert caplog.text.count("each has its own chat") == 1
    assert "--workers 1" in caplog.text


@pytest.mark.parametrize(("alone", "several"), [(True, False), (False, True), (False, False)])
def test_one_process_or_a_shared_broker_is_no_reason_to_warn(
    alone: bool, several: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Caller(alone=alone)("/", **{"wsgi.multiprocess": several})
    assert not caplog.text


def test_the_mounted_chat_keeps_the_rules_of_wsgi() -> None:
    """Where no socket is shown, as by wsgiref, which insists on every rule of PEP 3333."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hi"]

    chat = Chat()
    mounted = validator(chat.mount(validator(application), page=True))
    for path, more, status in [
        ("/", {}, b"200"),
        ("/chat", {}, b"308"),
        ("/chat/", {}, b"200"),
        ("/chat/chat", {}, b"426"),
        ("/chat/chat", UPGRADE, b"501"),
        ("/chat", {**UPGRADE, "HTTP_SEC_WEBSOCKET_VERSION": "8"}, b"426"),
        ("/chat", {**UPGRADE, "HTTP_ORIGIN": "http://evil"}, b"403"),
    ]:
        environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", **more}
        environ["SERVER_PROTOCOL"] = "HTTP/1.1"
        setup_testing_defaults(environ)
        out = io.BytesIO()
        errors = io.StringIO()
        SimpleHandler(io.BytesIO(), out, errors, environ).run(mounted)
        assert not errors.getvalue()
        assert out.getvalue().split()[1] == status, (path, out.getvalue())
    assert chat.close()
