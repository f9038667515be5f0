"""Tests of the shape of simple-websocket: both sides, behind our own HTTP server."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest
import simple_websocket as theirs

from tests.plain.helpers import HANDSHAKE, LOOPBACK, handshake, request
from tests.wire.helpers import ENVIRON, close_frame, open_descriptors
from threadchat import accept
from threadchat.errors import BadUrl, CannotConnect, ConfigError, ConnectionClosed, NoSocket, ThreadchatError
from threadchat.plain import simple_websocket
from threadchat.plain.engine import ENGINE
from threadchat.plain.simple_websocket import Client, Server
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.server.http.server import HttpServer
from threadchat.wire.protocol import frames


@contextmanager
def application(view: Callable[[dict[str, Any]], object]) -> Iterator[int]:
    """Our HTTP server with one view, which returns nothing; its port."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        view(environ)
        return []

    server = HttpServer(app, host=LOOPBACK, port=0, request_timeout=20)
    server.listen()
    try:
        yield server.address[1]
    finally:
        server.stop_accepting()
        ENGINE.end(20)
        assert server.join(20)


class Pair(NamedTuple):
    server: Server
    client: Client


@contextmanager
def pair(client: dict[str, Any] | None = None, **options: Any) -> Iterator[Pair]:
    opened: SimpleQueue[Server] = SimpleQueue()
    over = threading.Event()

    def view(environ: dict[str, Any]) -> None:
        opened.put(accept(environ, **options))
        over.wait()

    with application(view) as port:
        try:
            yield Pair(
                opened_by(opened, found := Client(f"ws://{LOOPBACK}:{port}/", **(client or {}))), found
            )
        finally:
            over.set()


def opened_by(opened: SimpleQueue[Server], client: Client) -> Server:
    return opened.get(timeout=20)


both_ways = pytest.mark.parametrize("way", ["client to server", "server to client"])


@both_ways
@pytest.mark.parametrize(
    ("sent", "got"),
    [("hi", "hi"), (b"\0\1", b"\0\1"), ("", ""), (17, "17"), ("ü" * 100_000, "ü" * 100_000)],
)
def test_messages(way: str, sent: Any, got: str | bytes) -> None:
    with pair() as found:
        sender, receiver = found if way == "server to client" else reversed(found)
        sender.send(sent)
        assert receiver.receive() == got


def test_receive_with_a_timeout() -> None:
    with pair() as found:
        assert found.server.receive(timeout=0) is None
        assert found.server.receive(timeout=0.001) is None
        found.client.send("x")
        assert found.server.receive(timeout=20) == "x"


def test_what_came_before_the_end_can_be_received_after_it() -> None:
    with pair() as found:
        found.client.send("a")
        found.client.close()
        assert found.server.receive() == "a"
        with pytest.raises(simple_websocket.ConnectionClosed) as caught:
            found.server.receive()
        assert (caught.value.reason, caught.value.message) == (1000, "")
        assert not found.server.connected


def test_a_closed_connection_raises_what_programs_for_simple_websocket_catch() -> None:
    with pair() as found:
        assert found.server.connected
        found.server.close(4000, "out")
        assert not found.server.connected
        acts: list[Callable[[], object]] = [
            lambda: found.server.send("x"),
            found.server.receive,
            found.server.close,
            found.client.receive,
        ]
        for act in acts:
            with pytest.raises(theirs.ConnectionClosed) as caught:
                act()
            assert (int(caught.value.reason), caught.value.message) == (4000, "out")
            assert isinstance(caught.value, ConnectionClosed)
            assert caught.value.code == 4000
        assert (found.server.close_reason, found.server.close_message) == (4000, "out")


def test_a_lost_connection() -> None:
    with pair() as found:
        assert (found.server.close_reason, found.server.close_message) == (1005, None)
        found.client.threaded.connection.abort(1006)
        with pytest.raises(theirs.ConnectionClosed, match="1006"):
            found.server.receive()


@pytest.mark.parametrize(
    ("ours", "offered", "chosen"),
    [(None, ["a"], None), ("a", "a", "a"), (["a", "b"], ["b", "a"], "b"), (["a"], ["c"], None)],
)
def test_the_first_of_the_clients_that_we_speak(ours: Any, offered: Any, chosen: str | None) -> None:
    with pair({"subprotocols": offered}, subprotocols=ours) as found:
        assert found.server.subprotocol == found.client.subprotocol == chosen


