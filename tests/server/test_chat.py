"""Tests of the engine as a whole: it listens, serves all dialects, and drains without a trace."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed as PeerClosed
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from tests.chat.helpers import join, run
from tests.server.session_helpers import until
from tests.server.token_helpers import private_key, public_pem
from tests.wire.helpers import PATIENCE, Peer, open_descriptors, text_frame
from threadchat.config.settings import Config
from threadchat.config.unused import UnusedSetting
from threadchat.errors import CloseCode, CommandError, ConfigError
from threadchat.server.auth.users import User
from threadchat.server.chat import Chat
from threadchat.wire.connection import Connection

REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def start() -> Iterator[Callable[..., Chat]]:
    """Starts chats on free ports; drains them with the test."""
    chats: list[Chat] = []

    def listen(**settings: Any) -> Chat:
        chat = Chat(Config(port=0, **settings))
        chats.append(chat)
        chat.listen()
        return chat

    yield listen
    for chat in chats:
        assert chat.drain(PATIENCE)


@pytest.fixture
def chat(start: Callable[..., Chat]) -> Chat:
    return start()


def identity(chat: Chat, path: str = "/chat") -> ClientConnection:
    """A client of the `websockets` library."""
    opening = connect(
        chat.url.replace("http", "ws").rstrip("/") + path,
        compression=None,
        proxy=None,
        open_timeout=PATIENCE,
        ping_interval=None,
        close_timeout=PATIENCE,
        max_queue=None,
    )
    return opening.__enter__()


def dial(chat: Chat) -> Peer:
    """A client that has sent nothing yet."""
    return Peer(socket.create_connection(("127.0.0.1", port_of(chat)), timeout=PATIENCE))


def port_of(chat: Chat) -> int:
    return int(chat.url.rstrip("/").rpartition(":")[2])


def raw(chat: Chat, path: bytes = b"/chat", more: bytes = b"") -> Peer:
    """A client that does nothing by itself."""
    peer = dial(chat)
    peer.send(REQUEST % path + more)
    return peer


def say(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def hear(client: ClientConnection) -> dict[str, Any]:
    message = json.loads(client.recv(timeout=PATIENCE))
    assert isinstance(message, dict)
    return message


def ask(client: ClientConnection, **message: Any) -> dict[str, Any]:
    say(client, id=1, **message)
    while (reply := hear(client)).get("re") != 1:
        pass
    return reply


def rest(client: ClientConnection) -> list[dict[str, Any]]:
    """All until the Close."""
    got = []
    with contextlib.suppress(PeerClosed):
        while True:
            got.append(hear(client))
    return got


# -- listening ---------------------------------------------------------------------------------------


def test_the_three_dialects_are_on_their_paths(chat: Chat) -> None:
    native, first, second, ann = (identity(chat, path) for path in ("/chat", "/", "/", "/ws"))
    assert (hear(first), hear(second)) == ({"id": 1}, {"id": 2})
    say(first, to=2, message="hi")
    assert hear(second) == {"from": 1, "message": "hi"}
    say(first, to=99, message="hi")
    assert "error" in hear(first)
    assert ask(native, type="hello", nickname="bob")["user"] == 3
    say(ann, **{"from": "ann", "message": "hi"})
    assert hear(ann) == {"from": "ann", "message": "hi"}
    for client in (native, first, second, ann):
        client.close()


def test_another_path_is_no_endpoint(chat: Chat) -> None:
    with pytest.raises(InvalidHandshake):
        identity(chat, "/elsewhere")


def test_a_page_of_another_origin_may_not_connect(start: Callable[..., Chat]) -> None:
    def knock(chat: Chat) -> bytes:
        peer = dial(chat)
        peer.send((REQUEST % b"/chat").replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"))
        status = peer.response().split(b"\r\n")[0]
        peer.close()
        return status

    assert b" 403 " in knock(start())
    assert b" 101 " in knock(start(allow_origin="http://evil.example"))


def test_the_url_is_where_the_page_is(chat: Chat) -> None:
    assert chat.url.startswith("http://127.0.0.1:")
    assert chat.url.endswith("/")


def test_a_chat_listens_once(chat: Chat) -> None:
    with pytest.raises(ConfigError, match="already listens at http://127"):
        chat.listen(0)


def test_a_chat_that_could_not_listen_may_try_again(chat: Chat) -> None:
    with Chat() as another:
        with pytest.raises(OSError):
            another.listen(port_of(chat))
        with pytest.raises(ConfigError, match="does not listen yet"):
            another.url  # noqa: B018
        another.listen(0)
    with pytest.raises(ConfigError, match="closed"):
        another.listen(0)


def test_a_port_in_use_is_an_os_error(chat: Chat) -> None:
    other = Chat(Config(port=port_of(chat)))
    with pytest.raises(OSError) as raised:
        other.listen()
    assert raised.value.errno == errno.EADDRINUSE
    assert other.drain(PATIENCE)


def test_a_setting_of_the_process_is_warned_of_where_the_chat_is_made() -> None:
    with pytest.warns(UnusedSetting, match="log_level=debug has no effect on a Chat of your own") as caught:
        Chat(Config(log_level="debug")).close()
    assert [it.filename for it in caught] == [__file__]


def test_an_event_log_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(OSError):
        Chat(Config(port=0, event_log=str(tmp_path)))
    assert set(threading.enumerate()) == before


def test_the_event_log_has_what_was_said(start: Callable[..., Chat], tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    chat = start(event_log=str(path))
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    ask(ann, type="join", room="r")
    ask(ann, type="message", room="r", message="hi")
    assert chat.drain(PATIENCE)
    ann.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["join", "message", "leave", "close"]


def test_a_reload_opens_an_event_log_that_was_renamed_anew(
    start: Callable[..., Chat], tmp_path: Path
) -> None:
    path = tmp_path / "events.log"
    chat = start(event_log=str(path), event_log_bytes=500)
    chat.publish("r", "before")
    until(lambda: b"before" in path.read_bytes())
    moved = path.rename(tmp_path / "moved")
    chat.reload()
    chat.publish("r", "after")
    until(lambda: path.exists() and b"after" in path.read_bytes())
    assert b"after" not in moved.read_bytes()
    chat.publish("r", "x" * 500)
    until(lambda: len(list(tmp_path.glob("events.log.*"))) == 1)  # the settings are in force


def test_what_follows_the_handshake_at_once_is_not_lost(chat: Chat) -> None:
    peer = raw(chat, more=text_frame('{"type": "ping", "id": "early"}'))
    assert b" 101 " in peer.response()
    assert peer.frame() == (1, b'{"type":"ok","re":"early"}')
    peer.close()


def test_limits_come_from_the_configuration(start: Callable[..., Chat]) -> None:
    chat = start(max_message_size=200)
    client = identity(chat)
    client.send("x" * 200)
    assert hear(client)["code"] == 107
    client.send("x" * 201)
    assert rest(client) == []
    assert client.close_code == 1009


def test_the_hub_of_a_chat_kicks(chat: Chat) -> None:
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    assert chat.hub.disconnect(1) == 1
    rest(ann)
    assert ann.close_code == 3503


@pytest.mark.parametrize("routing", ["directory", "router"])
def test_a_chat_has_the_routing_that_was_asked_for(start: Callable[..., Chat], routing: str) -> None:
    chat = start(routing=routing)
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    assert ask(ann, type="message", room="r", message="hi")["offset"] == 1
    assert ("router" in {thread.name for thread in threading.enumerate()}) == (routing == "router")
    ann.close()


# -- draining ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat", "/", "/ws"])
def test_a_drain_says_shutdown_to_everybody(chat: Chat, path: str) -> None:
    clients = [identity(chat, path) for _ in range(5)]
    assert chat.drain(PATIENCE)
    for client in clients:
        rest(client)
        assert (client.close_code, client.close_reason) == (3001, "shutdown")


def test_a_drain_flushes_what_waits(chat: Chat) -> None:
    ann, bob = identity(chat), identity(chat)
    for client, name in ((ann, "ann"), (bob, "bob")):
        ask(client, type="hello", nickname=name)
        ask(client, type="join", room="r")
    for i in range(90):
        ask(bob, type="message", room="r", message=str(i))
    assert chat.drain(PATIENCE)
    assert [m["message"] for m in rest(ann) if m["type"] == "message"] == [str(i) for i in range(90)]
    assert ann.close_code == 3001
    bob.close()


@pytest.mark.parametrize("routing", ["directory", "router"])
def test_a_drain_leaves_no_thread_and_no_descriptor(tmp_path: Path, routing: str) -> None:
    threads, before = set(threading.enumerate()), open_descriptors()
    chat = Chat(Config(port=0, routing=routing, event_log=str(tmp_path / "events.log")))
    chat.listen()
    clients = [identity(chat, path) for path in ("/chat", "/", "/ws") for _ in range(4)]
    for client in clients[:4]:
        ask(client, type="hello", nickname="ann")
        ask(client, type="join", room="r")
        ask(client, type="message", room="r", message="hi")
    assert chat.drain(PATIENCE)
    for client in clients:
        client.close()
    for thread in set(threading.enumerate()) - threads:  # the last lines of a writer, and of the clients
        thread.join(PATIENCE)
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() == before


def test_one_who_does_not_answer_the_close_is_cut_off(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("threadchat.server.chat._PATIENT_PART", 0.0)
    chat.pinger.clock = lambda: 0.0  # the deadline of the Close never comes
    peer = raw(chat)
    until(lambda: len(chat.registry))  # its 101 leaves before the chat has it in its books
    assert chat.drain(PATIENCE), "nothing runs any more, although the peer did not go"
    assert "did not end in time" in caplog.text
    peer.drain()
    peer.close()


def test_a_thread_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(Config(port=0))
    chat.listen()
    held, go = threading.Event(), threading.Event()

    def hold() -> list[Any]:
        held.set()
        go.wait(PATIENCE)
        return []

    monkeypatch.setattr(chat.hub, "rooms", hold)
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    say(ann, type="rooms")
    assert held.wait(PATIENCE)
    assert not chat.drain(0.1)
    go.set()
    ann.close()


def test_a_drain_twice_and_without_listening() -> None:
    chat = Chat(Config(port=0))
    assert chat.drain(PATIENCE)
    chat = Chat(Config(port=0))
    chat.listen()
    assert chat.drain(PATIENCE)
    assert chat.drain(PATIENCE)


def test_nobody_connects_after_a_drain(chat: Chat) -> None:
    assert chat.drain(PATIENCE)
    with pytest.raises(OSError):
        identity(chat)


def test_one_who_connects_during_a_drain_is_told_too(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held between the request and the connection, until the drain has told all the others."""
    asked, go = threading.Event(), threading.Event()
    make = Connection.__init__

    def held(self: Connection, *args: Any, **options: Any) -> None:
        asked.set()
        assert go.wait(PATIENCE)
        make(self, *args, **options)

    monkeypatch.setattr(Connection, "__init__", held)
    peer = raw(chat)
    assert asked.wait(PATIENCE)
    clean: list[bool] = []
    threads = run(lambda: clean.append(chat.drain(PATIENCE)))
    until(lambda: chat.registry.closing)
    go.set()
    peer.response()
    assert peer.frame() == (8, int(CloseCode.SHUTDOWN).to_bytes(2, "big") + b"shutdown")
    peer.close()
    join(threads)
    assert clean == [True]


