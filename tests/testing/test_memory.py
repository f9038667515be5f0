"""Covers threadchat/testing/memory.py."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse

import pytest

from threadchat import Chat, Config, ConnectionClosed, Refuse
from threadchat.errors import HandshakeRefused
from threadchat.testing import InMemory
from threadchat.testing.memory import finish, socket_pair


def hello(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"somebody's page"]


def test_people_of_one_chat_hear_each_other() -> None:
    with Chat() as chat, InMemory(chat) as memory:
        ann, bob = memory.connect(), memory.connect()
        for peer, name in ((ann, "ann"), (bob, "bob")):
            peer.ask("hello", nickname=name)
            peer.ask("join", room="lobby")
        ann.ask("message", room="lobby", message="hi")
        assert [bob.next()["type"] for _ in range(2)] == ["join", "message"]


def test_no_port_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a port was opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with Chat() as chat, InMemory(chat) as memory:
        assert memory.connect().ask("ping")["type"] == "ok"


def test_an_application_with_a_chat_in_it() -> None:
    chat = Chat(authenticate=lambda environ: {"id": 7, "nickname": environ["HTTP_X_USER"]})
    with chat, InMemory(chat.mount(hello, "/talk")) as memory:
        ann = memory.connect("/talk", headers={"X-User": "ann"})
        assert ann.ask("hello")["user"] == 7
        with pytest.raises(HandshakeRefused) as refusal:
            memory.connect("/")
        assert (refusal.value.status, refusal.value.body) == (200, "somebody's page")


def test_a_chat_by_itself_is_at_its_path_only() -> None:
    with Chat() as chat, InMemory(chat) as memory, pytest.raises(HandshakeRefused) as refusal:
        memory.connect("/elsewhere")
    assert refusal.value.status == 404


def test_a_login_that_is_refused() -> None:
    def nobody(environ: dict[str, Any]) -> None:
        raise Refuse("members only")

    with (
        Chat(authenticate=nobody) as chat,
        InMemory(chat) as memory,
        pytest.raises(HandshakeRefused) as refusal,
    ):
        memory.connect()
    assert refusal.value.status == 403
    assert "members only" in str(refusal.value.body)


def test_the_end_of_the_chat_is_heard() -> None:
    chat = Chat(Config(drain_timeout=10))
    with InMemory(chat) as memory:
        ann = memory.connect()
        ann.ask("hello", nickname="ann")
        closing = threading.Thread(target=chat.close)
        closing.start()
        with pytest.raises(ConnectionClosed) as end:
            ann.recv()
        assert end.value.code == 3001
    closing.join()


def test_a_connection_that_stays_is_a_failure() -> None:
    goes_on = threading.Event()
    chat = Chat(on_disconnect=lambda *_: goes_on.wait())
    with chat:
        memory = InMemory(chat)
        memory.connect().ask("hello", nickname="ann")
        memory._timeout = 0.05  # only now: until here everything may take its time
        with pytest.raises(AssertionError, match=r"still running 0\.05 s"):
            memory.close()
        goes_on.set()


def test_a_pair_takes_the_options_of_tcp() -> None:
    theirs, ours = socket_pair()
    with theirs, ours:
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
        assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 50_000
        theirs.sendall(b"x")
        assert ours.recv(9) == b"x"


def test_finish_waits_for_a_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    finish(thread, 10)
    assert not thread.is_alive()
