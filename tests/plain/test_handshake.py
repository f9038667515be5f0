"""Tests of who gets a WebSocket from `serve`, and what others are told."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

import pytest
import websockets.http11
from websockets.datastructures import Headers as TheirHeaders
from websockets.sync.client import connect as their_connect

from tests.plain.helpers import HANDSHAKE, echo, handshake, request, serving, url
from threadchat import connect
from threadchat.errors import ConfigError, HandshakeRefused
from threadchat.plain.handshake import accepted, response_like
from threadchat.plain.http import Headers, Request


def status(port: int, *lines: str, target: str = "/", method: str = "GET") -> tuple[int, str]:
    """What a request is answered: status and the whole of the answer."""
    peer = request(port, *lines, target=target, method=method)
    data = b""
    while chunk := peer.socket.recv(65536):
        data += chunk
    peer.close()
    return int(data.split(b" ")[1]), data.decode("latin-1")


def test_a_browser_is_told_what_this_is() -> None:
    with serving(echo) as server:
        code, text = status(server.port)
        assert code == 426
        assert "\r\nUpgrade: websocket\r\n" in text
        assert "connect with a WebSocket client" in text


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        ("Sec-WebSocket-Version: 12", 426),
        ("Sec-WebSocket-Key: short", 400),
        ("Connection: close", 426),
    ],
)
def test_a_bad_handshake_has_its_status(spoilt: str, code: int) -> None:
    name = spoilt.partition(":")[0]
    with serving(echo) as server:
        lines = [spoilt, *[line for line in HANDSHAKE if not line.startswith(f"{name}:")]]
        assert status(server.port, *lines)[0] == code


# -- process_request ---------------------------------------------------------------------------------


def test_process_request_may_answer_by_itself() -> None:
    def process_request(connection: Any, request: Any) -> Any:
        if request.path == "/healthz?full=1":
            return connection.respond(HTTPStatus.OK, "OK\n")
        return None

    with serving(echo, process_request=process_request) as server:
        code, text = status(server.port, target="/healthz?full=1")
        assert (code, text.endswith("\r\n\r\nOK\n")) == (200, True)
        with connect(url(server)) as websocket:
            websocket.send("hi")
            assert websocket.recv(20) == "hi"


def test_process_request_may_refuse_and_change_the_answer() -> None:
    def process_request(connection: Any, request: Any) -> Any:
        response = connection.respond(401, "who are you?")
        response.headers["WWW-Authenticate"] = 'Basic realm="here"'
        return response

    with serving(echo, process_request=process_request) as server:
        with pytest.raises(HandshakeRefused) as caught:
            connect(url(server))
        assert caught.value.status == 401
        assert caught.value.body == "who are you?"
        assert ("www-authenticate", 'Basic realm="here"') in [
            (name.lower(), value) for name, value in caught.value.headers
        ]


def test_what_it_sets_the_handler_finds() -> None:
    def process_request(connection: Any, request: Any) -> None:
        connection.username = request.headers["X-User"]

    with (
        serving(
            lambda websocket: websocket.send(websocket.username), process_request=process_request
        ) as server,
        connect(url(server), additional_headers={"X-User": "ann"}) as websocket,
    ):
        assert websocket.recv(20) == "ann"


def test_one_that_fails_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    def process_request(connection: Any, request: Any) -> None:
        raise ZeroDivisionError

    with serving(echo, process_request=process_request) as server:
        assert status(server.port, *HANDSHAKE)[0] == 500
    assert "process_request failed" in caplog.text


def test_it_may_return_what_websockets_would() -> None:
    theirs = websockets.http11.Response(418, "Teapot", TheirHeaders({"X-Tea": "green"}), b"short")
    assert response_like(theirs).headers["x-tea"] == "green"
    with serving(echo, process_request=lambda connection, request: theirs) as server:
        code, text = status(server.port, *HANDSHAKE)
        assert (code, "X-Tea: green" in text, text.endswith("short")) == (418, True, True)


# -- origins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "origin", "lets_in"),
    [
        (None, "https://anywhere.example", True),
        (["https://good.example"], "https://good.example", True),
        (["https://good.example"], "https://bad.example", False),
        (["https://good.example"], None, False),
        (["https://good.example", None], None, True),
        ([re.compile(r"https://.*\.good\.example")], "https://a.good.example", True),
        ([re.compile(r"https://.*\.good\.example")], "https://a.good.example.bad.example", False),
        ([re.compile(r".*")], None, False),
        ([], None, False),
    ],
)
def test_origins(origins: Any, origin: str | None, lets_in: bool) -> None:
    with serving(echo, origins=origins) as server:
        if lets_in:
            connect(url(server), origin=origin).close()
        else:
            with pytest.raises(HandshakeRefused) as caught:
                connect(url(server), origin=origin)
            assert caught.value.status == 403
            assert "`origins`" in caught.value.body


# -- subprotocols ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "offered", "chosen"),
    [(None, ["a"], None), (["a", "b"], ["b", "a"], "a"), (["b"], ["a", "b"], "b"), (None, None, None)],
)
def test_the_first_of_ours_that_is_offered_is_spoken(ours: Any, offered: Any, chosen: str | None) -> None:
    seen: list[object] = []

    def handler(websocket: Any) -> None:
        seen.append(websocket.subprotocol)

    with serving(handler, subprotocols=ours) as server:
        with connect(url(server), subprotocols=offered) as websocket:
            assert websocket.subprotocol == chosen
        with their_connect(url(server), subprotocols=offered, compression=None) as theirs:  # type: ignore[arg-type]
            assert theirs.subprotocol == chosen
    assert seen == [chosen, chosen]


@pytest.mark.parametrize("offered", [None, ["c"]])
def test_without_one_in_common_nobody_gets_in(offered: Any) -> None:
    with serving(echo, subprotocols=["a", "b"]) as server:
        with pytest.raises(HandshakeRefused) as caught:
            connect(url(server), subprotocols=offered)
        assert caught.value.status == 400
        assert "one of: a, b" in caught.value.body


def test_a_choice_of_its_own() -> None:
    def select(connection: Any, offered: Any) -> str | None:
        if "bad" in offered:
            raise ValueError("not that one")
        if "broken" in offered:
            raise ZeroDivisionError
        return "chat" if "chat" in offered else None

    with serving(echo, select_subprotocol=select) as server:
        assert handshake(server.port).close() is None
        with connect(url(server), subprotocols=["x", "chat"]) as websocket:
            assert websocket.subprotocol == "chat"
        for offered, code in (("bad", 400), ("broken", 500)):
            with pytest.raises(HandshakeRefused) as caught:
                connect(url(server), subprotocols=[offered])
            assert caught.value.status == code


@pytest.mark.parametrize("name", ["origins", "subprotocols"])
def test_a_name_alone_is_no_list(name: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"{name}='chat': must be a list, such as"),
        serving(echo, **{name: "chat"}),
    ):
        pass


def test_the_response_that_opened_the_connection() -> None:
    """The example of RFC 6455 1.3."""
    request = Request("/", Headers({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
    response = accepted(request, "chat")
    assert response.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert response.headers["Sec-WebSocket-Protocol"] == "chat"


def test_a_logger_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def fail(websocket: Any) -> None:
        raise ZeroDivisionError

    with serving(fail, logger=logging.getLogger("mine")) as server, connect(url(server)) as websocket:
        assert websocket.wait_closed(20)
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["mine"]
