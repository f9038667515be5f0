"""No body is received before key, path and method were judged."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.abuse.doors import API_KEY, ask, head, port_of
from threadchat import Chat, Config
from threadchat.server.http import request as module

JSON = "Content-Type: application/json"
LONG = "Content-Length: 8000000"
RIGHT = f"X-API-Key: {API_KEY}"


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(port=0, api_key=API_KEY, max_message_size=16_000_000, history_bytes=16_000_000)) as chat:
        chat.listen()
        yield chat


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (head("POST", "/api/publish", JSON, LONG), b"401"),
        (head("POST", "/api/publish", JSON, LONG, "X-API-Key: wrong"), b"401"),
        (head("POST", "/api/nothing", JSON, LONG, RIGHT), b"404"),
        (head("PUT", "/api/publish", JSON, LONG, RIGHT), b"405"),
        (head("POST", "/api/publish", LONG, RIGHT), b"415"),
        (head("POST", "/", LONG), b"405"),
        (head("POST", "/nothing", LONG), b"404"),
        (head("POST", "/ops", LONG), b"405"),
        (head("GET", "/metrics", LONG), b"401"),
        (head("GET", "/chat", LONG), b"426"),
        (head("POST", "/api/publish", JSON, LONG, "Expect: 100-continue"), b"401"),
    ],
)
def test_what_is_refused_by_its_head_is_answered_without_its_body(
    chat: Chat, request_head: bytes, expected: bytes
) -> None:
    """The body never comes: whoever waited for it would answer 408, or nothing."""
    assert ask(chat, request_head, b"\r\n\r\n").startswith(b"HTTP/1.1 " + expected)


def test_nothing_of_such_a_body_is_kept(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    received = 0
    receive = module.RequestReader.receive

    def count(self: Any, *arguments: Any) -> bytes:
        nonlocal received
        data = receive(self, *arguments)
        received += len(data)
        return data

    monkeypatch.setattr(module.RequestReader, "receive", count)
    size = 500_000  # which is read away before the connection is closed
    raw = head("POST", "/api/publish", JSON, f"Content-Length: {size}") + b"x" * size
    assert ask(chat, raw).startswith(b"HTTP/1.1 401 ")
    assert received <= module.RECEIVE_BYTES


def test_a_body_is_asked_for_only_behind_the_door(chat: Chat) -> None:
    waits = "Expect: 100-continue"
    wanted = head("POST", "/api/publish", JSON, "Content-Length: 9", RIGHT, waits)
    assert ask(chat, wanted, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")


def test_with_the_key_a_body_is_read(chat: Chat) -> None:
    body = b'{"room":"a","message":"' + b"x" * 300_000 + b'"}'
    raw = head("POST", "/api/publish", JSON, f"Content-Length: {len(body)}", RIGHT) + body
    assert ask(chat, raw).startswith(b"HTTP/1.1 200 ")


def test_half_a_body_is_refused_without_a_traceback(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", port_of(chat)), timeout=10) as sock:
        sock.sendall(head("POST", "/api/publish", JSON, "Content-Length: 9", RIGHT) + b"{}")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/api/x/../rooms", "/api/rooms/", "/api//rooms", "/api/x/rooms", "/api/"])
def test_a_call_has_one_path(chat: Chat, path: str) -> None:
    body = "Content-Length: 2"
    assert ask(chat, head("POST", path, JSON, body, RIGHT) + b"{}").startswith(b"HTTP/1.1 404 ")
    assert ask(chat, head("POST", "/api/rooms", JSON, body, RIGHT) + b"{}").startswith(b"HTTP/1.1 200 ")
