"""Tests of taking sockets over: what each server's environ gives, what stays behind, and what is refused."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wire.helpers import PATIENCE, open_descriptors, tcp_pair
from threadchat.errors import NoSocket
from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.socket_takeover import Taken, shows_socket, take_socket
from threadchat.wire.transport import SEND_BUFFER

Environ = dict[str, Any]


class Unreader:
    """How gunicorn keeps what it read past a request, and reads on once that is gone."""

    def __init__(self, sock: socket.socket, kept: bytes) -> None:
        self._sock = sock
        self._kept = kept

    def read(self) -> bytes:
        kept, self._kept = self._kept, b""
        return kept or self._sock.recv(8192)


class Body:
    """The outside of gunicorn's `wsgi.input`."""

    def __init__(self, unreader: Unreader) -> None:
        self.reader = self
        self.unreader = unreader


def gunicorn(sock: socket.socket, kept: bytes = b"") -> Environ:
    return {"gunicorn.socket": sock, "wsgi.input": Body(Unreader(sock, kept)), "wsgi.multithread": True}


def werkzeug(sock: socket.socket, sent: bytes = b"") -> Environ:
    """With its buffering reader, which has read what was `sent` and given out nothing of it."""
    reader = sock.makefile("rb")
    if sent:
        reader.peek()
    return {"werkzeug.socket": sock, "wsgi.input": reader, "wsgi.multithread": True}


Maker = Callable[[socket.socket], Environ]
both = pytest.mark.parametrize("make", [gunicorn, werkzeug])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    accepted, client = tcp_pair()
    client.settimeout(PATIENCE)
    with accepted, client:
        yield accepted, client


def close(taken: Taken, environ: Environ) -> None:
    taken.sock.close()
    if isinstance(environ.get("wsgi.input"), io.BufferedReader):
        environ["wsgi.input"].close()


# -- what is taken -----------------------------------------------------------------------------------


@both
def test_the_connection_is_ours_and_blocking(make: Maker, pair: tuple[socket.socket, socket.socket]) -> None:
    theirs, client = pair
    theirs.setblocking(False)
    environ = make(theirs)
    taken = take_socket(environ)
    assert taken.sock.gettimeout() is None
    assert taken.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    # Linux answers with twice the size that was asked for.
    assert taken.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
    assert not taken.sock.get_inheritable()
    taken.sock.sendall(b"ours")
    assert client.recv(64) == b"ours"
    client.sendall(b"yours")
    assert taken.sock.recv(64) == b"yours"
    close(taken, environ)


@both
def test_whatever_the_server_does_to_its_socket_does_not_reach_the_client(
    make: Maker, pair: tuple[socket.socket, socket.socket]
) -> None:
    theirs, client = pair
    environ = make(theirs)
    number = theirs.fileno()
    taken = take_socket(environ)
    assert theirs.fileno() == number, "gunicorn's books are by descriptor"
    theirs.setblocking(True)
    with pytest.raises(BrokenPipeError):
        theirs.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
    assert theirs.recv(1) == b""
    theirs.shutdown(socket.SHUT_WR)
    theirs.close()
    taken.sock.sendall(b"alive")
    assert client.recv(64) == b"alive"
    close(taken, environ)


@both
def test_no_descriptor_is_left(make: Maker, pair: tuple[socket.socket, socket.socket]) -> None:
    before = open_descriptors()
    environ = make(pair[0])
    close(take_socket(environ), environ)
    assert open_descriptors() == before


def test_what_gunicorn_had_read_already_comes_along(pair: tuple[socket.socket, socket.socket]) -> None:
    taken = take_socket(gunicorn(pair[0], b"early frame"))
    assert taken.trailing == b"early frame"
    taken.sock.close()


@both
def test_nothing_read_ahead_is_no_wait(make: Maker, pair: tuple[socket.socket, socket.socket]) -> None:
    """The server's own reader would block for more; it meets the end of the dead end's stream."""
    environ = make(pair[0])
    taken = take_socket(environ)
    assert taken.trailing == b""
    close(taken, environ)


def test_what_werkzeug_had_read_already_comes_along(pair: tuple[socket.socket, socket.socket]) -> None:
    theirs, client = pair
    client.sendall(b"early frame")
    environ = werkzeug(theirs, b"early frame")
    taken = take_socket(environ)
    assert taken.trailing == b"early frame"
    close(taken, environ)


def test_an_input_that_somebody_wrapped_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    taken = take_socket({"gunicorn.socket": pair[0], "wsgi.input": object()})
    assert taken.trailing == b""
    taken.sock.close()


def test_a_unix_socket_has_no_tcp_options() -> None:
    theirs, proxy = socket.socketpair()
    with theirs, proxy:
        taken = take_socket(gunicorn(theirs))
        taken.sock.sendall(b"through nginx")
        assert proxy.recv(64) == b"through nginx"
        taken.sock.close()


