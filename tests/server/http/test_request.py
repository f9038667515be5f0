"""What `server/http/request.py` reads and what it refuses, byte by byte, over a socket pair."""

from __future__ import annotations

import gc
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import pytest

from threadchat.server.http import request as module
from threadchat.server.http.request import PeerGone, Request, RequestError, RequestReader

HOST = b"Host: chat.example\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peers = socket.socketpair()
    with ours, peers:
        yield ours, peers


def read(raw: bytes) -> Request:
    """Read `raw` as all that a peer sends before it ends its half."""
    ours, peers = socket.socketpair()
    with ours, peers:

        def send() -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                peers.sendall(raw)
                peers.shutdown(socket.SHUT_WR)

        sender = Thread(target=send, daemon=True)
        sender.start()
        try:
            return whole(RequestReader(ours, time.monotonic() + 5, time.monotonic))
        finally:
            ours.close()  # a sender that was cut short ends with it
            sender.join()


def whole(reader: RequestReader) -> Request:
    """The request, with its body read."""
    request = reader.read()
    return replace(request, body=request.body.read())  # type: ignore[arg-type]


def refused(raw: bytes) -> int:
    with pytest.raises(RequestError) as caught:
        read(raw)
    assert caught.value.sentence.endswith(".")
    return caught.value.status.value


def get(*lines: bytes, target: bytes = b"/") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def test_a_plain_request() -> None:
    request = read(get(b"X-One: 1", b"x-one:  2 ", target=b"/a%20b?q=%zz"))
    assert (request.method, request.path, request.query) == ("GET", "/a%20b", "q=%zz")
    assert request.headers == [("Host", "chat.example"), ("X-One", "1"), ("x-one", "2")]
    assert (request.version, request.body, request.trailing) == ("HTTP/1.1", b"", b"")


