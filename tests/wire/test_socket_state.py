"""What the system tells about a socket, and who is behind with reading it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from tests.wire.helpers import PATIENCE, tcp_pair
from threadchat.wire import socket_state
from threadchat.wire.socket_state import is_behind, is_ready, read_before, received

Pair = tuple[socket.socket, socket.socket]
counts = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not count for us")


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        yield ours, theirs


def send(pair: Pair, data: bytes) -> None:
    """Returns once it is there."""
    ours, theirs = pair
    before = received(ours) or 0
    theirs.sendall(data)
    assert is_ready(ours, select.POLLIN, PATIENCE)
    assert received(ours) in (None, before + len(data))


@counts
def test_bytes_count_whether_they_were_read_or_not(pair: Pair) -> None:
    ours = pair[0]
    assert (received(ours), read_before(ours)) == (0, 0)
    send(pair, b"hello")
    assert (received(ours), read_before(ours)) == (5, 0)
    assert ours.recv(3) == b"hel"
    assert (received(ours), read_before(ours)) == (5, 3)


@counts
def test_a_reader_is_behind_until_all_was_handled(pair: Pair) -> None:
    ours = pair[0]
    assert not is_behind(ours, 0)
    send(pair, b"hello")
    assert is_behind(ours, 0)
    ours.recv(5)
    assert is_behind(ours, 0), "the bytes were taken, and nobody has said so yet"
    assert not is_behind(ours, 5)


@pytest.mark.parametrize("counting", [pytest.param(True, marks=counts), False])
def test_where_the_system_does_not_count_it_looks_into_the_socket(
    pair: Pair, counting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not counting:
        monkeypatch.setattr(socket_state, "_TCP_INFO", None)
    ours = pair[0]
    assert not is_behind(ours, 0)
    send(pair, b"hello")
    assert is_behind(ours, 0)
    ours.recv(5)
    assert not is_behind(ours, 5)


def test_a_unix_socket_is_not_counted() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert (received(ours), read_before(ours), is_behind(ours, 0)) == (None, 0, False)
        theirs.sendall(b"x")
        assert is_behind(ours, 0)


def test_a_closed_socket_counts_nothing(pair: Pair) -> None:
    pair[0].close()
    assert received(pair[0]) is None
