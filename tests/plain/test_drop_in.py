"""Tests of what programs for other libraries rely on, and of what goes wrong while they do."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import simple_websocket as theirs
import websockets.exceptions

from tests.plain.helpers import LOOPBACK, echo, served, serving, url
from tests.plain.test_connection import pair
from tests.plain.test_simple_websocket import application
from tests.wire.conftest import Certificate
from tests.wire.helpers import close_frame
from threadchat import accept, broadcast, connect, unix_connect, unix_serve
from threadchat.errors import CannotConnect, ConnectionClosedError, HandshakeRefused
from threadchat.plain import own_thread, simple_websocket
from threadchat.plain.own_thread import OwnThread
from threadchat.plain.websockets.exceptions import ConcurrencyError, ConnectionClosed, SecurityError
from threadchat.plain.websockets.sync.client import connect as sync_connect

# -- how a connection ends -----------------------------------------------------------------------------


def test_what_the_peer_sent_before_it_saw_our_close_is_received() -> None:
    with served(close_timeout=None) as scene:
        scene.threaded.close(1000)
        scene.peer.send(b"\x81\x85\0\0\0\0later")
        scene.peer.send(close_frame())
        assert scene.threaded.receive_queue.get(20) == "later"
        with pytest.raises(EOFError):
            scene.threaded.receive_queue.get(20)


def test_a_flood_after_our_close_is_not_kept() -> None:
    with served(close_timeout=None) as scene:
        scene.threaded.close(1000)
        for _ in range(100):
            scene.peer.send(b"\x81\x81\0\0\0\0x")
        scene.peer.send(close_frame())
        assert scene.threaded.wait_gone(20)
        # What one read gave may be over the bound, but not what came after it.
        assert scene.threaded.receive_queue.qsize() <= 100


def test_a_mute_peer_is_lost_after_close_timeout_whatever_the_writer_says() -> None:
    with served(close_timeout=1.5, answer_timeout=None) as scene:
        scene.threaded.close(1000)
        scene.hand.advance(1.0)
        assert not scene.threaded.gone.is_set()
        scene.hand.advance(0.6)
        assert scene.threaded.wait_gone(20)
        assert scene.threaded.connection.peer_close is None


def test_shutdown_may_leave_connections_to_a_thread_in_serve_forever() -> None:
    with serving(echo) as server:
        forever = threading.Thread(target=server.serve_forever)
        forever.start()
        with connect(url(server)) as websocket:
            websocket.send("before")
            assert websocket.recv(20) == "before"
            ending = threading.Thread(target=lambda: server.shutdown(close_connections=False))
            ending.start()
            while server._http._accept_thread.is_alive():  # type: ignore[union-attr]
                forever.join(0.01)
            websocket.send("after")
            assert websocket.recv(20) == "after"
        ending.join(20)
        forever.join(20)
        assert not ending.is_alive()
        assert not forever.is_alive()


def test_the_path_is_as_it_was_sent_and_headers_are_kept_apart() -> None:
    def handler(websocket: Any) -> None:
        websocket.send(f"{websocket.request.path} {websocket.request.headers.get_all('X-A')}")

    with (
        serving(handler) as server,
        connect(url(server, "/a%2Fb?c=%2F"), additional_headers=[("X-A", "1"), ("X-A", "2")]) as websocket,
    ):
        assert websocket.recv(20) == "/a%2Fb?c=%2F ['1', '2']"
        assert websocket.request.headers.get_all("X-A") == ["1", "2"]
        assert websocket.request.headers["Host"] == f"{LOOPBACK}:{server.port}"
        assert websocket.response.headers["Upgrade"] == "websocket"


def test_code_that_imports_websockets_catches_ours() -> None:
    with pair() as found:
        found.client.close(4000, "bye")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
            found.server.recv(20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4000
        assert isinstance(caught.value, ConnectionClosed | ConnectionClosedError)


def test_the_namespace_needs_no_websockets() -> None:
    program = (
        "import sys; sys.modules['websockets'] = None\n"
        "from threadchat.plain.websockets.exceptions import ConnectionClosedOK\n"
        "from threadchat.plain.websockets.sync.client import connect\n"
        "print(ConnectionClosedOK(None, None), [it for it in sys.modules if it.startswith('websockets')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "no close frame received or sent ['websockets']\n"


# -- messages in fragments ---------------------------------------------------------------------------------


def test_nothing_gets_between_the_fragments_of_a_message() -> None:
    with pair() as found:
        begun, go_on = threading.Event(), threading.Event()

        def pieces() -> Iterator[str]:
            yield "a"
            begun.set()
            assert go_on.wait(20)
            yield "b"

        sender = threading.Thread(target=lambda: found.client.send(pieces()))
        sender.start()
        assert begun.wait(20)
        with pytest.raises(ConcurrencyError):
            found.client.send("x")
        assert broadcast([found.client], "x") == 0
        assert found.client.ping().wait(20)  # control frames may
        go_on.set()
        sender.join(20)
        found.client.send("c")
        assert [found.server.recv(20), found.server.recv(20)] == ["ab", "c"]


def test_fragments_wait_for_a_message_that_is_being_put(monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as scene:
        inside, go_on = threading.Event(), threading.Event()
        order: list[str] = []
        put = scene.threaded.connection.send

        def slow(text: Any) -> None:
            inside.set()
            assert go_on.wait(20)
            put(text)
            order.append("whole")

        monkeypatch.setattr(scene.threaded.connection, "send", slow)
        whole = threading.Thread(target=lambda: scene.threaded.send(scene.threaded.connection.text("x")))
        whole.start()
        assert inside.wait(20)

        def fragments() -> None:
            with scene.threaded.fragments():
                order.append("fragments")

        other = threading.Thread(target=fragments)
        other.start()
        while not scene.threaded._fragmenting:
            pass
        go_on.set()
        whole.join(20)
        other.join(20)
        assert order == ["whole", "fragments"]


# -- connecting ----------------------------------------------------------------------------------------------


def test_errors_of_connecting_are_the_systems_too(certificate: Certificate) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TimeoutError) as late:
            connect(f"ws://{LOOPBACK}:{port}", open_timeout=0.05)
        assert isinstance(late.value, CannotConnect)
    with pytest.raises(ConnectionRefusedError) as refused:
        connect(f"ws://{LOOPBACK}:{port}")
    assert isinstance(refused.value, CannotConnect)
    assert refused.value.errno == 111
    with pytest.raises(socket.gaierror) as unknown:
        connect("ws://no-such-host.invalid")
    assert isinstance(unknown.value, CannotConnect)
    assert unknown.value.errno is not None
    with serving(echo, ssl=certificate.server()) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as untrusted:
            connect(url(server).replace("ws://", "wss://"))
        assert isinstance(untrusted.value, CannotConnect)
        assert untrusted.value.verify_code


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(4096):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def http_proxy() -> Iterator[tuple[int, list[str]]]:
    """A proxy that serves one CONNECT; its port, and what it was asked."""
    asked: list[str] = []

    with socket.create_server((LOOPBACK, 0)) as listener:

        def run() -> None:
            client, _ = listener.accept()
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            asked.extend(head.decode().split("\r\n"))
            host, _, port = asked[0].split(" ")[1].partition(":")
            with client, socket.create_connection((host, int(port))) as upstream:
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=pump, args=(upstream, client))
                back.start()
                pump(client, upstream)
                back.join(20)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(20)


def test_a_proxy_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(echo) as server, http_proxy() as (port, asked):
        monkeypatch.setenv("ws_proxy", f"http://ann:secret@{LOOPBACK}:{port}")
        monkeypatch.setenv("no_proxy", "elsewhere")
        with sync_connect(url(server)) as websocket:  # the system's proxy
            websocket.send("hi")
            assert websocket.recv(20) == "hi"
        assert asked[0] == f"CONNECT {LOOPBACK}:{server.port} HTTP/1.1"
        assert "Proxy-Authorization: Basic YW5uOnNlY3JldA==" in asked


def test_a_socks_proxy_is_gone_through() -> None:
    pytest.importorskip("socks")
    asked: list[bytes] = []
    with serving(echo) as server, socket.create_server((LOOPBACK, 0)) as listener:

        def run() -> None:
            client, _ = listener.accept()
            with client:
                asked.append(client.recv(3))  # version, one method: none
                client.sendall(b"\5\0")
                request = client.recv(4)  # version, connect, reserved, kind of the address
                size = client.recv(1)[0]
                asked.append(request + client.recv(size) + client.recv(2))
                client.sendall(b"\5\0\0\1" + bytes(6))
                with socket.create_connection((LOOPBACK, server.port)) as upstream:
                    back = threading.Thread(target=pump, args=(upstream, client))
                    back.start()
                    pump(client, upstream)
                    back.join(20)

        thread = threading.Thread(target=run)
        thread.start()
        proxy = f"socks5h://{LOOPBACK}:{listener.getsockname()[1]}"
        with connect("ws://server.invalid:81/", proxy=proxy) as websocket:
            websocket.send("hi")
            assert websocket.recv(20) == "hi"
        thread.join(20)
    assert asked == [b"\5\1\0", b"\5\1\0\3server.invalid\0\x51"]


def test_a_redirect_to_another_host_takes_no_secrets_along() -> None:
    seen: SimpleQueue[list[str]] = SimpleQueue()

    def handler(websocket: Any) -> None:
        headers = websocket.request.headers
        seen.put([headers.get(name, "") for name in ("Authorization", "Cookie", "X-A")])

    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-A": "1"}
    with serving(handler) as there:

        def elsewhere(connection: Any, request: Any) -> Any:
            response = connection.respond(302, "there\n")
            response.headers["Location"] = url(there)
            return response

        with serving(handler, process_request=elsewhere) as here:
            connect(url(here), additional_headers=headers).close()
    assert seen.get(timeout=20) == ["", "", "1"]


def test_redirects_end() -> None:
    def elsewhere(connection: Any, request: Any) -> Any:
        response = connection.respond(302, "there\n")
        response.headers["Location"] = "/again"
        return response

    with (
        serving(echo, process_request=elsewhere) as server,
        pytest.raises(SecurityError, match="more than 10"),
    ):
        connect(url(server))


def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    with unix_serve(echo, tmp_path / "socket") as server, unix_connect(tmp_path / "socket") as websocket:
        assert server.address == (str(tmp_path / "socket"), 0)
        websocket.send("hi")
        assert websocket.recv(20) == "hi"


# -- simple-websocket ----------------------------------------------------------------------------------------


def test_a_limit_that_nobody_set_is_explained_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simple_websocket, "MAX_MESSAGE_SIZE", 1000)

    def view(environ: dict[str, Any]) -> None:
        websocket = accept(environ)
        with pytest.raises(theirs.ConnectionClosed):
            websocket.receive(20)
        websocket.threaded.wait_gone(20)

    with caplog.at_level(logging.WARNING), application(view) as port:
        client = simple_websocket.Client(f"ws://{LOOPBACK}:{port}/")
        client.send("x" * 1001)
        with pytest.raises(theirs.ConnectionClosed, match="1009"):
            client.receive(20)
        client.threaded.wait_gone(20)
    assert "SOCK_SERVER_OPTIONS, is the option that changes that" in caplog.text


def test_without_a_thread_a_request_fails_and_its_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, peer = socket.socketpair()
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_KEY": "x",
        "gunicorn.socket": ours,
    }

    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    with ours, peer:
        with pytest.raises(RuntimeError, match="can't start"):
            OwnThread(lambda environ, start_response: [])(environ, lambda *given: lambda data: None)
        assert peer.recv(1) == b""


def test_a_forked_process_has_none_of_its_parents_handlers() -> None:
    inside, over = threading.Event(), threading.Event()
    threads = own_thread._THREADS

    def handler() -> None:
        inside.set()
        over.wait(20)

    threads.start(handler)
    assert inside.wait(20)
    with threads._lock:  # as a fork may find it
        child = os.fork()
        if child == 0:
            os._exit(threads.running + threads._lock.locked())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert threads.running == 1
    over.set()


def test_a_refused_handshake_says_why() -> None:
    with serving(echo, origins=["https://a.example"]) as server, pytest.raises(HandshakeRefused) as caught:
        connect(url(server), origin="https://b.example")
    assert caught.value.status == 403
