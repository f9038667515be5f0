"""Whether `server/http/server.py` accepts, serves, refuses, survives and ends; raw bytes over loopback."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from wsgiref.validate import validator

import pytest

from threadchat.server.http import server as http_server
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.server import HttpServer

PLAIN = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
Start = Callable[..., HttpServer]


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers; afterwards no thread of theirs and no descriptor may be left."""
    threads, files = set(threading.enumerate()), descriptors()
    servers: list[HttpServer] = []

    def start(app: Any = hello, **settings: Any) -> HttpServer:
        server = HttpServer(app, **{"host": "127.0.0.1", "port": 0, "request_timeout": 5.0, **settings})
        servers.append(server)
        server.listen()
        return server

    yield start
    for server in servers:
        server.stop_accepting()
        server.hang_up()
        assert server.join(10)
        assert server.connections == 0
    assert set(threading.enumerate()) <= threads
    assert descriptors() == files


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def ask(server: HttpServer, raw: bytes = PLAIN) -> bytes:
    with socket.create_connection(server.address) as client:
        client.sendall(raw)
        return receive_all(client)


def reset(client: socket.socket) -> None:
    """Close with a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Lines(logging.Handler):
    """Keeps log records and signals each."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logged = Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.logged.set()


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("threadchat.server")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_request_is_answered_and_the_connection_ends(start: Start) -> None:
    reply = ask(start())
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in reply
    assert b"\r\nDate: " in reply
    assert reply.endswith(b"\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")


def test_head_and_http_1_0(start: Start) -> None:
    server = start()
    bare = ask(server, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b"\r\nContent-Length: 5\r\n" in bare
    assert bare.endswith(b"\r\n\r\n")
    assert ask(server, b"GET / HTTP/1.0\r\n\r\n").endswith(b"hello")


def test_the_environ_names_server_and_peer_and_carries_the_body(start: Start) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        names = "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "REQUEST_METHOD"
        return [" ".join(environ[name] for name in names).encode(), b" ", environ["wsgi.input"].read()]

    server = start(app)
    with socket.create_connection(server.address) as client:
        client.sendall(b"BREW / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ntea")
        expected = f"127.0.0.1 {server.address[1]} 127.0.0.1 {client.getsockname()[1]} BREW tea"
        assert receive_all(client).endswith(expected.encode())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"414"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000, b"413"),
    ],
)
def test_an_early_refusal_reaches_a_peer_that_sends_it_all_first(
    start: Start, raw: bytes, status: bytes
) -> None:
    reply = ask(start(), raw)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in head.split(b"\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert body.endswith(b".\n")


def test_a_refused_head_request_has_no_body_either(start: Start) -> None:
    reply = ask(start(), b"HEAD / HTTP/1.1\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost"])
def test_a_request_that_does_not_come_is_408(start: Start, begun: bytes) -> None:
    assert ask(start(request_timeout=0.2), begun).startswith(b"HTTP/1.1 408 ")


def test_a_peer_that_never_closes_is_left_in_the_end(start: Start) -> None:
    server = start(request_timeout=0.2)
    with socket.create_connection(server.address) as client:
        client.sendall(PLAIN)
        assert receive_all(client).endswith(b"hello")
        server.stop_accepting()
        assert server.join(5)  # though `client` is open still


def test_a_peer_that_vanishes_is_no_news(start: Start, lines: Lines) -> None:
    arrived = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        arrived.set()
        assert gone.wait(5)
        return hello(environ, start_response)

    gone = Event()
    server = start(app)
    for raw in (b"", b"GET /"):
        client = socket.create_connection(server.address)
        client.sendall(raw)
        reset(client)
    client = socket.create_connection(server.address)
    client.sendall(PLAIN)
    assert arrived.wait(5)
    reset(client)
    gone.set()
    server.stop_accepting()
    assert server.join(5)
    assert [record for record in lines.records if record.levelno > logging.DEBUG] == []