def test_what_follows_the_request_is_kept() -> None:
    assert read(get(b"Upgrade: websocket", b"Connection: upgrade") + b"\x81\x02hi").trailing == b"\x81\x02hi"
    with_body = read(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi\x81")
    assert (with_body.body, with_body.trailing) == (b"hi", b"\x81")


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", get(HOST.strip()), get(b" folded"), get()[:9]])
@pytest.mark.usefixtures("without_collector")
def test_what_was_refused_needs_no_collector(pair: tuple[socket.socket, socket.socket], raw: bytes) -> None:
    ours, peers = pair
    peers.sendall(raw)
    peers.shutdown(socket.SHUT_WR)
    reader = RequestReader(ours, time.monotonic() + 5, time.monotonic)
    left = weakref.ref(reader)
    try:
        reader.read()
    except RequestError:
        del reader
    assert left() is None


def test_http_1_0_needs_no_host() -> None:
    assert read(b"GET / HTTP/1.0\r\n\r\n").version == "HTTP/1.0"


def test_line_feeds_alone_end_lines_too() -> None:
    assert read(b"GET / HTTP/1.1\nHost: x\n\n").path == "/"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        get(b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        get(b"Transfer-Encoding: identity"),
        get(b"transfer-encoding: chunked", b"Content-Length: 3") + b"abc",
        get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        get(b"Content-Length: 3", b"Content-Length: 3") + b"abc",
        get(b"Content-Length: 3", b"content-length: 4") + b"abc",
        get(b"Content-Length: 3, 3") + b"abc",
        get(b"Content-Length: +3") + b"abc",
        get(b"Content-Length: -3"),
        get(b"Content-Length:"),
        get(b"Content-Length: " + b"1" * 5000),
        get(b"X: a\rb"),
        get(b"X: a\r"),
        b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n",
        get(b"X : a"),
        get(b"Content-Length : 3") + b"abc",
        get(b"X: a", b" folded"),
        get(b"X: a", b"\tfolded"),
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        get(b"X: a\0b"),
        get(target=b"/\0"),
        get(target=b"chat"),
        get(target=b"*"),
        get(target=b"?q"),
        get(target=b"ftp://host/"),
        get(target=b"http:///path"),
        get(target=b"http://user@host/"),
        get(target=b"/a#b"),
        get(target=b"/%zz"),
        get(target=b"/%4"),
        get(target=b"/\xc3\xa4"),
        get(target=b"/a b"),
        get(b"NoColon"),
        get(b": empty"),
        get(b"B\xe4d: name"),
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@host\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h/path\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET / http/1.1\r\n" + HOST + b"\r\n",
        b"GET /\r\n\r\n",
        b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\r\n" + get(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
def test_malformed_is_400(raw: bytes) -> None:
    assert refused(raw) == 400


@pytest.mark.parametrize("host", [b"", b"localhost", b"127.0.0.1:8080", b"[::1]:8080", b"a_b.example:"])
def test_hosts_that_are_fine(host: bytes) -> None:
    assert dict(read(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").headers)["Host"] == host.decode()


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2"])
def test_other_versions_are_505(version: bytes) -> None:
    assert refused(b"GET / " + version + b"\r\n" + HOST + b"\r\n") == 505


def test_an_absolute_target_brings_its_own_host() -> None:
    request = read(get(target=b"HTTP://other.example:81?q"))
    assert (request.authority, request.path, request.query) == ("other.example:81", "/", "q")


@pytest.mark.parametrize(("method", "target"), [(b"OPTIONS", b"*"), (b"CONNECT", b"host:443")])
def test_targets_of_methods_that_the_application_will_refuse(method: bytes, target: bytes) -> None:
    assert read(method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").method == method.decode()


def test_the_header_limit_in_lines() -> None:
    lines = [b"X: y"] * (module.HEADER_LINES - 1)  # and Host
    assert len(read(get(*lines)).headers) == module.HEADER_LINES
    assert refused(get(*lines, b"X: y")) == 431


def test_the_header_limit_in_bytes() -> None:
    room = module.HEAD_BYTES - len(get(b"X: "))
    assert len(read(get(b"X: " + b"y" * room)).headers) == 2
    assert refused(get(b"X: " + b"y" * (room + 1))) == 431


def test_an_endless_header_is_refused_before_it_ends() -> None:
    assert refused(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 1_000_000) == 431
    assert refused(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200) == 431


def test_the_request_line_limit() -> None:
    around = len(b"GET  HTTP/1.1\r\n")
    room = module.REQUEST_LINE_BYTES - around
    assert read(get(target=b"/" * room)).path == "/" * room
    assert refused(get(target=b"/" * (room + 1))) == 414
    assert refused(b"GET /" + b"a" * 1_000_000) == 414


def test_the_body_limit() -> None:
    def post(size: int) -> bytes:
        return b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size + b"b" * size

    assert len(read(post(module.BODY_BYTES)).body) == module.BODY_BYTES
    assert refused(post(module.BODY_BYTES + 1)) == 413


def test_a_longer_body_where_one_is_expected(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peers = pair
    body = b"x" * (module.BODY_BYTES + 1)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    sender = Thread(target=peers.sendall, args=(head % len(body) + body,), daemon=True)
    sender.start()
    reader = RequestReader(ours, time.monotonic() + 5, time.monotonic, max_body=len(body))
    assert whole(reader).body == body
    sender.join()
    peers.sendall(head % (len(body) + 1))
    with pytest.raises(RequestError, match=f"the limit is {len(body)} bytes"):
        RequestReader(ours, time.monotonic() + 5, time.monotonic, max_body=len(body)).read()
    assert refused(get(b"Content-Length: 99999999999999999999")) == 413


def test_a_request_cut_short_is_400_and_none_at_all_is_a_peer_that_left() -> None:
    assert refused(b"GET / HT") == 400
    assert refused(get(b"Content-Length: 3") + b"ab") == 400
    with pytest.raises(PeerGone):
        read(b"")


def test_a_reset_is_a_peer_that_left(pair: tuple[socket.socket, socket.socket]) -> None:
    class Reset:
        def settimeout(self, seconds: float) -> None: ...

        def recv(self, size: int) -> bytes:
            raise ConnectionResetError("reset")

    with pytest.raises(PeerGone, match="reset"):
        RequestReader(Reset(), 1.0, lambda: 0.0).read()  # type: ignore[arg-type]


def test_continue_is_said_to_who_waits_for_it(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peers = pair
    peers.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    got: list[bytes] = []

    def wait_and_send() -> None:
        got.append(peers.recv(100))
        peers.sendall(b"ok")

    peer = Thread(target=wait_and_send, daemon=True)
    peer.start()
    assert whole(RequestReader(ours, time.monotonic() + 5, time.monotonic)).body == b"ok"
    peer.join()
    assert got[0].startswith(b"HTTP/1.1 100 ")


class Drip:
    """A socket that brings one byte of a request at a time, each after a while of a fake clock."""

    def __init__(self, raw: bytes, pause: float) -> None:
        self.now = 100.0
        self.timeouts: list[float] = []
        self._raw = iter(raw)
        self._pause = pause

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def recv(self, size: int) -> bytes:
        self.now += self._pause
        return bytes([next(self._raw)])


@pytest.mark.parametrize("raw", [get(), b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"])
def test_a_byte_at_a_time_does_not_extend_the_deadline(raw: bytes) -> None:
    bytewise = Drip(raw, pause=0.25)
    # Two bytes too early, in the head or in the body: one read is left for a thread that was late itself.
    deadline = bytewise.now + 0.25 * (len(raw) - 2)
    reader = RequestReader(bytewise, deadline, lambda: bytewise.now)  # type: ignore[arg-type]
    with pytest.raises(RequestError) as caught:
        whole(reader)
    assert caught.value.status.value == 408
    assert bytewise.timeouts == [0.25 * n for n in range(len(raw) - 2, -1, -1)]


def test_a_byte_at_a_time_within_the_deadline_is_fine() -> None:
    drip = Drip(get(), pause=0.25)
    assert RequestReader(drip, 1000.0, lambda: drip.now).read().path == "/"  # type: ignore[arg-type]
