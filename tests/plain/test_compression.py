"""Compression on the plain layer: with the other side of `websockets`, and with our own."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.sync.client import connect as their_connect
from websockets.sync.server import serve as their_serve

from tests.e2e.process import until
from tests.plain.helpers import LOOPBACK, serving, url
from threadchat import broadcast, connect
from threadchat.errors import ConnectionClosedError
from threadchat.plain import simple_websocket
from threadchat.wire.protocol.deflate import NARROW, WIDE, Deflater

LONG = "so they say, " * 100
MESSAGES: list[str | bytes] = [LONG, "hi", LONG, b"\0" * 5000, "", "grüße" * 400, bytes(range(256)) * 3]


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"server_no_context_takeover": True},
        {"server_max_window_bits": 9},
        {"client_max_window_bits": 9, "client_no_context_takeover": True},
    ],
)
def test_a_client_of_websockets(options: dict[str, Any]) -> None:
    offer = ClientPerMessageDeflateFactory(**options)
    with (
        serving(echo, compression="deflate") as server,
        their_connect(url(server), extensions=[offer], compression=None) as theirs,
    ):
        assert "server_no_context_takeover" in theirs.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        for message in MESSAGES:
            theirs.send(message)
        assert [theirs.recv(20) for _ in MESSAGES] == MESSAGES


@pytest.mark.parametrize(
    ("options", "deflater"),
    [
        ({}, WIDE),
        ({"server_no_context_takeover": True}, WIDE),
        ({"server_max_window_bits": 9, "client_max_window_bits": 9}, NARROW),
    ],
)
def test_a_server_of_websockets(options: dict[str, Any], deflater: Deflater) -> None:
    """Without server_no_context_takeover its messages refer back to earlier ones."""
    answer = ServerPerMessageDeflateFactory(**options)
    with their_serve(echo, LOOPBACK, 0, extensions=[answer], compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"ws://{LOOPBACK}:{server.socket.getsockname()[1]}"
        with connect(address, compression="deflate") as ours:
            assert ours.threaded.connection.deflater is deflater
            for message in MESSAGES:
                ours.send(message)
            assert [ours.recv(20) for _ in MESSAGES] == MESSAGES
        server.shutdown()
        thread.join(20)


def test_both_sides_of_ours() -> None:
    seen: list[int] = []

    def handler(websocket: Any) -> None:
        for message in websocket:
            seen.append(websocket.threaded.connection.counters.bytes_in)
            websocket.send(message)

    with (
        serving(handler, compression="deflate") as server,
        connect(url(server), compression="deflate") as ours,
    ):
        ours.send(LONG)
        assert ours.recv(20) == LONG
        assert seen[0] < 100
        assert ours.threaded.connection.counters.bytes_in < 100
        assert ours.threaded.connection.extensions.startswith("permessage-deflate; server_no")


@pytest.mark.parametrize(("server", "client"), [(None, "deflate"), ("deflate", None), (None, None)])
def test_it_takes_two(server: str | None, client: str | None) -> None:
    deflating: list[bool] = []

    def handler(websocket: Any) -> None:
        deflating.append(websocket.threaded.connection.deflates)
        assert "Sec-WebSocket-Extensions" not in websocket.response.headers
        echo(websocket)

    with serving(handler, compression=server) as found, connect(url(found), compression=client) as ours:
        ours.send(LONG)
        assert ours.recv(20) == LONG
        assert deflating == [False]
        assert not ours.threaded.connection.deflates


def test_the_bound_is_for_what_a_message_becomes() -> None:
    with serving(echo, compression="deflate", max_size=1000) as server:
        with connect(url(server), compression="deflate") as ours:
            ours.send("x" * 1000)
            assert ours.recv(20) == "x" * 1000
            ours.send("x" * 1001)
            with pytest.raises(ConnectionClosedError) as caught:
                ours.recv(20)
        assert caught.value.code == 1009
        assert "inflates to more than the 1000 bytes" in caught.value.reason


def test_a_broadcast_is_compressed_once_for_all_who_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[bytes] = []
    deflate = Deflater._deflated

    def counting(self: Deflater, payload: bytes) -> bytes:
        compressed.append(payload)
        return deflate(self, payload)

    over = threading.Event()
    with serving(lambda websocket: over.wait(), compression="deflate") as server:
        clients = [connect(url(server), compression="deflate" if i % 2 else None) for i in range(10)]
        until(lambda: len(server.connections) == 10, "everybody")
        monkeypatch.setattr(Deflater, "_deflated", counting)
        assert broadcast(server.connections, LONG) == 10
        assert [client.recv(20) for client in clients] == [LONG] * 10
        assert compressed == [LONG.encode()]
        sizes = {
            client.threaded.connection.deflates: client.threaded.connection.counters.bytes_in
            for client in clients
        }
        assert sizes[True] < 100 < len(LONG) < sizes[False]
        over.set()
        for client in clients:
            client.close()


def test_the_shape_of_simple_websocket_has_none() -> None:
    with serving(echo, compression="deflate") as server:
        client = simple_websocket.Client(url(server))
        assert not client.threaded.connection.deflates
        client.send(LONG)
        assert client.receive(20) == LONG
        client.close()
