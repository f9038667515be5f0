"""Tests of `connect`: against a server of `websockets`, and everything that can go wrong on the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.server import serve as their_serve

from tests.plain.helpers import LOOPBACK, echo, serving, url
from tests.wire.conftest import Certificate
from tests.wire.helpers import open_descriptors
from threadchat import connect
from threadchat.errors import (
    BadUrl,
    CannotConnect,
    ConfigError,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectTimeout,
    HandshakeRefused,
)
from threadchat.plain.engine import ENGINE


@contextmanager
def theirs(handler: Any, **options: Any) -> Iterator[str]:
    """A server of `websockets`; its address."""
    with their_serve(handler, LOOPBACK, 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://{LOOPBACK}:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_messages_to_a_server_of_websockets_and_back() -> None:
    with theirs(echo) as address, connect(address) as websocket:
        for message in ("hi", b"\0\1", "ü" * 100_000, ""):
            websocket.send(message)
            assert websocket.recv(20) == message
        assert websocket.ping().wait(20)


def test_their_fragments_are_one_message() -> None:
    with theirs(lambda websocket: websocket.send(["a", "b", "c"])) as address, connect(address) as websocket:
        assert list(websocket) == ["abc"]


def test_their_ways_to_end() -> None:
    with theirs(lambda websocket: websocket.close(4000, "out")) as address:
        websocket = connect(address)
        with pytest.raises(ConnectionClosedError, match="received 4000"):
            websocket.recv(20)
    with theirs(lambda websocket: None) as address:
        websocket = connect(address)
        with pytest.raises(ConnectionClosedOK, match="1000"):
            websocket.recv(20)


def test_request_and_response() -> None:
    seen: list[Any] = []
    headers = {"X-One": "1"}
    with theirs(lambda websocket: seen.append(websocket.request), server_header="theirs") as address:
        websocket = connect(
            f"{address}/a?b=c",
            additional_headers=headers,
            user_agent_header="me",
            origin="https://o.example",
        )
        assert websocket.request.path == "/a?b=c"
        assert websocket.request.headers["X-One"] == "1"
        assert websocket.response.status_code == 101
        assert websocket.response.headers["Server"] == "theirs"
        assert websocket.wait_closed(20)
    (request,) = seen
    assert request.path == "/a?b=c"
    assert [request.headers[name] for name in ("X-One", "User-Agent", "Origin")] == [
        "1",
        "me",
        "https://o.example",
    ]


def test_without_a_block_it_stays_open_until_it_is_closed() -> None:
    with theirs(echo) as address:
        websocket = connect(address)
        websocket.send("x")
        assert websocket.recv(20) == "x"
        websocket.close()


def test_a_refusal() -> None:
    with theirs(echo, process_request=lambda connection, request: connection.respond(403, "no")) as address:
        with pytest.raises(HandshakeRefused, match="403") as caught:
            connect(address)
        assert (caught.value.status, caught.value.body) == (403, "no")


def test_nobody_there() -> None:
    with serving(echo) as server:
        address = url(server)
    with pytest.raises(CannotConnect, match="refused"):
        connect(address)
    with pytest.raises(ConnectionError):
        connect(address)
    assert ENGINE._slots == {}


def test_a_server_that_says_nothing() -> None:
    before = open_descriptors()
    with socket.create_server((LOOPBACK, 0)) as listener, pytest.raises(ConnectTimeout):
        connect(f"ws://{LOOPBACK}:{listener.getsockname()[1]}", open_timeout=0.05)
    assert open_descriptors() == before


def test_what_is_no_address() -> None:
    with pytest.raises(BadUrl, match="http"):
        connect("http://127.0.0.1")


def test_options_that_cannot_be() -> None:
    with pytest.raises(BadUrl, match="ftp://proxy isn't a valid proxy: scheme ftp isn't supported"):
        connect("ws://127.0.0.1", proxy="ftp://proxy")
    with pytest.raises(TypeError, match="'proxy_ssl'; a proxy is spoken to without TLS"):
        connect("ws://127.0.0.1", proxy_ssl=None)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="max_size"):
        connect("ws://127.0.0.1", max_size=-1)
    with pytest.raises(ConfigError, match="close_timeout"):
        connect("ws://127.0.0.1", close_timeout=0)


def test_within_tls(certificate: Certificate) -> None:
    with theirs(echo, ssl=certificate.server()) as address:
        secure = address.replace("ws://", "wss://")
        with connect(secure, ssl=certificate.client()) as websocket:
            for message in ("hi", bytes(900_000)):
                websocket.send(message)
                assert websocket.recv(20) == message
            assert websocket.remote_address[1] == int(address.rpartition(":")[2])
        with pytest.raises(CannotConnect, match="no TLS"):
            connect(secure)


def test_no_timeout_at_all() -> None:
    options: dict[str, Any] = {"open_timeout": None, "close_timeout": None, "ping_interval": None}
    with serving(echo, **options) as server, connect(url(server), **options) as websocket:
        websocket.send("x")
        assert websocket.recv() == "x"
