"""Tests of flask-sock's shape under gunicorn: handlers leave the pool, and keep their request's context."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.process import until
from tests.mounted.host import Host, gunicorn
from tests.plain.test_programs import program
from tests.wire.conftest import Certificate
from threadchat import connect
from threadchat.errors import ConnectionClosedOK, HandshakeRefused

pytest.importorskip("flask")
pytest.importorskip("gunicorn")

CROWD = 200


@pytest.fixture(params=["gthread", "sync"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """One worker with one thread."""
    program(tmp_path, "flask_sock_contexts", "ours")
    threads = ("--threads", "1") if request.param == "gthread" else ()
    arguments = ("--worker-class", request.param, *threads, "--graceful-timeout", "10")
    with gunicorn(tmp_path, "flask_sock_contexts:app", *arguments) as host:
        yield host


def test_two_hundred_websockets_leave_the_one_thread_free(host: Host) -> None:
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(connect(f"{host.ws}/ws/{number}?user=u{number}", open_timeout=60))
            for number in range(CROWD)
        ]
        for number, websocket in enumerate(crowd):
            said = websocket.recv(60).split()
            assert said[:4] == [f"u{number}", str(number), "True", f"/ws/{number}"]
            assert said[4].startswith("handler-")
        assert host.get() == (200, b"page")
        for number, websocket in enumerate(crowd):
            websocket.send(f"again {number}")
        assert [websocket.recv(60) for websocket in crowd] == [f"again {number}" for number in range(CROWD)]
    host.wait_for_log("torn down: u0 NoneType handler-1")
    assert host.get() == (200, b"page")
    assert "Traceback" not in host.log()


def test_a_hook_may_refuse_a_websocket(host: Host) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        connect(f"{host.ws}/ws/1?user=banned", open_timeout=60)
    assert (caught.value.status, caught.value.body) == (403, "not you")
    with pytest.raises(HandshakeRefused) as caught:
        connect(f"{host.ws}/ws/none", open_timeout=60)
    assert caught.value.status == 404
    status, peer = host.knock("Sec-WebSocket-Key: short", path="/ws/1")
    assert status == 400
    peer.close()


def test_sigterm_ends_websockets_with_1001_and_lets_handlers_return(host: Host) -> None:
    with connect(f"{host.ws}/ws/1?user=ann", open_timeout=60) as websocket:
        websocket.recv(60)
        host.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosedOK, match="received 1001"):
            websocket.recv(60)
    assert host.process.wait(60) == 0
    assert "torn down: ann NoneType handler-1" in host.log()


def test_a_handler_may_stay_on_the_worker(tmp_path: Path) -> None:
    path = program(tmp_path, "flask_sock_contexts", "ours")
    options = {"leaves_thread": False, "send_timeout": 5, "write_timeout": 60, "close_timeout": 5}
    stays = f'app.config["SOCK_SERVER_OPTIONS"] = {options!r}\n'
    path.write_text(path.read_text().replace("sock = Sock(app)\n", f"sock = Sock(app)\n{stays}"))
    with gunicorn(tmp_path, "flask_sock_contexts:app", "--threads", "2") as host:
        with connect(f"{host.ws}/ws/1", open_timeout=60) as websocket:
            assert "handler-" not in websocket.recv(60)
        assert host.get() == (200, b"page")


def test_those_above_the_limit_are_told_to_come_back(tmp_path: Path) -> None:
    path = program(tmp_path, "flask_sock_contexts", "ours")
    # Registered twice: the request's thread is left once all the same.
    limit = 'sock.init_app(app)\napp.config["SOCK_SERVER_OPTIONS"] = {"max_connections": 2}\n'
    path.write_text(path.read_text().replace("sock = Sock(app)\n", f"sock = Sock(app)\n{limit}"))
    with gunicorn(tmp_path, "flask_sock_contexts:app", "--threads", "1") as host:
        with (
            connect(f"{host.ws}/ws/1", open_timeout=60) as one,
            connect(f"{host.ws}/ws/2", open_timeout=60) as other,
        ):
            assert [one.recv(60).split()[4], other.recv(60).split()[4]] == ["handler-1", "handler-2"]
            with pytest.raises(HandshakeRefused) as caught:
                connect(f"{host.ws}/ws/3", open_timeout=60)
            assert caught.value.status == 503
        host.wait_for_log("torn down: nobody NoneType handler-1")
        host.wait_for_log("torn down: nobody NoneType handler-2")

        def again() -> bool:
            try:
                connect(f"{host.ws}/ws/3", open_timeout=60).close()
            except HandshakeRefused:  # the thread is in its last lines
                return False
            return True

        until(again, "room for another one")


def tls_server(folder: Path, certificate: Certificate, server: str) -> Host:
    path = program(folder, "flask_sock_contexts", "ours")
    files = (str(certificate.chain), str(certificate.key))
    if server == "werkzeug":
        path.write_text(path.read_text().replace("app.run(", f"app.run(ssl_context={files!r}, "))
        return Host(folder, str(path), "{port}")
    arguments = ("--certfile", files[0], "--keyfile", files[1], "--threads", "1", "--worker-class", server)
    return gunicorn(folder, "flask_sock_contexts:app", *arguments)


@pytest.mark.parametrize("server", ["werkzeug", "gthread", "sync"])
def test_tls_of_the_servers_own(tmp_path: Path, certificate: Certificate, server: str) -> None:
    with tls_server(tmp_path, certificate, server) as host:
        address = host.ws.replace("ws://", "wss://")
        with (
            connect(f"{address}/ws/1", ssl=certificate.client(), open_timeout=60, max_size=None) as one,
            connect(f"{address}/ws/2", ssl=certificate.client(), open_timeout=60) as other,
        ):
            assert one.recv(60).split()[1] == "1"
            assert other.recv(60).split()[1] == "2"
            for message in ("x" * 3_000_000, b"\0" * 100_000, ""):
                one.send(message)
                assert one.recv(60) == message
            assert one.ping().wait(60)
            other.send("meanwhile")
            assert other.recv(60) == "meanwhile"
            one.close(4000, "bye")
            assert one.close_code == 4000
        host.wait_for_log("torn down: nobody NoneType")
        host.process.send_signal(signal.SIGTERM)
        host.process.wait(60)
        assert "Traceback" not in host.log()


def test_reloading_ends_websockets_with_1001(tmp_path: Path) -> None:
    program(tmp_path, "flask_sock_contexts", "ours")
    with gunicorn(tmp_path, "flask_sock_contexts:app", "--threads", "1") as host:
        with connect(f"{host.ws}/ws/1", open_timeout=60) as websocket:
            websocket.recv(60)
            host.process.send_signal(signal.SIGHUP)
            with pytest.raises(ConnectionClosedOK, match="received 1001"):
                websocket.recv(60)
        with connect(f"{host.ws}/ws/2", open_timeout=60) as websocket:
            assert websocket.recv(60).split()[1] == "2"


def test_a_worker_that_is_recycled_ends_websockets_with_1001(tmp_path: Path) -> None:
    program(tmp_path, "flask_sock_contexts", "ours")
    with (
        gunicorn(tmp_path, "flask_sock_contexts:app", "--threads", "1", "--max-requests", "3") as host,
        connect(f"{host.ws}/ws/1", open_timeout=60) as websocket,
    ):
        websocket.recv(60)
        for _ in range(3):
            host.get()
        with pytest.raises(ConnectionClosedOK, match="received 1001"):
            websocket.recv(60)


def test_a_handler_may_leave_by_the_exception_of_simple_websocket_itself(tmp_path: Path) -> None:
    path = program(tmp_path, "flask_sock_contexts", "ours")
    text = path.read_text().replace(
        "        ws.send(ws.receive())\n", "        ws.receive()\n        raise ConnectionClosed\n"
    )
    path.write_text(f"from simple_websocket import ConnectionClosed\n{text}")
    with Host(tmp_path, str(path), "{port}") as host:
        with connect(f"{host.ws}/ws/1", open_timeout=60) as websocket:
            websocket.recv(60)
            websocket.send("x")
            with pytest.raises(ConnectionClosedOK, match="received 1000"):
                websocket.recv(60)
        assert "Traceback" not in host.log()
