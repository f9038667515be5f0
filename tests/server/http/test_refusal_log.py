"""Tests that a refused WebSocket leaves a line in the log, and that no stranger writes that line."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.helpers import Peer
from threadchat import Chat, Refuse
from threadchat.config.settings import Config
from threadchat.logs.rate_limit import LINES, LogRateLimit
from threadchat.server.http import refusal_log
from threadchat.server.http.refusal_log import log_refusal

KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
GOOD = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Lines of other tests do not count."""
    monkeypatch.setattr(refusal_log.log, "filters", [LogRateLimit()])
    caplog.set_level(logging.INFO, "threadchat")


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(port=0, allow_host="chat.example")) as chat:
        chat.listen()
        yield chat


def knock(chat: Chat, path: str, *headers: str, host: str = "chat.example") -> bytes:
    peer = Peer(socket.create_connection(("127.0.0.1", int(chat.url.rsplit(":")[-1].strip("/")))))
    peer.send("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode())
    try:
        return bytes(peer.response())
    finally:
        peer.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == refusal_log.__name__]


@pytest.mark.parametrize(
    ("request_lines", "status", "told"),
    [
        (["/chat", *GOOD, "Origin: https://chat.example:81"], 403, "Origin 'https://chat.example:81'"),
        (["/chat", *GOOD, "Origin: null"], 403, "Origin 'null', Host 'chat.example', from 127.0.0.1"),
        (["/chat", *GOOD[1:]], 400, "'Connection: Upgrade' is missing"),
        (["/chat", GOOD[2], KEY], 426, "a proxy in between must forward that header"),
        (["/chatt?token=secret", *GOOD], 404, "available paths: /, /chat, /ws. path '/chatt', Origin -"),
    ],
)
def test_a_refused_websocket_is_in_the_log(
    chat: Chat, caplog: pytest.LogCaptureFixture, request_lines: list[str], status: int, told: str
) -> None:
    assert f" {status} ".encode() in knock(chat, *request_lines)
    (line,) = lines(caplog)
    assert line.startswith(f"a WebSocket was refused ({status} ")
    assert told in line
    assert "secret" not in line


def test_so_is_one_that_the_application_refuses(caplog: pytest.LogCaptureFixture) -> None:
    def authenticate(environ: dict[str, Any]) -> None:
        raise Refuse("not\nyou")

    with Chat(Config(port=0, allow_host="*"), authenticate=authenticate) as chat:
        chat.listen()
        assert b" 403 " in knock(chat, "/ws", *GOOD, "Sec-WebSocket-Protocol: bearer, secret")
    (line,) = lines(caplog)
    assert line == (
        "a WebSocket was refused (403 Forbidden): not\\nyou path '/ws', Origin -, Host 'chat.example', "
        "from 127.0.0.1"
    )


def test_a_plain_request_is_no_refusal(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    assert b" 426 " in knock(chat, "/chat")
    assert b" 404 " in knock(chat, "/chatt")
    assert lines(caplog) == []


def test_a_proxy_that_drops_the_upgrade_gets_no_redirect(caplog: pytest.LogCaptureFixture) -> None:
    with Chat() as chat:
        app = chat.mount(lambda environ, start_response: pytest.fail("not for the application"), page=True)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/chat", "HTTP_SEC_WEBSOCKET_KEY": "x"}
        statuses: list[str] = []
        b"".join(app(environ, lambda status, headers: statuses.append(status)))  # type: ignore[arg-type, return-value]
    assert statuses == ["426 Upgrade Required"]
    assert len(lines(caplog)) == 1


def test_no_stranger_writes_lines_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    evil = "https://\r\nINFO all is well \x1b[2J\u2028\x85" + "x" * 5000
    environ = {"HTTP_ORIGIN": evil, "HTTP_HOST": evil, "PATH_INFO": evil, "REMOTE_ADDR": evil}
    log_refusal(environ, "403 Forbidden", evil)
    (line,) = lines(caplog)
    assert line.isprintable()
    assert line.isascii()
    assert len(line) < 1500


def test_a_flood_gets_no_line_each(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * LINES):
        log_refusal({"HTTP_ORIGIN": f"https://{number}.example"}, "403 Forbidden", "no")
    assert len(lines(caplog)) == LINES


@pytest.mark.parametrize("allowed", ["null", "https://a.example, null"])
def test_null_may_be_allowed(allowed: str) -> None:
    with Chat(Config(port=0, allow_host="*", allow_origin=allowed)) as chat:
        chat.listen()
        assert b" 101 " in knock(chat, "/chat", *GOOD, "Origin: null")
        assert b" 403 " in knock(chat, "/chat", *GOOD, "Origin: https://b.example")
