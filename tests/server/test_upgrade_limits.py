"""Tests of how many connections one address may have, and of what one more of them is told."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.session_helpers import until
from tests.server.test_chat import identity, start
from tests.server.test_upgrade import Front, hello
from tests.wire.helpers import Hand, Peer, client_frame
from threadchat.config.settings import Config
from threadchat.server.chat import Chat
from threadchat.server.connection_registry import MAX_OVER_LIMIT
from threadchat.wire.protocol import frames

__all__ = ["start"]  # a fixture

GOODBYE = struct.pack("!H", 3504) + b"connection limit: at most 2 from one address"


@pytest.fixture
def front() -> Iterator[Front]:
    # In fake time: nobody who is told to go is cut off for taking long over it.
    front = Front(Config(max_connections_per_address=2), pinger=Hand().pinger)
    yield front
    front.close()


def come(front: Front, address: str = "10.0.0.9", **more: Any) -> Peer:
    """One who is let in."""
    status, _, _, peer = front.knock(REMOTE_ADDR=address, **more)
    assert status.startswith("101"), status
    hello(peer)
    return peer


def part(front: Front, address: str = "10.0.0.9", **more: Any) -> Peer:
    """One who is told to go."""
    status, _, _, peer = front.knock(REMOTE_ADDR=address, **more)
    assert status.startswith("101"), status
    assert b" 101 " in peer.response()
    assert peer.frame() == (frames.CLOSE, GOODBYE)
    return peer


def close(peer: Peer) -> None:
    peer.send(client_frame(frames.CLOSE, struct.pack("!H", 1000)))
    peer.drain()
    peer.close()


def test_one_more_of_an_address_is_told_and_closed(front: Front) -> None:
    first, second = come(front), come(front)
    third = part(front)
    close(third)
    come(front, "10.0.0.8")
    close(first)
    until(lambda: front.chat.registry._by_source.get("10.0.0.9") == 1)
    come(front)
    close(part(front))
    assert second.socket.fileno() >= 0, "it was not the one that went"


def test_who_is_told_to_go_never_gets_as_far_as_the_chat(front: Front) -> None:
    asked: list[object] = []
    front.chat.on_connect(asked.append)
    come(front), come(front)
    assert len(asked) == 2
    peer = part(front)
    peer.send(client_frame(frames.TEXT, b'{"type":"hello","id":1,"nickname":"eve"}'))
    assert peer.rest() == [], "nothing follows a Close"
    assert len(asked) == 2


def test_goodbyes_are_few_and_then_it_is_a_503(front: Front) -> None:
    come(front), come(front)
    parting = [part(front) for _ in range(MAX_OVER_LIMIT)]
    status, headers, body, _ = front.knock()
    assert status == "503 Service Unavailable"
    assert headers["Retry-After"] == "5"
    assert "too many connections from your address" in body
    come(front, "10.0.0.8")
    for peer in parting:
        close(peer)
    until(lambda: set(front.chat.registry._by_source) == {"10.0.0.9", "10.0.0.8"})
    close(part(front))


@pytest.mark.parametrize(
    "addresses",
    [
        ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"),
        ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_what_one_customer_has_is_one_address(front: Front, addresses: tuple[str, str, str]) -> None:
    come(front, addresses[0])
    come(front, addresses[1])
    close(part(front, addresses[2]))
    come(front, "2001:db8:0:1::1")


def test_an_unknown_address_is_not_counted(front: Front) -> None:
    for _ in range(3):
        come(front, "")


def test_behind_a_trusted_proxy_the_clients_count() -> None:
    front = Front(Config(max_connections_per_address=2, trusted_proxy="10.0.0.9"))
    try:
        for client in ("192.0.2.1", "192.0.2.2"):
            for _ in range(2):
                come(front, HTTP_X_FORWARDED_FOR=client)
            close(part(front, HTTP_X_FORWARDED_FOR=client))
        for _ in range(3):
            come(front), "the proxy's own are everybody's"
    finally:
        front.close()


def test_without_a_limit_there_is_none() -> None:
    front = Front(Config())
    try:
        for _ in range(5):
            come(front)
    finally:
        front.close()


def test_what_comes_to_nothing_is_counted_out(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threadchat.wire.connection.Connection.__init__", fail)
        for _ in range(3):
            front.knock()[3].drain()
    until(lambda: not front.chat.registry._by_source)
    come(front), come(front)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        front.knock()
    assert set(front.chat.registry._by_source) == {"10.0.0.9"}


def test_a_client_reads_the_code_and_does_not_come_back(start: Callable[..., Chat]) -> None:
    """Over our own server, as a browser would."""
    chat = start(max_connections_per_address=2)
    for path in ("/chat", "/ws", "/"):
        first, second = identity(chat, path), identity(chat, path)
        third = identity(chat, "/chat")
        until(lambda client=third: client.close_code)
        assert third.close_code == 3504
        assert third.close_reason == "connection limit: at most 2 from one address"
        for client in (first, second, third):
            client.close()
        until(lambda: not len(chat.registry))