def test_half_a_request_does_not_hold_up_a_drain(chat: Chat) -> None:
    with socket.create_connection(("127.0.0.1", port_of(chat)), timeout=PATIENCE) as sock:
        sock.sendall(b"GET / HT")
        until(lambda: chat._http is not None and chat._http.connections)
        assert chat.drain(PATIENCE)


def test_many_connect_while_it_drains(chat: Chat) -> None:
    connected = threading.Semaphore(0)
    codes: list[int | None] = []

    def come_and_go() -> None:
        with contextlib.suppress(OSError, EOFError, InvalidHandshake, PeerClosed):
            while True:
                client = identity(chat)
                connected.release()
                rest(client)
                codes.append(client.close_code)

    threads = run(*[come_and_go] * 8)
    for _ in range(8):
        assert connected.acquire(timeout=PATIENCE)
    assert chat.drain(PATIENCE)
    join(threads)
    assert set(codes) == {3001}
    assert len(codes) >= 8


def test_a_connection_whose_threads_cannot_start_is_no_leak(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Connection, *args: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "__init__", fail)
        peer = raw(chat)
        peer.drain()
        peer.close()
        until(lambda: chat._http is not None and not chat._http.connections)
    assert len(chat.registry) == 0
    assert "can't start new thread" in caplog.text
    client = identity(chat)
    client.close()


