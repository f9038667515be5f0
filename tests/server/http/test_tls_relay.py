"""Tests of the thread that speaks TLS for a connection which a foreign server has accepted."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.wire.conftest import Certificate
from tests.wire.helpers import tcp_pair
from threadchat.server.http import tls_relay
from threadchat.server.http.tls_relay import relayed


class Ends(NamedTuple):
    ours: socket.socket
    theirs: ssl.SSLSocket
    client: ssl.SSLSocket


def wrapped(certificate: Certificate) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """The server's end and the client's, after the handshake."""
    raw, peer = tcp_pair()
    found: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: found.append(certificate.server().wrap_socket(raw, server_side=True))
    )
    thread.start()
    client = certificate.client().wrap_socket(peer, server_hostname="localhost")
    thread.join(20)
    client.settimeout(20)
    return found[0], client


def relays() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tls-relay-")]


@pytest.fixture
def ends(certificate: Certificate) -> Iterator[Ends]:
    theirs, client = wrapped(certificate)
    ours = relayed(theirs)
    ours.settimeout(20)
    yield Ends(ours, theirs, client)
    ours.close()
    client.close()
    for thread in relays():
        thread.join(20)
    assert not relays()
    assert theirs.fileno() == -1


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(65536)):
        data += piece
    return data


def exchange(sock: ssl.SSLSocket, data: bytes, size: int) -> bytes:
    """Sends and receives at once, on one thread: two may not use an SSLSocket at the same time."""
    sock.setblocking(False)
    poll = select.poll()
    rest, got = memoryview(data), b""
    while rest or len(got) < size:
        poll.register(sock, select.POLLIN | (select.POLLOUT if rest else 0))
        assert sock.pending() or poll.poll(60_000), "nothing moves"
        if rest:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                rest = rest[sock.send(rest[:65536]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            got += sock.recv(65536)
    return got


def test_both_directions_at_once(ends: Ends) -> None:
    size = 2_000_000
    got: list[bytes] = []
    threads = [
        threading.Thread(target=ends.ours.sendall, args=(b"o" * size,)),
        threading.Thread(target=lambda: got.append(exchange(ends.client, b"c" * size, size))),
    ]
    for thread in threads:
        thread.start()
    assert read(ends.ours, size) == b"c" * size
    for thread in threads:
        thread.join(60)
    assert got == [b"o" * size]


def test_our_end_is_the_clients(ends: Ends) -> None:
    ends.ours.sendall(b"last")
    ends.ours.shutdown(socket.SHUT_RDWR)
    assert read(ends.client, 100) == b"last"


def test_the_clients_end_is_ours(ends: Ends) -> None:
    ends.client.sendall(b"last")
    ends.client.close()
    assert read(ends.ours, 100) == b"last"


def test_the_server_holds_a_dead_end(ends: Ends) -> None:
    theirs = ends.theirs
    with pytest.raises(BrokenPipeError):
        theirs.sendall(b"HTTP/1.1 200 OK")
    assert theirs.recv(100) == b""
    theirs.shutdown(socket.SHUT_RDWR)
    theirs.close()
    ends.ours.sendall(b"still here")
    assert read(ends.client, 10) == b"still here"


def test_without_a_thread_the_server_keeps_its_socket(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, client = wrapped(certificate)

    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tls_relay.threading.Thread, "start", none)
    with theirs, client:
        with pytest.raises(RuntimeError, match="can't start"):
            relayed(theirs)
        theirs.sendall(b"503")
        assert client.recv(10) == b"503"