def test_an_application_that_fails_is_500_and_logged_once(start: Start, lines: Lines) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/raise":
            raise KeyError("secret")
        if environ["PATH_INFO"] == "/silent":
            return []
        if environ["PATH_INFO"] == "/split":
            start_response("200 OK", [("X", "a\r\nY: b")])
            return []
        return hello(environ, start_response)

    server = start(app)
    for path in (b"/raise", b"/silent", b"/split"):
        lines.records.clear()
        reply = ask(server, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in reply
        assert [(record.levelname, record.exc_info is not None) for record in lines.records] == [
            ("ERROR", True)
        ]
    assert ask(server).endswith(b"hello")


class Session:
    """An application that takes the connection over and keeps it until it is let go."""

    def __init__(self) -> None:
        self.taken: list[tuple[socket.socket, bytes]] = []
        self.numbers: list[int] = []
        self.names: list[str] = []
        self.entered = Event()
        self.let_go = Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        handover = environ["threadchat.handover"]
        self.taken.append(handover.take())
        self.numbers.append(handover.number)
        self.names.append(threading.current_thread().name)
        with pytest.raises(RuntimeError):
            handover.take()
        self.entered.set()
        assert self.let_go.wait(10)
        return []


def test_a_connection_that_is_taken_over_is_left_alone(start: Start) -> None:
    session = Session()
    server = start(session, request_timeout=0.2)
    with socket.create_connection(server.address) as client:
        client.sendall(PLAIN.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n") + b"\x81frame")
        assert session.entered.wait(5)
        ((ours, trailing),) = session.taken
        with ours:
            assert (trailing, ours.gettimeout()) == (b"\x81frame", None)
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert (session.numbers, session.names) == ([1], ["http-1"])
            assert server.connections == 1
            server.stop_accepting()
            server.hang_up()
            assert not server.join(0)
            session.let_go.set()
            assert server.join(5)
            client.sendall(b"ping")  # nothing was sent, shut down or closed behind the session's back
            assert ours.recv(10) == b"ping"
            ours.sendall(b"pong")
            assert client.recv(10) == b"pong"


def test_an_exception_after_the_handover_is_logged_and_no_reply_is_sent(start: Start, lines: Lines) -> None:
    taken = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        taken.append(environ["threadchat.handover"].take()[0])
        raise KeyError("session")

    server = start(app)
    with socket.create_connection(server.address) as client:
        client.sendall(PLAIN)
        assert lines.logged.wait(5)
        server.stop_accepting()
        assert server.join(5)
        with taken[0] as ours:
            ours.sendall(b"mine")
        assert receive_all(client) == b"mine"


def test_hang_up_ends_the_wait_for_requests_and_spares_replies(start: Start) -> None:
    answering, answer = Event(), Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        answering.set()
        assert answer.wait(5)
        return hello(environ, start_response)

    server = start(app, request_timeout=60)
    with (
        socket.create_connection(server.address) as silent,
        socket.create_connection(server.address) as asking,
    ):
        asking.sendall(PLAIN)
        assert answering.wait(5)
        server.stop_accepting()
        server.hang_up()
        assert receive_all(silent) == b""
        answer.set()
        assert receive_all(asking).endswith(b"hello")
        assert server.join(5)


def test_above_max_connections_it_is_503_without_a_thread(start: Start) -> None:
    session = Session()
    server = start(session, max_connections=1)
    with socket.create_connection(server.address) as first:
        first.sendall(PLAIN)
        assert session.entered.wait(5)
        for _ in range(100):
            reply = ask(server)
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: " in reply
        assert (server.connections, session.numbers) == (1, [1])
        session.taken[0][0].close()
        session.let_go.set()
    assert server.join(5)  # it accepts still; there is nobody left, that is all
    with socket.create_connection(server.address) as second:
        session.entered.clear()
        second.sendall(PLAIN)
        assert session.entered.wait(5)
        session.taken[1][0].close()
    assert session.numbers == [1, 2]


def ask_from(server: HttpServer, address: str) -> bytes:
    with socket.create_connection(server.address, source_address=(address, 0)) as client:
        client.sendall(PLAIN)
        return receive_all(client)


def test_above_what_one_address_may_have_it_is_503_for_that_address(start: Start) -> None:
    session = Session()
    server = start(session, max_per_address=2)
    with ExitStack() as held:
        for _ in range(2):
            session.entered.clear()
            held.enter_context(socket.create_connection(server.address)).sendall(PLAIN)
            assert session.entered.wait(5)
        assert ask_from(server, "127.0.0.1").startswith(b"HTTP/1.1 503 ")
        session.entered.clear()
        other = held.enter_context(socket.create_connection(server.address, source_address=("127.0.0.7", 0)))
        other.sendall(PLAIN)
        assert session.entered.wait(5)
        session.let_go.set()
        assert server.join(5)
        session.entered.clear()
        held.enter_context(socket.create_connection(server.address)).sendall(PLAIN)
        assert session.entered.wait(5), "those who went have made room"
        for sock, _ in session.taken:
            sock.close()


def test_a_trusted_proxy_stands_for_many(start: Start) -> None:
    session = Session()
    server = start(session, max_per_address=1, proxies=Proxies("127.0.0.1"))
    with ExitStack() as held:
        for _ in range(3):
            session.entered.clear()
            held.enter_context(socket.create_connection(server.address)).sendall(PLAIN)
            assert session.entered.wait(5)
        session.let_go.set()
        for sock, _ in session.taken:
            sock.close()


def test_no_thread_to_be_had_is_503_logged_once_an_episode(
    start: Start, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce = Event()

    class ScarceThread(Thread):
        def start(self) -> None:
            if scarce.is_set() and self.name.startswith("http-"):
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(http_server, "Thread", ScarceThread)
    server = start()
    for _ in range(2):
        lines.records.clear()
        scarce.set()
        assert [ask(server)[:12] for _ in range(3)] == [b"HTTP/1.1 503"] * 3
        assert len(lines.records) == 1
        assert "thread" in lines.records[0].getMessage()
        scarce.clear()
        assert ask(server).endswith(b"hello")


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], list[int]]]:
    """Uses up all descriptors of this process, and returns those it took."""
    taken: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def exhaust() -> list[int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        return taken

    yield exhaust
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors_it_waits_and_then_serves(
    start: Start, lines: Lines, no_descriptors: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BACK_OFF", 0.01)
    server = start()
    waits: list[float] = []
    three = Event()
    wait = server._stopping.wait

    def counted(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            three.set()
        return wait(seconds)

    monkeypatch.setattr(server._stopping, "wait", counted)
    with socket.socket() as client:
        taken = no_descriptors()
        client.connect(server.address)
        client.sendall(PLAIN)
        assert three.wait(5)
        assert len(lines.records) == 1
        assert os.strerror(errno.EMFILE) in lines.records[0].getMessage()
        os.close(taken.pop())
        assert receive_all(client).endswith(b"hello")
    assert set(waits) == {0.01}


def test_stopping_while_out_of_descriptors(
    start: Start, lines: Lines, no_descriptors: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BACK_OFF", 60)
    server = start()
    with socket.socket() as client:
        no_descriptors()
        client.connect(server.address)
        assert lines.logged.wait(5)
        server.stop_accepting()  # and does not sit out the minute


def test_stop_accepting_is_final_and_repeatable(start: Start) -> None:
    server = start()
    assert repr(server) == f"<HttpServer 127.0.0.1:{server.address[1]} listening connections=0>"
    assert f"accept-{server.address[1]}" in {thread.name for thread in threading.enumerate()}
    stoppers = [Thread(target=server.stop_accepting) for _ in range(4)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    assert f"accept-{server.address[1]}" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address)
    server.stop_accepting()
    assert "stopped" in repr(server)


def test_a_server_that_never_listened_stops_too() -> None:
    server = HttpServer(hello, host="127.0.0.1", port=0, request_timeout=1)
    assert "new" in repr(server)
    server.stop_accepting()
    assert server.join(0)


def test_a_taken_port_is_an_error_that_leaks_nothing(start: Start) -> None:
    port = start().address[1]
    before = descriptors()
    with pytest.raises(OSError):
        start(port=port)
    assert descriptors() == before


def test_the_hook_runs_once_on_the_accept_thread(start: Start) -> None:
    names: list[str] = []
    server = start(on_accept_thread=lambda: names.append(threading.current_thread().name))
    ask(server)
    ask(server)
    assert names == [f"accept-{server.address[1]}"]


def test_a_hook_that_fails_is_logged_and_harms_nothing(start: Start, lines: Lines) -> None:
    def hook() -> None:
        raise KeyError("hook")

    assert ask(start(on_accept_thread=hook)).endswith(b"hello")
    assert [record.levelname for record in lines.records] == ["ERROR"]


def test_a_hook_may_stop_its_server(start: Start) -> None:
    servers: list[HttpServer] = []
    listening = Event()

    def hook() -> None:
        assert listening.wait(5)
        servers[0].stop_accepting()

    servers.append(start(on_accept_thread=hook))
    listening.set()
    servers[0].stop_accepting()


def test_the_reference_checker_finds_nothing_to_complain_of(start: Start) -> None:
    assert ask(start(validator(hello)), PLAIN.replace(b"/", b"/a?b=c", 1)).endswith(b"hello")


def test_many_at_once(start: Start) -> None:
    server = start()
    clients = [socket.create_connection(server.address) for _ in range(200)]
    for client in clients:
        client.sendall(PLAIN)
    for client in clients:
        assert receive_all(client).endswith(b"hello")
        client.close()
