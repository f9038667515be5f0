"""One connection's life in `server/http/connection.py`, on the test's own thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from threadchat.server.http.connection import HANDOVER, HttpConnection
from threadchat.server.http.environ import server_part

PLAIN = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Served:
    """A TCP connection whose server's side is an HttpConnection; notes what `release` found."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.sock, self.peer = listener.accept()
        self.open_at_release: list[bool] = []
        self.clock: Callable[[], float] = lambda: 0.0

    def run(self, app: Any, raw: bytes = PLAIN, *, ends: bool = True) -> bytes:
        """Serve what the client sends, and return what it gets."""
        self.client.sendall(raw)
        if ends:
            self.client.shutdown(socket.SHUT_WR)
        http_connection = HttpConnection(
            self.sock,
            7,
            timeout=5,
            clock=self.clock,
            release=lambda: self.open_at_release.append(self.sock.fileno() != -1),
        )
        http_connection.run(app, server_part("h", 1), self.peer)
        if self.sock.fileno() != -1:
            return b""
        return b"".join(iter(lambda: self.client.recv(65536), b""))


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.client.close()
    served.sock.close()


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    pytest.fail("the application was called")


def test_the_socket_is_released_once_and_then_closed(served: Served) -> None:
    assert served.run(hello).endswith(b"\r\n\r\nhello")
    assert served.sock.fileno() == -1
    assert served.open_at_release == [True]


def test_a_refused_request_never_reaches_the_application(served: Served) -> None:
    assert served.run(never, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert served.open_at_release == [True]


def test_a_request_that_came_in_time_is_served_by_a_thread_that_was_late(served: Served) -> None:
    times = iter([0.0])  # of the deadline; when the thread has its next turn, it is over
    served.clock = lambda: next(times, 60.0)
    assert served.run(hello).endswith(b"\r\n\r\nhello")


def test_a_thread_that_was_late_looks_once_for_the_request(served: Served) -> None:
    times = iter([0.0])
    served.clock = lambda: next(times, 60.0)
    assert served.run(never, PLAIN[:-1], ends=False).startswith(b"HTTP/1.1 408 ")


def test_a_peer_that_left_is_closed_without_a_word(served: Served) -> None:
    assert served.run(never, b"") == b""
    assert (served.sock.fileno(), served.open_at_release) == (-1, [True])


def test_taking_the_socket_over_leaves_it_open_and_blocking(served: Served) -> None:
    def take(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        handover = environ[HANDOVER]
        assert handover.number == 7
        assert handover.take() == (served.sock, b"rest")
        with pytest.raises(RuntimeError, match="taken over already"):
            handover.take()
        return []

    assert served.run(take, PLAIN + b"rest") == b""
    assert served.sock.gettimeout() is None
    assert served.open_at_release == [True]


@pytest.mark.parametrize("take_first", [False, True])
def test_nothing_the_application_raises_comes_through(served: Served, take_first: bool) -> None:
    def fail(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if take_first:
            environ[HANDOVER].take()
        raise KeyError("application")

    reply = served.run(fail)
    assert reply[:12] == (b"" if take_first else b"HTTP/1.1 500")
    assert (served.sock.fileno() == -1) is not take_first


def test_a_reply_after_the_handover_goes_nowhere(served: Served) -> None:
    def both(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ[HANDOVER].take()
        return hello(environ, start_response)

    assert served.run(both) == b""
    served.sock.close()
    assert served.client.recv(10) == b""
