"""Tests of the limit for all connections together, with real ones: who hoards goes, others notice nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.session_helpers import until
from tests.wire.helpers import PATIENCE, Hand
from threadchat.chat.memory_budget import weight_of
from threadchat.config.settings import Config
from threadchat.errors import ConnectionClosed
from threadchat.server.chat import Chat
from threadchat.testing import Peer, StallingPeer
from threadchat.wire.threads.periodic import CALM
from threadchat.wire.threads.reports import REPORTS

MOST = 1 << 20
SIZE = 450_000
"""Bytes of a message: more than the kernels hold for a stalled peer, so that its writer has to wait."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    """In fake time, so that only a test looks at what waits."""
    config = Config(port=0, queued_bytes=MOST, send_timeout=600, write_timeout=600, max_message_size=SIZE)
    chat = Chat(config, pinger=Hand().pinger)
    chat.listen()
    yield chat
    chat.close()


def come(chat: Chat, kind: type[Peer] = StallingPeer) -> Peer:
    peer = kind(chat.url.replace("http", "ws") + "chat", timeout=PATIENCE)
    peer.ask("hello", nickname="somebody")
    return peer


def waiting(chat: Chat) -> int:
    """Bytes that wait for all, counted once for each."""
    return sum(len(frame) for it in chat.registry.connections() for frame in it.outbox.buffers())


def test_who_lets_the_most_wait_goes_and_others_notice_nothing(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    with come(chat) as eve, come(chat) as mallory, come(chat, Peer) as ann:
        assert isinstance(eve, StallingPeer)
        assert isinstance(mallory, StallingPeer)
        eve.stall()
        mallory.stall()
        for count, user in ((1, 1), (2, 2)):  # in the order of their hellos
            for _ in range(count):
                chat.direct(user, "x" * SIZE)
        until(lambda: sum(bool(it.outbox.unsent) for it in chat.registry.connections()) == 2)
        assert waiting(chat) > MOST, "what a writer has in hand is counted"
        chat.shedder.look()
        until(lambda: len(chat.registry) == 2)
        assert 0 < waiting(chat) <= MOST
        assert REPORTS.flush(60)
        assert "1 connections were aborted" in caplog.text
        assert ann.ask("ping")["type"] == "ok"
        eve.resume()
        assert eve.next()["type"] == "direct"
        mallory.resume()
        with pytest.raises(ConnectionClosed):
            mallory.next()


def test_one_message_for_many_is_no_reason_to_go(chat: Chat) -> None:
    peers = [come(chat) for _ in range(4)]
    try:
        for peer in peers:
            peer.ask("subscribe", room="r")
            assert isinstance(peer, StallingPeer)
            peer.stall()
        chat.publish("r", "x" * SIZE)
        until(lambda: sum(bool(it.outbox.unsent) for it in chat.registry.connections()) == len(peers))
        assert waiting(chat) > MOST
        chat.shedder.look()
        for peer in peers:
            assert isinstance(peer, StallingPeer)
            peer.resume()
            assert peer.next()["type"] == "live"
            assert len(peer.next()["message"]) == SIZE
        until(lambda: not waiting(chat))
    finally:
        for peer in peers:
            peer.close()


def test_what_the_logs_of_all_rooms_take_is_bounded() -> None:
    hand = Hand()
    chat = Chat(Config(logs_bytes=1 << 20), pinger=hand.pinger)
    for number in range(20):
        chat.publish(f"room {number}", "x" * 100_000)
    assert sum(weight_of(room) for room in chat.hub.rooms()) > 4 << 20
    hand.advance(CALM)
    assert 0 < sum(weight_of(room) for room in chat.hub.rooms()) <= 1 << 20
    chat.close()


def test_a_connection_is_watched_from_the_first_on(chat: Chat) -> None:
    assert not chat.shedder.rounds._armed
    with come(chat, Peer):
        assert chat.shedder.rounds._armed