# -- in an application -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"port": 0}, r"config is a dict; it must be a Config, .*Config\(\*\*settings\)"),
        (Config, r"config is a type; it must be a Config, such as Config\(port=8080\)$"),
        (Flask("app"), "config is a Flask; it must be a Config"),
    ],
)
def test_a_configuration_of_another_kind_is_told_what_is_wanted(wrong: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Chat(wrong)


def test_a_chat_needs_no_configuration() -> None:
    with Chat() as chat:
        assert chat.config == Config()


@pytest.mark.parametrize("name", ["authenticate", "on_connect", "on_message", "on_disconnect", "authorize"])
def test_hooks_are_given_or_decorate(name: str) -> None:
    def hook(*arguments: Any) -> Any:
        return None

    with Chat() as chat:
        assert getattr(chat, name)(hook) is hook
        assert getattr(chat.hooks, name) is hook
    given: Any = {name: hook}
    with Chat(**given) as chat, pytest.raises(ConfigError, match=f"{name} is set already"):
        getattr(chat, name)(hook)


def test_a_port_may_be_given() -> None:
    with Chat(Config(port=1)) as chat:
        chat.listen(0, "127.0.0.1")
        client = identity(chat)
        client.close()


@pytest.mark.parametrize("port", [-1, 65536, "8080", 1.0, True])
def test_a_port_that_is_none(port: Any) -> None:
    with Chat() as chat, pytest.raises(ConfigError, match=r"port=.*from 0 to 65535"):
        chat.listen(port)


def test_the_application_publishes_from_any_thread(chat: Chat) -> None:
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    ask(ann, type="join", room="r")
    hear(ann)
    offsets: list[int] = []

    def say(i: int) -> None:
        offsets.append(chat.publish("r", str(i), 7, nickname="shop").offset)

    join(run(*[lambda i=i: say(i) for i in range(8)]))
    events = [hear(ann) for _ in range(8)]
    assert sorted(offsets) == [event["id"] for event in events] == list(range(2, 10))
    assert {(event["userId"], event["from"]) for event in events} == {(7, "shop")}
    ann.close()


def test_the_application_speaks_to_one_person(chat: Chat) -> None:
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    chat.direct(1, "your order is ready", User(-3, "shop"))
    event = hear(ann)
    assert (event["from"], event["nickname"], event["message"]) == (-3, "shop", "your order is ready")
    with pytest.raises(CommandError) as refused:
        chat.direct(2, "hi")
    assert refused.value.code == 108
    ann.close()


def test_nothing_needs_to_listen_for_a_message_to_be_kept() -> None:
    with Chat() as chat:
        assert chat.publish("r", "first").offset == 1
        chat.listen(0)
        ann = identity(chat)
        ask(ann, type="hello", nickname="ann")
        assert [e["message"] for e in ask(ann, type="history", room="r")["events"]] == ["first"]
        ann.close()


def test_a_message_is_as_large_as_the_configuration_says(start: Callable[..., Chat]) -> None:
    chat = start(max_message_size=200)
    chat.publish("r", "x" * 200)
    with pytest.raises(CommandError, match="201 bytes; at most 200"):
        chat.publish("r", "x" * 201)


def test_after_the_end_nothing_can_be_said() -> None:
    with Chat() as chat:
        pass
    for say in (lambda: chat.publish("r", "hi"), lambda: chat.direct(1, "hi")):
        with pytest.raises(CommandError) as refused:
            say()
        assert refused.value.code == 108


def test_a_chat_that_was_made_before_a_fork_is_begun_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server does that loads the application first: no thread may be running then."""
    before = set(threading.enumerate())
    chat = Chat(Config(event_log=str(tmp_path / "events.log"), routing="router"))
    chat.mount(lambda environ, start_response: [])
    assert set(threading.enumerate()) == before
    monkeypatch.setattr("threadchat.server.chat.os.getpid", lambda: -1)
    chat.publish("r", "in the worker")
    assert chat.close()
    assert "in the worker" in (tmp_path / "events.log").read_text()


def test_the_end_of_a_forked_process_is_not_the_end_of_its_parents_connections(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real fork: the child's descriptors are of the same connections."""
    with contextlib.closing(identity(chat)) as ann:
        ask(ann, type="hello", nickname="ann")
        ask(ann, type="join", room="r")
        child = os.fork()
        if not child:
            ended = 1
            try:
                chat.publish("s", "from the child")
                connections = list(chat.registry._connections)
                ended = 0 if chat.close() and not connections else 2
            finally:
                os._exit(ended)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ask(ann, type="ping")["type"] == "ok"


def test_a_chat_that_was_used_before_a_fork_says_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Chat() as chat:
        chat.publish("r", "too early")
        chat.publish("r", "still too early")
        assert "before its process forked" not in caplog.text
        monkeypatch.setattr("threadchat.server.chat.os.getpid", lambda: -1)
        assert chat.publish("r", "in the worker").offset == 3
        chat.publish("r", "again")
        assert caplog.text.count("used before its process forked") == 1


def test_closing_takes_as_long_as_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    with Chat(Config(drain_timeout=7)) as chat:
        monkeypatch.setattr(chat, "drain", asked.append)
        chat.close()
        chat.close(0.5)
        assert asked == [7.0, 0.5]
        monkeypatch.undo()


def test_hooks_reach_those_who_connect(start: Callable[..., Chat]) -> None:
    chat = start()
    went = threading.Event()
    chat.authenticate(lambda environ: {"id": 5, "nickname": environ["HTTP_COOKIE"]})
    chat.on_disconnect(lambda info, code, reason: went.set())
    opening = connect(
        chat.url.replace("http", "ws") + "chat", additional_headers={"Cookie": "ann"}, proxy=None
    )
    with opening as ann:
        reply = ask(ann, type="hello")
        assert (reply["user"], reply["nickname"]) == (5, "ann")
    assert went.wait(PATIENCE)


def test_a_reload_reads_the_keys_of_tokens_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys.pem"
    keys.write_bytes(public_pem(private_key()))
    chat = Chat(Config(token_keys=str(keys)))
    assert chat.tokens is not None
    reloaded: list[bool] = []
    monkeypatch.setattr(chat.tokens, "reload", lambda: reloaded.append(True))
    chat.reload()
    assert reloaded == [True]
    chat.close()
    keys.unlink()
    with pytest.raises(ConfigError, match=r"token_keys: .* cannot be read"):
        Chat(Config(token_keys=str(keys)))


def test_the_port_and_a_mount_share_their_rooms(chat: Chat) -> None:
    """`listen` beside an application whose server shows no socket."""
    app = chat.mount(lambda environ, start_response: [])
    assert callable(app)
    ann = identity(chat)
    ask(ann, type="hello", nickname="ann")
    ask(ann, type="join", room="r")
    chat.publish("r", "from a request")
    assert [hear(ann)["type"], hear(ann)["message"]] == ["join", "from a request"]
    ann.close()
