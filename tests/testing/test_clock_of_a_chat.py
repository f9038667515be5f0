"""Covers a whole Chat whose time passes only when the test says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from threadchat import Chat, Config, ConnectionClosed
from threadchat.testing import FakeClock, InMemory, LiveServer, Peer


def read_to_the_end(peer: Peer) -> int:
    with pytest.raises(ConnectionClosed) as end:  # noqa: PT012
        while True:
            peer.recv()
    return end.value.code


def test_somebody_without_a_nickname(threadchat_clock: FakeClock) -> None:
    with (
        Chat(Config(profile_timeout=300, pong_timeout=900), pinger=threadchat_clock.pinger()) as chat,
        InMemory(chat) as memory,
    ):
        peer = memory.connect()
        peer.ask("hello")
        threadchat_clock.advance(299)
        assert peer.ask("ping")["type"] == "ok"
        threadchat_clock.advance(1)
        assert read_to_the_end(peer) == 3502


def test_a_connection_that_lasts_too_long(
    threadchat_clock: FakeClock,
    threadchat_serve: Callable[..., LiveServer],
    threadchat_peer: Callable[..., Peer],
) -> None:
    config = Config(port=0, max_age=3600, pong_timeout=9000)
    server = threadchat_serve(Chat(config, pinger=threadchat_clock.pinger()))
    peer = threadchat_peer(server.url)
    peer.ask("hello", nickname="ann")
    threadchat_clock.advance(3600)
    assert read_to_the_end(peer) == 3005
