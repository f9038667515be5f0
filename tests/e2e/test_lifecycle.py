"""Every way in which a connection is ended by the server, with short limits, and that nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.crowd import Crowd
from tests.e2e.process import PATIENCE, ServerProcess
from tests.e2e.talker import Talker
from threadchat.config.settings import Config
from threadchat.server.chat import Chat

Serve = Callable[..., ServerProcess]

SOON = "0.3"  # seconds
ENOUGH = "1"  # seconds, in which a client on a busy machine does what the limit asks for


@contextlib.contextmanager
def in_process(**settings: object) -> Iterator[Chat]:
    """A server on this process's own threads."""
    chat = Chat(Config(port=0, **settings))  # type: ignore[arg-type]
    chat.listen()
    try:
        yield chat
    finally:
        assert chat.drain(PATIENCE)


def rest_of(sock: socket.socket) -> bytes:
    """All that comes until the server ends the stream."""
    data = b""
    while more := sock.recv(4096):
        data += more
    return data


# The lifecycle table


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_an_incomplete_request_ends_with_408(serve: Serve, begun: bytes) -> None:
    server = serve("--request-timeout", SOON)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(begun)
        assert rest_of(sock).startswith(b"HTTP/1.1 408 ")


def test_no_hello_ends_with_3502(serve: Serve) -> None:
    server = serve("--hello-timeout", ENOUGH)
    with Talker(server.ws) as polite:
        polite.hello("ann")
        with Talker(server.ws, "/") as direct, Talker(server.ws) as stranger:
            stranger.ask("ping")  # is no hello
            assert stranger.close_code() == 3502
            assert polite.ask("ping") == {}
            assert direct.next() == {"id": 2}
            direct.send(to=1, message="connecting counts as hello here")
            assert polite.next()["message"] == "connecting counts as hello here"


def test_no_profile_ends_with_3502(serve: Serve) -> None:
    server = serve("--profile-timeout", ENOUGH)
    with Talker(server.ws) as named, Talker(server.ws) as late, Talker(server.ws) as nameless:
        late.ask("hello")
        late.ask("profile", nickname="bob")
        named.hello("ann")
        nameless.ask("hello")
        nameless.ask("subscribe", room="lobby")  # is no profile
        assert nameless.close_code() == 3502
        assert named.ask("ping") == late.ask("ping") == {}


def test_no_pong_ends_with_3012(serve: Serve) -> None:
    server = serve("--ping-interval", "0.2", "--pong-timeout", "1.5")
    with Crowd(server.port) as crowd, Talker(server.ws, ping_interval=None) as answering:
        answering.hello("ann")
        (mute,) = crowd.connect(1)
        mute.answers_pings = False
        crowd.ask(mute, "hello", nickname="mute")
        crowd.run(lambda: mute.closed is not None)
        assert mute.closed == 3012
        assert answering.ask("ping") == {}  # its library sent pongs all the while


def test_too_old_ends_with_3005(serve: Serve) -> None:
    server = serve("--max-age", SOON)
    for path in ("/", "/ws", "/chat"):
        with Talker(server.ws, path) as talker:
            assert talker.close_code() == 3005


def test_a_kick_ends_with_3503_on_every_session_of_that_person() -> None:
    with in_process() as chat:
        ws = chat.url.replace("http", "ws", 1).rstrip("/")
        with Talker(ws) as ann, Talker(ws) as again, Talker(ws) as bob:
            resume = ann.hello("ann")["resume"]
            again.ask("hello", resume=resume)
            bob.hello("bob")
            bob.ask("join", room="lobby")
            ann.ask("join", room="lobby")
            again.ask("join", room="lobby")
            assert chat.hub.disconnect(1) == 2
            assert ann.close_code() == again.close_code() == 3503
            assert [bob.next()["type"] for _ in range(5)] == ["join", "join", "add", "remove", "leave"]
            assert chat.hub.disconnect(1) == 0, "both had gone before bob heard of it"


# What a peer itself can do wrong


@pytest.mark.parametrize("path", ["/", "/ws", "/chat"])
def test_a_message_above_the_limit_ends_with_1009(serve: Serve, path: str) -> None:
    server = serve("--max-message-size", "1000")
    with Talker(server.ws, path) as talker:
        talker.socket.send("x" * 1000)  # is nonsense, but not too long
        assert talker.next()
        talker.socket.send("x" * 1001)
        assert talker.close_code() == 1009


def test_fragments_are_added_up(serve: Serve) -> None:
    server = serve("--max-message-size", "1000")
    with Talker(server.ws) as talker:
        talker.socket.send(["x" * 400, "y" * 600])
        assert talker.next()["code"] == 107
        talker.socket.send(["x" * 400, "y" * 400, "z" * 201])
        assert talker.close_code() == 1009


@pytest.mark.parametrize("path", ["/", "/ws", "/chat"])
def test_the_64th_error_ends_with_3509(chat_server: ServerProcess, path: str) -> None:
    with Talker(chat_server.ws, path) as talker:
        if path == "/":
            talker.next()
        for _ in range(64):
            talker.socket.send("nonsense")
            talker.next()  # each one is answered, the last one too
        assert talker.close_code() == 3509


# The threads of a connection


def test_a_connection_is_a_reader_and_a_writer_named_after_it() -> None:
    with in_process() as chat:
        ws = chat.url.replace("http", "ws", 1).rstrip("/")
        with Talker(ws) as ann, Talker(ws) as bob:
            ann.hello("ann")
            bob.hello("bob")
            names = {thread.name for thread in threading.enumerate()}
            assert {"reader-1", "writer-1", "reader-2", "writer-2"} <= names
            assert not {name for name in names if name.startswith(("http-", "producer-"))}