def test_only_small_pools_are_left(pair: tuple[socket.socket, socket.socket]) -> None:
    environ = gunicorn(pair[0])
    taken = take_socket(environ)
    assert taken.leaves_thread
    taken.sock.close()


@pytest.mark.parametrize("threaded", [True, False])
def test_werkzeugs_thread_stays_unless_it_is_the_only_one(
    threaded: bool, pair: tuple[socket.socket, socket.socket]
) -> None:
    environ = {**werkzeug(pair[0]), "wsgi.multithread": threaded}
    taken = take_socket(environ)
    assert taken.leaves_thread is not threaded
    close(taken, environ)


@both
def test_the_application_ends_with_a_status_for_the_log(
    make: Maker, pair: tuple[socket.socket, socket.socket]
) -> None:
    environ = make(pair[0])
    taken = take_socket(environ)
    said: list[object] = []
    assert list(taken.finish(lambda *reply: said.append(reply))) == []  # type: ignore[arg-type]
    assert said == [("101 Switching Protocols", [])]
    close(taken, environ)


class OwnHandover:
    number = 7

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def take(self) -> tuple[socket.socket, bytes]:
        return self._sock, b"trailing"


def test_our_own_server_hands_over_by_itself(pair: tuple[socket.socket, socket.socket]) -> None:
    environ: Environ = {HANDOVER: OwnHandover(pair[0])}
    assert shows_socket(environ)
    taken = take_socket(environ)
    assert taken[:5] == (pair[0], b"trailing", False, 7, "threadchat")
    assert list(taken.finish(lambda *reply: pytest.fail("no reply"))) == []


# -- what cannot be taken ----------------------------------------------------------------------------


@pytest.mark.parametrize("software", ["waitress", ""])
def test_a_server_without_a_socket_names_the_way_out(software: str) -> None:
    environ = {"SERVER_SOFTWARE": software, "wsgi.input": io.BytesIO()}
    assert not shows_socket(environ)
    with pytest.raises(
        NoSocket, match=r"no socket.*chat\.listen\(port\).*same process|same process.*listen"
    ) as no:
        take_socket(environ)
    assert software in str(no.value)
    assert no.value.status.startswith("501 ")


@pytest.mark.parametrize(
    "environ",
    [
        {"eventlet.input": object()},
        {"SERVER_SOFTWARE": "gevent/25.1 Python/3.11"},
        {"gunicorn.socket": type("socket", (), {"__module__": "gevent._socket3"})()},
        {"gunicorn.socket": type("GreenSocket", (), {"__module__": "eventlet.greenio.base"})()},
    ],
)
def test_greenlets_are_refused(environ: Environ) -> None:
    with pytest.raises(NoSocket, match=r"greenlets.*gthread"):
        take_socket(environ)


def test_http_2_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(NoSocket, match=r"HTTP/1\.1"):
        take_socket({**gunicorn(pair[0]), "SERVER_PROTOCOL": "HTTP/2.0"})


@pytest.mark.parametrize("body", [{"CONTENT_LENGTH": "5"}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
def test_a_body_is_the_clients_fault(body: Environ, pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(NoSocket, match="must not have a body") as no:
        take_socket({**gunicorn(pair[0]), **body})
    assert no.value.status.startswith("400 ")
    pair[0].sendall(b"HTTP/1.1 400")  # the server can still answer
    assert pair[1].recv(64) == b"HTTP/1.1 400"


@both
def test_there_is_only_one_socket(make: Maker, pair: tuple[socket.socket, socket.socket]) -> None:
    environ = make(pair[0])
    taken = take_socket(environ)
    with pytest.raises(NoSocket, match="taken over or closed already"):
        take_socket(environ)
    close(taken, environ)


def test_a_closed_socket_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    environ = gunicorn(pair[0])
    pair[0].close()
    with pytest.raises(NoSocket, match="closed already"):
        take_socket(environ)


def test_without_descriptors_the_request_can_still_be_answered(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    before = open_descriptors()
    monkeypatch.setattr("threadchat.server.http.socket_takeover.socket.socketpair", none_left)
    with pytest.raises(OSError, match="Too many"):
        take_socket(gunicorn(pair[0]))
    assert open_descriptors() == before
    pair[0].sendall(b"HTTP/1.1 503")
    assert pair[1].recv(64) == b"HTTP/1.1 503"


def test_a_reader_that_waits_for_us_is_not_disturbed(pair: tuple[socket.socket, socket.socket]) -> None:
    """The reader's thread blocks on our descriptor while the server closes its own."""
    theirs, client = pair
    taken = take_socket(gunicorn(theirs))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(taken.sock.recv(64)))
    reader.start()
    theirs.close()
    client.sendall(b"still here")
    reader.join(PATIENCE)
    assert got == [b"still here"]
    taken.sock.close()
