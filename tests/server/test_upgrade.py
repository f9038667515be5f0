"""Tests of the way in: who is turned away and with what, whoever's server the request comes from."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.http.test_routes import UPGRADE
from tests.server.http.test_socket_takeover import Body, Unreader
from tests.server.token_helpers import SECRET, token
from tests.wire.helpers import PATIENCE, Peer, tcp_pair, text_frame
from threadchat.config.settings import Config
from threadchat.errors import Refuse
from threadchat.server.auth.hooks import SessionInfo
from threadchat.server.chat import Chat
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.wire.connection import Connection


class Front:
    """A chat in an application on something like gunicorn, without the server."""

    def __init__(self, config: Config | None = None, **hooks: Any) -> None:
        self.chat = Chat(config, **hooks)
        self.app = self.chat.mount(lambda environ, start_response: pytest.fail("not for the application"))
        self._peers: list[Peer] = []

    def knock(self, kept: bytes = b"", **more: Any) -> tuple[str, dict[str, str], str, Peer]:
        """One request; the status, headers and body that the server gets, and the other end of its socket."""
        theirs, client = tcp_pair()
        said: list[Any] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/chat",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "10.0.0.9",
            "gunicorn.socket": theirs,
            "wsgi.input": Body(Unreader(theirs, kept)),
            **UPGRADE,
            **more,
        }
        with theirs:
            body = b"".join(self.app(environ, lambda status, headers: said.extend((status, headers))))  # type: ignore[arg-type]
        peer = Peer(client)
        self._peers.append(peer)
        return said[0], dict(said[1]), body.decode(), peer

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        assert self.chat.close()


def answer(front: Front, environ: dict[str, Any]) -> tuple[str, bytes]:
    """What a server gets to send."""
    said: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
        said.append(status)
        return lambda data: None

    body = b"".join(front.app(environ, start_response))
    return said[0], body


@pytest.fixture
def open_front() -> Iterator[Callable[..., Front]]:
    fronts: list[Front] = []

    def make(*arguments: Any, **hooks: Any) -> Front:
        fronts.append(Front(*arguments, **hooks))
        return fronts[-1]

    yield make
    for front in fronts:
        front.close()


Open = Callable[..., Front]


def hello(peer: Peer) -> bytes:
    assert b" 101 " in peer.response()
    peer.send(text_frame('{"type": "hello", "id": 1, "nickname": "eve"}'))
    return peer.frame()[1]


def test_a_session_runs_on_a_thread_of_its_own(open_front: Open) -> None:
    front = open_front()
    status, _, _, peer = front.knock()
    assert status == "101 Switching Protocols"
    assert b'"user":1' in hello(peer)
    assert "reader-1" in [thread.name for thread in threading.enumerate()]


def test_what_came_with_the_request_is_not_lost(open_front: Open) -> None:
    peer = open_front().knock(text_frame('{"type": "ping", "id": "early"}'))[3]
    assert b" 101 " in peer.response()
    assert peer.frame() == (1, b'{"type":"ok","re":"early"}')


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"HTTP_SEC_WEBSOCKET_KEY": "x"}, "400"),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, "426"),
        ({"HTTP_ORIGIN": "https://evil.example"}, "403"),
        ({"REQUEST_METHOD": "POST"}, "405"),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, "400"),
        ({"CONTENT_LENGTH": "3"}, "400"),
    ],
)
def test_a_bad_handshake_is_refused_before_anybody_is_asked(
    open_front: Open, more: dict[str, Any], status: str
) -> None:
    front = open_front()
    assert front.knock(**more)[0].startswith(status)
    assert len(front.chat.registry) == 0


def test_foreign_origins_may_be_allowed(open_front: Open) -> None:
    front = open_front(Config(allow_origin="https://friend.example"))
    assert front.knock(HTTP_ORIGIN="https://friend.example")[0].startswith("101")


def test_who_comes_through_a_trusted_proxy_is_known_by_their_own_address(open_front: Open) -> None:
    seen: list[str] = []
    arrived = threading.Event()

    def on_connect(info: SessionInfo) -> None:
        seen.append(info.address)
        arrived.set()

    def authenticate(environ: dict[str, Any]) -> None:
        seen.append(environ["REMOTE_ADDR"])
        seen.append(environ["threadchat.peer"])

    config = Config(trusted_proxy="10.0.0.0/8")
    front = open_front(config, authenticate=authenticate, on_connect=on_connect)
    forwarded = {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.5", "HTTP_X_FORWARDED_PROTO": "https"}
    status, _, _, peer = front.knock(
        **forwarded, HTTP_HOST="chat.example", HTTP_ORIGIN="https://chat.example"
    )
    assert status.startswith("101"), "the browser saw https, and the default port"
    hello(peer)
    assert arrived.wait(PATIENCE)
    assert seen == ["203.0.113.5", "10.0.0.9", "203.0.113.5"]


# -- who it is ---------------------------------------------------------------------------------------


def test_the_application_says_who_it_is(open_front: Open) -> None:
    asked: list[str] = []

    def authenticate(environ: dict[str, Any]) -> object:
        asked.append(environ["HTTP_COOKIE"])
        return {"id": 42, "nickname": "ann"}

    reply = hello(open_front(authenticate=authenticate).knock(HTTP_COOKIE="session=1")[3])
    assert b'"user":42' in reply
    assert b'"nickname":"ann"' in reply
    assert asked == ["session=1"]


def test_somebody_unknown_is_anonymous(open_front: Open) -> None:
    assert b'"user":-1' in hello(open_front(authenticate=lambda environ: None).knock()[3])


def test_somebody_unknown_is_refused_where_anonymous_is_false(open_front: Open) -> None:
    front = open_front(authenticate=lambda environ: None, anonymous=False)
    status, headers, body, _ = front.knock()
    assert status == "401 Unauthorized"
    assert headers["WWW-Authenticate"] == "Session"
    assert "Log in first" in body


def test_without_an_authenticate_everybody_is_unknown(open_front: Open) -> None:
    """It may have been forgotten: then nobody gets in, rather than everybody."""
    assert open_front(anonymous=False).knock()[0] == "401 Unauthorized"


def test_the_application_may_refuse_in_its_own_words(open_front: Open) -> None:
    def authenticate(environ: dict[str, Any]) -> object:
        raise Refuse("your account is closed")

    status, _, body, _ = open_front(authenticate=authenticate).knock()
    assert (status, body) == ("403 Forbidden", "your account is closed\n")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda environ: 1 / 0, "authenticate failed"),
        (lambda environ: {"id": ""}, "'' is not an integer"),
        (lambda environ: object(), "has no id"),
    ],
)
def test_an_authenticate_that_fails_lets_nobody_in(
    open_front: Open, answer: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    front = open_front(authenticate=answer)
    status, _, body, _ = front.knock()
    assert status.startswith("500 ")
    assert "although the request was valid" in body
    assert told in caplog.text


# -- whether there is room ---------------------------------------------------------------------------


def test_above_max_connections_is_503(open_front: Open) -> None:
    front = open_front(Config(max_connections=1))
    hello(front.knock()[3])
    status, headers, _, _ = front.knock()
    assert (status, headers["Retry-After"]) == ("503 Service Unavailable", "5")


def test_a_chat_that_closes_is_503(open_front: Open) -> None:
    front = open_front()
    assert front.chat.close()
    status, _, body, _ = front.knock()
    assert status.startswith("503 ")
    assert "closing" in body


def test_without_a_socket_it_is_501_and_once_in_the_log(
    open_front: Open, caplog: pytest.LogCaptureFixture
) -> None:
    front = open_front()
    front.knock(CONTENT_LENGTH="3")  # a client's fault is no news
    for _ in range(2):
        environ = {"PATH_INFO": "/chat", "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", **UPGRADE}
        status, body = answer(front, environ)
        assert status == "501 Not Implemented"
        assert b"chat.listen(port)" in body
    assert [record.levelno for record in caplog.records if "refused" in record.message] == [logging.ERROR]
    assert front.chat.registry.admit(1) is None, "nobody's place is kept"
    front.chat.registry.give_back()


def test_without_descriptors_it_is_503(open_front: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    front = open_front()
    pair = tcp_pair()  # before there are none
    monkeypatch.setattr("tests.server.test_upgrade.tcp_pair", lambda: pair)
    monkeypatch.setattr("threadchat.server.http.socket_takeover.socket.socketpair", none_left)
    assert front.knock()[0].startswith("503 ")
    assert front.chat.registry.admit(1) is None
    front.chat.registry.give_back()


@pytest.mark.parametrize(
    "where", ["threading.Thread.start", "threadchat.wire.connection.Connection.__init__"]
)
def test_without_threads_the_connection_ends_and_nothing_stays(
    open_front: Open, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    front = open_front()
    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        peer = front.knock()[3]
        assert peer.drain() in (False, True)  # the stream ends
        assert front.chat.registry.wait(0.0) or front.chat.registry.wait(
            __import__("time").monotonic() + PATIENCE
        )
    assert "can't start new thread" in caplog.text
    assert b'"user":1' in hello(front.knock()[3])


def test_hooks_hear_of_the_peers_address(open_front: Open) -> None:
    infos: list[Any] = []
    hello(open_front(on_connect=infos.append).knock()[3])
    assert [(info.address, info.connection, info.user.nickname) for info in infos] == [("10.0.0.9", 1, "eve")]


def test_the_request_is_not_kept_for_the_sessions_whole_life(open_front: Open) -> None:
    seen: list[Any] = []
    make = Connection.__init__

    def note(self: Connection, number: int, sock: Any, headers: Any, *rest: Any, **more: Any) -> None:
        seen.append(set(headers))
        make(self, number, sock, headers, *rest, **more)

    front = open_front()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "__init__", note)
        hello(front.knock()[3])
    few = {"PATH_INFO", "SCRIPT_NAME", "QUERY_STRING"}
    assert all(name.startswith(("HTTP_", "REMOTE_")) for name in seen[0] - few)


# -- tokens ------------------------------------------------------------------------------------------


def bearer(text: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": text}


def good_token(**claims: Any) -> str:
    return token(exp=time.time() + 3600, **claims)


TOKENS = Config(token_key=SECRET, anonymous=True)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_a_token_may_come_with_the_handshake(open_front: Open, scheme: str) -> None:
    front = open_front(TOKENS, anonymous=False)
    peer = front.knock(**bearer(scheme + good_token(nickname="ann")))[3]
    welcome = hello(peer)
    assert b'"user":7' in welcome
    assert b'"nickname":"ann"' in welcome
    assert b'"expires":' in welcome


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer x", "Bearer " + token(exp=1), f"Bearer {token()},Bearer {token()}"]
)
def test_a_bad_token_is_refused_at_the_handshake(
    open_front: Open, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    caplog.set_level(logging.INFO)
    front = open_front(TOKENS)
    status, headers, body, _ = front.knock(**bearer(value))
    assert status == "401 Unauthorized"
    assert headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "not valid" in body
    assert len(front.chat.registry) == 0
    [record] = [record for record in caplog.records if "a token was refused" in record.getMessage()]
    assert record.getMessage().startswith("10.0.0.9: ")
    assert not any(len(part) > 3 and part in record.getMessage() for part in re.split(r"[ .,]", value)[1:])


@pytest.mark.parametrize("value", ["Basic YW5uOnNlY3JldA==", "Bearerx", ""])
def test_other_credentials_are_somebody_elses(open_front: Open, value: str) -> None:
    peer = open_front(TOKENS).knock(**bearer(value))[3]
    assert b'"user":-1' in hello(peer)


def test_without_tokens_the_header_is_the_applications(open_front: Open) -> None:
    assert b'"user":1' in hello(open_front().knock(**bearer("Bearer x"))[3])


def test_the_hook_comes_before_the_token(open_front: Open) -> None:
    front = open_front(TOKENS, authenticate=lambda environ: {"id": 3, "nickname": "cy"})
    assert b'"user":3' in hello(front.knock(**bearer("Bearer of the application's own"))[3])
    front = open_front(TOKENS, authenticate=lambda environ: None)
    assert b'"user":7' in hello(front.knock(**bearer("Bearer " + good_token()))[3])


def test_without_anonymous_a_token_may_still_come_with_hello(open_front: Open) -> None:
    peer = open_front(Config(token_key=SECRET, anonymous=False)).knock()[3]
    assert b" 101 " in peer.response()
    peer.send(text_frame('{"type": "hello", "id": 1, "nickname": "eve"}'))
    assert b'"code":101' in peer.frame()[1]
    peer.send(text_frame(json.dumps({"type": "hello", "id": 2, "token": good_token()})))
    assert b'"user":7' in peer.frame()[1]


def test_the_argument_beats_the_setting(open_front: Open) -> None:
    assert open_front(Config(anonymous=False)).knock()[0] == "401 Unauthorized"
    assert b'"user":1' in hello(open_front(Config(anonymous=False), anonymous=True).knock()[3])


@pytest.mark.parametrize("dialect", [DirectSession, BroadcastSession])
def test_the_older_dialects_have_only_the_handshake(open_front: Open, dialect: Any) -> None:
    front = open_front(TOKENS, anonymous=False)
    front.app = front.chat._upgrade_handler.endpoint(dialect)
    status, headers, _, _ = front.knock()
    assert (status, headers["WWW-Authenticate"]) == ("401 Unauthorized", 'Bearer realm="threadchat"')
    peer = front.knock(**bearer("Bearer " + good_token()))[3]
    assert b" 101 " in peer.response()
    if dialect is DirectSession:
        assert peer.frame()[1] == b'{"id":7}'
