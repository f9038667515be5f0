"""Whether `server/http/server.py` serves HTTP over TLS, and nothing else, within the same limits."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.e2e.process import until
from tests.server.http.test_certificates import make_another
from tests.wire.conftest import Certificate
from tests.wire.helpers import PATIENCE, finish
from tests.wire.helpers import start as begin
from threadchat.server.http.certificates import Certificates
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.server import HttpServer
from threadchat.wire.tls import TlsSocket

PLAIN = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"
Start = Callable[..., HttpServer]


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ['PATH_INFO']} {environ['REMOTE_ADDR']}".encode()]


@pytest.fixture
def start(certificate: Certificate) -> Iterator[Start]:
    """Starts servers that speak TLS; afterwards no thread of theirs is left."""
    servers: list[HttpServer] = []

    def start(app: Any = tell, **settings: Any) -> HttpServer:
        ours = Certificates(str(certificate.chain), str(certificate.key))
        options = {"host": "127.0.0.1", "port": 0, "request_timeout": 30.0, "certificates": ours, **settings}
        server = HttpServer(app, **options)
        servers.append(server)
        server.listen()
        return server

    yield start
    for server in servers:
        server.stop_accepting()
        server.hang_up()
        assert server.join(PATIENCE)


def connected(server: HttpServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = socket.create_connection(server.address, PATIENCE)
    return context.wrap_socket(sock, server_hostname="localhost")


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def ask(server: HttpServer, context: ssl.SSLContext, raw: bytes = PLAIN) -> bytes:
    with connected(server, context) as client:
        client.sendall(raw)
        return receive_all(client)


def alone(server: HttpServer) -> None:
    """Waits until nobody is connected."""
    until(lambda: server.connections == 0, "the connection to end")


def test_nothing_of_tls_follows_the_handshake_while_a_client_sends_its_request(
    start: Start, certificate: Certificate
) -> None:
    """websockets.sync reads in one thread and sends in another, which OpenSSL does not allow at once."""
    with connected(start(), certificate.client()) as client:
        assert client.version() == "TLSv1.3"
        client.sendall(PLAIN)
        assert receive_all(client).startswith(b"HTTP/1.1 200 ")
        assert client.session is None or not client.session.has_ticket


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_is_answered_and_the_connection_ends_in_order(
    start: Start, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    server = start()
    assert server.url.startswith("https://127.0.0.1:")
    context = certificate.client()
    context.minimum_version = context.maximum_version = version
    with connected(server, context) as client:
        client.sendall(PLAIN)
        assert receive_all(client).endswith(b"\r\n\r\nhttps /a 127.0.0.1")
        assert client.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
        client.unwrap().close()  # the server said close_notify too


def test_a_large_reply_and_a_body(start: Start, certificate: Certificate) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read() * 100]

    raw = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n"
    with connected(start(app), certificate.client()) as client:
        client.sendall(raw)
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"0123456789" * 5000)
        assert receive_all(client).endswith(b"0123456789" * 500_000)


def test_a_plain_request_gets_a_plain_answer(start: Start) -> None:
    with socket.create_connection(start().address) as client:
        client.sendall(PLAIN)
        reply = receive_all(client)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.endswith(b"This port requires TLS; use https:// or wss://.\n")


def test_an_odd_request_is_refused_within_tls(start: Start, certificate: Certificate) -> None:
    reply = ask(start(), certificate.client(), b"GET / HTTP/1.1\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ")


@contextlib.contextmanager
def debug_lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.clear()
    lines: list[str] = []
    with caplog.at_level(logging.DEBUG, logger="threadchat"):
        yield lines
    lines += [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x16\x03\x01" + b"\xff" * 600,
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
    ],
    ids=["nothing", "half a hello", "garbage", "an empty hello"],
)
@pytest.mark.parametrize("ends", ["close", "reset"])
def test_whoever_comes_to_nothing_ends_with_one_line(
    start: Start, caplog: pytest.LogCaptureFixture, said: bytes, ends: str
) -> None:
    server = start()
    with debug_lines(caplog) as lines:
        client = socket.create_connection(server.address)
        client.sendall(said)
        if ends == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: server._accepted == 1 and server.connections == 0, "the connection to end")
        server.stop_accepting()
        assert server.join(PATIENCE)
    [line] = lines
    assert line.startswith("DEBUG http-1: the peer is gone: ")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_does_not_come_costs_its_deadline_and_no_more(start: Start, said: bytes) -> None:
    server = start(request_timeout=0.2)
    with socket.create_connection(server.address) as client:
        client.settimeout(PATIENCE)
        client.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(client) in (b"", b"\x15\x03\x01\x00\x02\x02\x00")
        alone(server)


def test_a_request_that_drips_in_a_byte_a_record_has_one_deadline(
    start: Start, certificate: Certificate
) -> None:
    """And so has a record that comes byte by byte, which TLS shows nothing of until it is whole."""
    server = start(request_timeout=0.5)
    raw = socket.create_connection(server.address)
    client = TlsSocket(raw, certificate.client(), server_hostname="localhost")
    client.handshake(PATIENCE)
    stop = Event()
    with client._lock:
        client._tls.write(PLAIN)
        cipher = client._outgoing.read()

    def drip() -> None:
        with contextlib.suppress(OSError):
            for byte in cipher[:-1]:
                if stop.wait(0.02):
                    return
                raw.sendall(bytes([byte]))

    dripping = begin(drip)
    try:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
        alone(server)
    finally:
        stop.set()
        finish(dripping)
        raw.close()


def test_a_stalled_reader_of_a_reply_is_left_in_time(start: Start, certificate: Certificate) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(8_000_000)]

    server = start(app, request_timeout=0.5)
    with connected(server, certificate.client()) as client:
        client.sendall(PLAIN)
        alone(server)


def test_above_a_limit_the_connection_ends_without_a_word(start: Start, certificate: Certificate) -> None:
    let_go, entered = Event(), Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        assert let_go.wait(PATIENCE)
        return tell(environ, start_response)

    server = start(app, max_connections=1)
    with connected(server, certificate.client()) as first:
        first.sendall(PLAIN)
        assert entered.wait(PATIENCE)
        with pytest.raises(OSError):
            connected(server, certificate.client())
        let_go.set()
        assert receive_all(first).endswith(b"127.0.0.1")
    alone(server)
    assert ask(server, certificate.client()).endswith(b"127.0.0.1")


def test_hanging_up_ends_those_who_have_not_asked(start: Start, certificate: Certificate) -> None:
    server = start()
    with socket.create_connection(server.address), connected(server, certificate.client()):
        until(lambda: server.connections == 2, "both to be accepted")
        server.stop_accepting()
        server.hang_up()
        assert server.join(PATIENCE)


def test_new_connections_are_shown_the_new_certificate(
    start: Start, certificate: Certificate, tmp_path: Path
) -> None:
    ours = Certificates(str(certificate.chain), str(certificate.key))
    first, second = Event(), Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        first.set()
        assert second.wait(PATIENCE)
        return tell(environ, start_response)

    server = start(app, certificates=ours)
    with connected(server, certificate.client()) as client:
        client.sendall(PLAIN)
        assert first.wait(PATIENCE)
        other = make_another(tmp_path)
        ours._chain, ours._key = str(other.chain), str(other.key)
        server.reload()
        second.set()
        with pytest.raises(ssl.SSLCertVerificationError):
            connected(server, certificate.client())
        assert ask(server, other.client()).endswith(b"127.0.0.1")
        assert receive_all(client).endswith(b"127.0.0.1"), "who was there before lives on"


def test_a_proxy_may_speak_tls_too(start: Start, certificate: Certificate) -> None:
    forwarded = (
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: http\r\n\r\n"
    )
    trusting = start(proxies=Proxies("127.0.0.1"))
    assert ask(trusting, certificate.client(), forwarded).endswith(b"\r\n\r\nhttp / 203.0.113.5")
    assert ask(start(), certificate.client(), forwarded).endswith(b"\r\n\r\nhttps / 127.0.0.1")


def test_nobody_renegotiates(start: Start, certificate: Certificate) -> None:
    """OpenSSL's own client asks for it; nothing waits for what would never come."""
    asked = Event()
    taken: list[TlsSocket] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        sock, _ = environ["threadchat.handover"].take()
        taken.append(sock)
        asked.set()
        with contextlib.suppress(OSError):
            while sock.recv(1000):
                pass
        return []

    server = start(app)
    host, port = server.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2"]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert peer.stdin
    assert peer.stdout
    try:
        peer.stdin.write(PLAIN)
        peer.stdin.flush()
        assert asked.wait(PATIENCE)
        [sock] = taken
        assert sock.send(b"before") == 6
        peer.stdin.write(b"R\n")
        peer.stdin.flush()
        output, _ = peer.communicate(timeout=PATIENCE)  # it gives up by itself
        assert b"no renegotiation" in output
        alone(server)
    finally:
        peer.kill()
        peer.wait()
        sock.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [(b"chat.example:8443", True), (b"localhost:8443", False), (b"127.0.0.1", False), (b"[::1]:1", False)],
)
def test_browsers_are_told_to_stay_with_tls(
    start: Start, certificate: Certificate, host: bytes, expected: bool
) -> None:
    reply = ask(start(), certificate.client(), PLAIN.replace(b"Host: h", b"Host: " + host))
    assert (b"\r\nStrict-Transport-Security: max-age=31536000\r\n" in reply) is expected


def test_an_application_may_tell_them_otherwise(start: Start, certificate: Certificate) -> None:
    def brief(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("strict-transport-security", "max-age=60")])
        return []

    reply = ask(start(brief), certificate.client()).lower()
    assert reply.count(b"strict-transport-security") == 1
    assert b"max-age=60" in reply


def test_without_tls_nothing_is_said_of_it() -> None:
    server = HttpServer(tell, host="127.0.0.1", port=0, request_timeout=5.0)
    server.listen()
    try:
        with socket.create_connection(server.address, PATIENCE) as client:
            client.sendall(PLAIN)
            assert b"Strict-Transport" not in receive_all(client)
    finally:
        server.stop_accepting()
        assert server.join(PATIENCE)
