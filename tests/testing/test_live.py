"""Covers threadchat/testing/live.py."""

from __future__ import annotations

import threading
from urllib.request import urlopen

import pytest

from threadchat import Chat, Config, ConfigError
from threadchat.errors import ConnectionClosed
from threadchat.testing import LiveServer, Peer


def test_its_addresses() -> None:
    with LiveServer() as server:
        port = server.chat.url.split(":")[-1].rstrip("/")
        assert server.page == f"http://127.0.0.1:{port}/"
        assert server.url == f"ws://127.0.0.1:{port}/chat"
        assert server.at("/ws") == f"ws://127.0.0.1:{port}/ws"
        with urlopen(server.page) as page:
            assert page.status == 200
        with Peer(server.at("/")) as peer:
            assert peer.next() == {"id": 1}


def test_many_at_once_have_ports_of_their_own() -> None:
    with LiveServer() as one, LiveServer() as other:
        assert one.url != other.url


def test_its_settings() -> None:
    assert LiveServer(history_size=3).chat.config.history_size == 3
    with pytest.raises(ConfigError, match="history_size"):
        LiveServer(history_size=0)
    with pytest.raises(ConfigError, match="history_sise"):
        LiveServer(history_sise=3)


def test_a_chat_of_ones_own() -> None:
    chat = Chat(Config(port=0))
    with LiveServer(chat) as server:
        assert server.chat is chat
    with pytest.raises(TypeError, match="pass these to its Config: room_ttl, port"):
        LiveServer(chat, room_ttl=5, port=0)


def test_the_end_tells_everybody() -> None:
    server = LiveServer().start()
    peer = Peer(server.url)
    server_stop = threading.Thread(target=server.stop)
    server_stop.start()
    with pytest.raises(ConnectionClosed) as end:
        peer.recv()
    assert end.value.code == 3001
    peer.close()
    server_stop.join()


def test_an_end_that_does_not_come_is_a_failure() -> None:
    goes_on = threading.Event()
    server = LiveServer(drain_timeout=0.05).start()
    server.chat.hub.attach_listener(lambda event: goes_on.wait())
    server.chat.hub.room("lobby").message("ann", "hi")
    with pytest.raises(AssertionError, match=r"still running after 0\.05 s"):
        server.stop()
    goes_on.set()
