"""How `server/http/response.py` runs an application, writes its reply, and takes leave."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from threadchat.server.http import response
from threadchat.server.http.response import Response, linger, run


def lines_of(raw: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    names = [line.split(": ", 1)[0] for line in rest]
    assert len(names) == len({name.lower() for name in names}), "a header went out twice"
    return first, dict(line.split(": ", 1) for line in rest), body


def test_every_reply_has_date_length_and_the_end_of_the_connection() -> None:
    first, headers, body = lines_of(Response("200 OK", [("X", "y")], b"hello").encode())
    assert first == "HTTP/1.1 200 OK"
    assert headers.pop("Date").endswith(" GMT")
    assert headers == {"Connection": "close", "Content-Length": "5", "X": "y"}
    assert body == b"hello"


def test_head_has_the_headers_of_get_and_no_body() -> None:
    reply = Response("200 OK", [("X", "y")], b"hello")
    assert reply.encode(head_only=True) == reply.encode().removesuffix(b"hello")
    bare = Response("200 OK", [("content-length", "7")])  # an application that knows about HEAD
    assert b"\r\nContent-Length: 7\r\n" in bare.encode(head_only=True)
    assert b"\r\nContent-Length: 0\r\n" in Response("200 OK").encode(head_only=True)


def test_204_and_304_have_no_body() -> None:
    for status in ("204 No Content", "304 Not Modified"):
        _, headers, body = lines_of(Response(status, [], b"ignored").encode())
        assert ("Content-Length" in headers, body) == (False, b"")


def test_the_connection_s_headers_are_the_server_s() -> None:
    mine = [
        ("connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("content-length", "99"),
        ("date", "x"),
    ]
    _, headers, _ = lines_of(Response("200 OK", mine, b"hi").encode())
    assert set(headers) == {"Date", "Connection", "Content-Length"}
    assert headers["Content-Length"] == "2"


def test_an_upgrade_that_is_offered_is_named_in_connection() -> None:
    _, headers, _ = lines_of(Response("426 Upgrade Required", [("Upgrade", "websocket")]).encode())
    assert headers["Connection"] == "close, Upgrade"


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X", "a\0"), ("X\n", "a"), ("", "a"), ("X", "€")])
def test_a_header_that_would_break_out_is_an_error(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        Response("200 OK", [header]).encode()


def test_an_error_is_one_plain_sentence() -> None:
    _, headers, body = lines_of(
        Response.error(HTTPStatus.BAD_REQUEST, "So not.", ("Retry-After", "1")).encode()
    )
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Retry-After"] == "1"
    assert body == b"So not.\n"


def test_run_collects_written_and_returned_chunks_and_closes() -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"b"
            yield b"c"

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("X", "y")])(b"a")
        return Body()

    reply = run(app, {})
    assert reply == Response("200 OK", [("X", "y")], b"abc")
    assert closed == [True]


def test_run_closes_what_fails_halfway() -> None:
    closed = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [])
            yield b"a"
            raise KeyError("app")
        finally:
            closed.append(True)

    with pytest.raises(KeyError):
        run(app, {})
    assert closed == [True]


def test_an_application_may_start_late_and_start_again_with_its_error() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])(b"begun")
        try:
            raise KeyError
        except KeyError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"sorry"

    assert run(app, {}) == Response("500 Oops", [], b"sorry")


@pytest.mark.parametrize("status", ["OK", "200", "200 OK\r\nX: y", "20 x"])
def test_a_status_that_is_none_is_an_error(status: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    with pytest.raises(ValueError, match="status"):
        run(app, {})


def test_starting_twice_is_an_error_and_never_is_told() -> None:
    def twice(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(RuntimeError, match="twice"):
        run(twice, {})
    assert run(lambda environ, start_response: [], {}) is None


def test_linger_ends_with_the_peer() -> None:
    ours, peers = socket.socketpair()
    with ours, peers:
        peers.sendall(b"x" * 1000)
        peers.shutdown(socket.SHUT_WR)
        linger(ours, 5, lambda: 0.0)
        assert peers.recv(10) == b""  # our half ended
        assert ours.recv(10) == b""  # and all of theirs was read


def test_linger_ends_by_the_clock_and_by_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        received = 0

        def shutdown(self, how: int) -> None: ...

        def settimeout(self, seconds: float) -> None:
            assert seconds > 0

        def recv(self, size: int) -> bytes:
            self.received += size
            return b"x" * size

    by_bytes = Endless()
    linger(by_bytes, 1, lambda: 0.0)  # type: ignore[arg-type]
    assert by_bytes.received == response.LINGER_BYTES
    by_time = Endless()
    ticks = iter([0.0, 0.4, 0.8, 1.2])
    linger(by_time, 1, lambda: next(ticks))  # type: ignore[arg-type]
    assert by_time.received == 2 * 65536
