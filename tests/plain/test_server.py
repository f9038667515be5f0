"""Tests of `serve`: handlers and how they end, shutting down, and addresses that cannot be had."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from websockets.sync.client import connect as their_connect

from tests.e2e.process import until
from tests.plain.helpers import HANDSHAKE, LOOPBACK, echo, handshake, request, serving, together, url
from tests.wire.conftest import Certificate
from tests.wire.helpers import Peer, open_descriptors, text_frame
from threadchat import broadcast, connect, serve
from threadchat.errors import (
    CannotConnect,
    ConfigError,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeRefused,
)
from threadchat.plain.wakeup import Wakeup
from threadchat.wire.protocol import frames


def test_a_handler_has_a_thread_of_its_own_with_a_name() -> None:
    seen: SimpleQueue[Any] = SimpleQueue()

    def handler(websocket: Any) -> None:
        seen.put((threading.current_thread(), websocket.threaded.number))

    with serving(handler) as server, connect(url(server)):
        thread, number = seen.get(timeout=20)
        assert thread.name == f"handler-{number}"
        assert thread.daemon


def test_one_that_returns_closes_with_1000() -> None:
    with serving(lambda websocket: websocket.send("last words")) as server, connect(url(server)) as websocket:
        assert list(websocket) == ["last words"]
        assert (websocket.close_code, websocket.close_reason) == (1000, "")


def test_one_that_raises_closes_with_1011_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def handler(websocket: Any) -> None:
        websocket.send("before")
        raise ZeroDivisionError("sorry")

    with serving(handler) as server, connect(url(server)) as websocket:
        assert websocket.recv(20) == "before"
        with pytest.raises(ConnectionClosedError, match="1011"):
            websocket.recv(20)
    assert "the handler failed" in caplog.text
    assert "sorry" in caplog.text


def test_one_whose_peer_is_lost_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with serving(lambda websocket: websocket.recv()) as server:
        handshake(server.port).close()
        until(lambda: "ended with its connection" in caplog.text, "the log")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_websockets_client_and_back() -> None:
    with (
        serving(echo, subprotocols=["chat"]) as server,
        their_connect(url(server), subprotocols=["chat"]) as websocket,  # type: ignore[list-item]
    ):
        for message in ("hi", b"\0\1", "ü" * 100_000):
            websocket.send(message)
            assert websocket.recv(20) == message
        websocket.send(["in ", "pieces"])
        assert websocket.recv(20) == "in pieces"
        assert websocket.ping().wait(20)


def test_what_is_too_big_is_refused() -> None:
    with serving(echo, max_size=1000) as server, connect(url(server)) as websocket:
        websocket.send("x" * 1001)
        with pytest.raises(ConnectionClosedError, match="1009"):
            websocket.recv(20)


def test_what_comes_right_after_the_handshake_is_not_lost() -> None:
    head = "\r\n".join(["GET / HTTP/1.1", "Host: here", *HANDSHAKE, "", ""]).encode()
    with serving(echo) as server:
        peer = Peer(socket.create_connection((LOOPBACK, server.port)))
        peer.send(head, text_frame("early"))
        assert peer.response().startswith(b"HTTP/1.1 101 ")
        assert peer.frame() == (frames.TEXT, b"early")
        peer.close()


def test_connections_are_those_that_are_open() -> None:
    with serving(echo) as server:
        assert server.connections == set()
        with connect(url(server)) as websocket:
            websocket.send("x")
            websocket.recv(20)
            (ours,) = server.connections
            assert ours.remote_address == websocket.local_address
        until(lambda: server.connections == set(), "the end of the connection")


def test_a_limit_of_connections() -> None:
    with serving(echo, max_connections=1) as server, connect(url(server)) as websocket:
        websocket.send("x")
        websocket.recv(20)
        peer = request(server.port)
        assert peer.response().startswith(b"HTTP/1.1 503 ")
        peer.close()


# -- shutting down -----------------------------------------------------------------------------------


def test_serve_forever_returns_when_another_thread_shuts_down() -> None:
    with serving(echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with connect(url(server)) as websocket:
            websocket.send("x")
            assert websocket.recv(20) == "x"
            assert server.shutdown()
            with pytest.raises(ConnectionClosedOK, match="1001"):
                websocket.recv(20)
        thread.join(60)
        assert not thread.is_alive()
        server.serve_forever()  # returns at once


def test_a_shutdown_closes_with_1001_while_handlers_run_and_waits_for_them() -> None:
    ended: list[object] = []
    go_on = threading.Event()

    def handler(websocket: Any) -> None:
        websocket.send("here")
        for _ in websocket:
            pass
        go_on.wait()
        ended.append(websocket.close_code)

    with serving(handler) as server:
        clients = [connect(url(server)) for _ in range(5)]
        for client in clients:
            assert client.recv(20) == "here"
        assert not server.shutdown(timeout=0)
        for client in clients:
            assert list(client) == []
            assert client.close_code == 1001
        assert ended == []
        go_on.set()
        assert server.shutdown()
        assert ended == [1001] * 5
        for client in clients:
            client.close()


def test_many_threads_shut_down_at_once() -> None:
    with serving(echo) as server, connect(url(server)):
        assert together(*[server.shutdown] * 4) == [True] * 4


def test_a_code_of_its_own() -> None:
    with serving(echo) as server, connect(url(server)) as websocket:
        websocket.send("x")
        websocket.recv(20)
        server.shutdown(code=4321, reason="moving")
        with pytest.raises(ConnectionClosedError, match="received 4321"):
            websocket.recv(20)


def test_connections_may_be_let_go_on() -> None:
    with serving(echo) as server, connect(url(server)) as websocket:
        websocket.send("x")
        assert websocket.recv(20) == "x"
        assert not server.shutdown(close_connections=False, timeout=0)
        websocket.send("still here")
        assert websocket.recv(20) == "still here"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, server.port))
        websocket.close()
        assert server.shutdown(close_connections=False)


def test_whoever_is_in_the_handshake_then_is_turned_away() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def process_request(connection: Any, request: Any) -> None:
        reached.set()
        go_on.wait()

    with serving(echo, process_request=process_request) as server:
        peer = request(server.port, *HANDSHAKE)
        assert reached.wait(20)
        assert not server.shutdown(timeout=0)
        go_on.set()
        assert peer.response().startswith(b"HTTP/1.1 503 ")
        peer.close()


def test_a_handler_may_shut_down_its_own_server() -> None:
    results: list[bool] = []

    def handler(websocket: Any) -> None:
        results.append(server.shutdown())

    with serving(handler) as server, connect(url(server)) as websocket:
        server.serve_forever()
        assert websocket.wait_closed(20)
    assert results == [False]


def test_a_signal_handler_may_shut_down() -> None:
    with serving(echo) as server, connect(url(server)) as websocket:
        main = threading.get_ident()
        before = signal.signal(signal.SIGUSR1, lambda number, frame: server.shutdown())

        def interrupt() -> None:
            until(lambda: bool(server._wakeup._waiters), "serve_forever")
            signal.pthread_kill(main, signal.SIGUSR1)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            server.serve_forever()
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, before)
        assert websocket.wait_closed(20)
        assert websocket.close_code == 1001


def test_an_interrupt_ends_serve_forever_and_the_block_shuts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(wake: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Wakeup, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), serving(echo) as server:
        server.serve_forever()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, server.port))


def test_no_descriptor_is_left() -> None:
    before = open_descriptors()
    with serving(echo) as server:
        with connect(url(server)) as websocket:
            websocket.send("x")
            websocket.recv(20)
        handshake(server.port).close()
    assert open_descriptors() == before


# -- addresses ---------------------------------------------------------------------------------------


def test_where_it_listens() -> None:
    with serving(echo) as server:
        assert server.address == (LOOPBACK, server.port)
        assert server.socket.getsockname() == (LOOPBACK, server.port)
        assert server.fileno() == server.socket.fileno()
        assert repr(server) == f"<Server {LOOPBACK}:{server.port} connections=0>"


def test_without_host_and_port_it_listens_everywhere_on_a_free_one() -> None:
    with serve(echo) as server, connect(f"ws://localhost:{server.port}") as websocket:
        websocket.send("x")
        assert websocket.recv(20) == "x"


def test_a_port_in_use() -> None:
    with (
        serving(echo) as server,
        pytest.raises(OSError, match=f"127.0.0.1 port {server.port} is in use by another program; choose"),
    ):
        serve(echo, LOOPBACK, server.port)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("no.such.host.invalid", "host no.such.host.invalid cannot be resolved"),
        ("203.0.113.1", "203.0.113.1 is not an address of this machine"),
    ],
)
def test_a_host_that_is_not_here(host: str, why: str) -> None:
    with pytest.raises(OSError, match=why):
        serve(echo, host, 0)


def test_options_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="open_timeout"):
        serve(echo, LOOPBACK, 0, open_timeout=0)
    with pytest.raises(ConfigError, match="close_timeout"):
        serve(echo, LOOPBACK, 0, close_timeout=-1)
    with pytest.raises(ConfigError, match=r"ssl=<object.* must be an ssl\.SSLContext"):
        serve(echo, LOOPBACK, 0, ssl=object())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="this context is for clients"):
        serve(echo, LOOPBACK, 0, ssl=ssl.create_default_context())


# -- TLS -----------------------------------------------------------------------------------------------


def test_within_tls(certificate: Certificate) -> None:
    seen: list[Any] = []

    def handler(websocket: Any) -> None:
        seen.append(websocket.remote_address)
        echo(websocket)

    with serving(handler, ssl=certificate.server()) as server:
        secure = url(server).replace("ws:", "wss:")
        with their_connect(secure, ssl=certificate.client()) as theirs:
            theirs.send("hi")
            assert theirs.recv(20) == "hi"
        with connect(secure, ssl=certificate.client()) as websocket:
            for message in ("hi", bytes(900_000)):
                websocket.send(message)
                assert websocket.recv(20) == message
            assert websocket.ping().wait(20)
            broadcast(server.connections, "all")
            assert websocket.recv(20) == "all"
            ours = websocket.local_address
    assert [address[0] for address in seen] == [LOOPBACK] * 2
    assert seen[1] == ours


def test_a_certificate_that_nobody_vouches_for(certificate: Certificate) -> None:
    with serving(echo, ssl=certificate.server()) as server:
        secure = url(server).replace("ws:", "wss:")
        with pytest.raises(CannotConnect, match=f"{LOOPBACK} port {server.port}: no TLS: .*self.signed"):
            connect(secure)
        with connect(secure, ssl=certificate.client()) as websocket:
            websocket.send("as before")
            assert websocket.recv(20) == "as before"


def test_who_speaks_no_tls_is_told(certificate: Certificate) -> None:
    with serving(echo, ssl=certificate.server()) as server:
        with pytest.raises(HandshakeRefused, match="400") as caught:
            connect(url(server))
        assert "wss://" in caught.value.body


def test_a_shutdown_does_not_wait_for_a_handshake_of_tls(certificate: Certificate) -> None:
    with socket.socket() as silent, serving(echo, ssl=certificate.server(), open_timeout=None) as server:
        silent.connect((LOOPBACK, server.port))
        silent.sendall(b"\x16")
        until(lambda: server._http.connections == 1, "the connection's thread")
        assert server.shutdown(timeout=20)


def test_a_context_of_tls_stays_as_it_is(certificate: Certificate) -> None:
    context = certificate.server()
    before = context.options
    with serving(echo, ssl=context) as server:
        server._http.reload()
        with connect(url(server).replace("ws:", "wss:"), ssl=certificate.client()):
            pass
    assert context.options == before