def test_a_subclass_may_choose_otherwise() -> None:
    class Last(Server):
        def choose_subprotocol(self, request: Any) -> str | None:
            return str(request.subprotocols[-1])

    chosen: SimpleQueue[Any] = SimpleQueue()
    with application(lambda environ: chosen.put(Last.accept(environ).subprotocol)) as port:
        Client.connect(f"ws://{LOOPBACK}:{port}", subprotocols=["a", "b"]).close()
        assert chosen.get(timeout=20) == "b"


def test_what_is_too_big_is_refused() -> None:
    with pair(max_message_size=1000) as found:
        found.client.send("x" * 1001)
        with pytest.raises(theirs.ConnectionClosed, match="1009"):
            found.client.receive()


def test_any_size_at_all() -> None:
    with pair(max_message_size=None) as found:
        found.client.send(bytes(3 << 20))
        assert found.server.receive() == bytes(3 << 20)


def test_options_of_old() -> None:
    with pair({"receive_bytes": 1, "ping_interval": 25}, receive_bytes=1, ping_interval=25) as found:
        assert found.server.threaded.connection.limits.ping_interval == 25
        assert found.server.threaded.connection.limits.pong_timeout == 50
        assert found.server.mode == "threadchat"
        assert found.server.environ["REQUEST_METHOD"] == "GET"
        assert repr(found.server).startswith("<Server ")


def test_the_view_may_end_before_the_connection_does() -> None:
    opened: SimpleQueue[Server] = SimpleQueue()
    with application(lambda environ: opened.put(accept(environ))) as port:
        peer = handshake(port)
        server = opened.get(timeout=20)
        server.send("still here")
        assert peer.frame() == (frames.TEXT, b"still here")
        peer.send(close_frame())
        assert server.threaded.wait_gone(20)
        peer.close()


def test_one_that_the_application_has_let_go_of_ends() -> None:
    opened: SimpleQueue[ThreadedConnection] = SimpleQueue()
    with application(lambda environ: opened.put(accept(environ).threaded)) as port:
        peer = handshake(port)
        threaded = opened.get(timeout=20)
        gc.collect()
        threaded._look_for_owner()
        assert peer.frame() == (frames.CLOSE, b"\x03\xe9")
        peer.close()


def test_a_name_for_the_thread_stays_the_applications() -> None:
    names: SimpleQueue[str] = SimpleQueue()

    def view(environ: dict[str, Any]) -> None:
        before = threading.current_thread().name
        accept(environ).close()
        names.put("same" if threading.current_thread().name == before else "other")

    with application(view) as port:
        peer = handshake(port)
        assert names.get(timeout=20) == "same"
        peer.close()


def test_no_descriptor_is_left() -> None:
    before = open_descriptors()
    with pair() as found:
        found.client.send("x")
        found.server.receive()
        found.client.close()
    assert open_descriptors() == before


# -- what cannot be ----------------------------------------------------------------------------------


def test_a_request_that_is_no_handshake() -> None:
    caught: SimpleQueue[Any] = SimpleQueue()

    def view(environ: dict[str, Any]) -> None:
        try:
            accept(environ)
        except theirs.ConnectionError as error:
            caught.put(error)

    with application(view) as port:
        lines = [line for line in HANDSHAKE if not line.startswith("Sec-WebSocket-Key")]
        peer = request(port, *lines)
        error = caught.get(timeout=20)
        assert isinstance(error, ThreadchatError)
        assert error.status_code == 400
        assert "Sec-WebSocket-Key is missing" in str(error)
        peer.close()


def test_a_server_that_shows_no_socket() -> None:
    environ = {**ENVIRON, "REQUEST_METHOD": "GET", "SERVER_SOFTWARE": "waitress"}
    with pytest.raises(RuntimeError, match="waitress"):
        accept(environ)
    with pytest.raises(NoSocket):
        accept(environ)


def test_what_a_client_may_meet() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [])
        return [b"no"]

    server = HttpServer(app, host=LOOPBACK, port=0, request_timeout=20)
    server.listen()
    address = f"ws://{LOOPBACK}:{server.address[1]}"
    with pytest.raises(theirs.ConnectionError) as caught:
        Client(address)
    assert caught.value.status_code == 403
    server.stop_accepting()
    assert server.join(20)
    with pytest.raises(CannotConnect):
        Client(address)
    with pytest.raises(BadUrl):
        Client("nowhere")
    with pytest.raises(ConfigError, match="max_size=0"):
        Client(address, max_message_size=0)
    assert ENGINE._slots == {}
