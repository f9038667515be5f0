"""How `server/http/rejections.py` turns connections away without blocking and without losing the reply."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from threadchat.server.http import rejections as module
from threadchat.server.http.rejections import Rejections


class Fixture:
    """Refused socket pairs, and a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 50.0
        self.selector = selectors.DefaultSelector()
        self.refusals = Rejections(self.selector, lambda: self.now)
        self.pairs: list[tuple[socket.socket, socket.socket]] = []

    def refuse(self) -> tuple[socket.socket, socket.socket]:
        ours, peers = socket.socketpair()
        self.pairs.append((ours, peers))
        self.refusals.add(ours, b"no room")
        return ours, peers

    def turn(self) -> None:
        for key, _ in self.selector.select(0):
            key.data()
        self.refusals.expire()

    def close(self) -> None:
        self.refusals.close()
        self.selector.close()
        assert all(ours.fileno() == -1 for ours, _ in self.pairs)
        for _, peers in self.pairs:
            peers.close()


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    fixture = Fixture()
    yield fixture
    fixture.close()


def test_the_peer_gets_the_reply_and_the_end(fixture: Fixture) -> None:
    ours, peers = fixture.refuse()
    peers.sendall(b"GET / HTTP/1.1\r\n\r\n")
    fixture.turn()
    assert ours.fileno() != -1
    assert (peers.recv(100), peers.recv(100)) == (b"no room", b"")
    peers.close()
    fixture.turn()
    assert ours.fileno() == -1
    assert fixture.refusals.timeout() is None


def test_each_has_a_moment_and_no_more(fixture: Fixture) -> None:
    first, _ = fixture.refuse()
    fixture.now += 0.4
    second, _ = fixture.refuse()
    assert fixture.refusals.timeout() == pytest.approx(module.PARTING_SECONDS - 0.4)
    fixture.now += module.PARTING_SECONDS - 0.3
    fixture.turn()
    assert (first.fileno() == -1, second.fileno() == -1) == (True, False)


def test_one_that_keeps_sending_is_cut_off(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARTING_BYTES", 1000)
    ours, peers = fixture.refuse()
    peers.sendall(b"x" * 600)
    fixture.turn()
    assert ours.fileno() != -1
    peers.sendall(b"x" * 600)
    fixture.turn()
    assert ours.fileno() == -1


def test_the_oldest_goes_for_a_newer_one(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARTING_PEERS", 2)
    socks = [fixture.refuse()[0] for _ in range(3)]
    assert [sock.fileno() == -1 for sock in socks] == [True, False, False]


def test_a_peer_that_is_gone_already(fixture: Fixture) -> None:
    ours, peers = socket.socketpair()
    peers.close()
    fixture.refusals.add(ours, b"no room")
    assert ours.fileno() == -1
