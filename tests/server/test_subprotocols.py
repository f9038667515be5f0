"""Tests of subprotocols: which is chosen, and the token that comes as one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.server import token_helpers
from tests.server.token_helpers import SECRET
from threadchat import Chat
from threadchat.config.settings import Config
from threadchat.server.subprotocols import HEADER, Choice, choose


def token(key: str = SECRET, **claims: Any) -> str:
    return token_helpers.token(key, exp=time.time() + 3600, **claims)


@pytest.mark.parametrize(
    ("offered", "choice"),
    [
        (None, Choice()),
        ("", Choice()),
        ("other", Choice()),
        ("chat.v2, chat.v1", Choice("chat.v2")),
        ("other,\tchat.v1", Choice("chat.v1")),
        ("CHAT.V1", Choice()),
        ("bearer, e.y.j", Choice("bearer", "e.y.j")),
        ("Bearer,e.y.j", Choice("Bearer", "e.y.j")),
        ("bearer", Choice("bearer", "")),
        ("bearer, chat.v1", Choice("bearer", "chat.v1")),  # a token may look like anything
        ("chat.v1, bearer, e.y.j", Choice("chat.v1", "e.y.j")),
        ("other, bearer, e.y.j, chat.v1", Choice("chat.v1", "e.y.j")),
        ("other, bearer, e.y.j", Choice("bearer", "e.y.j")),
    ],
)
def test_what_is_chosen(offered: str | None, choice: Choice) -> None:
    environ = {} if offered is None else {HEADER: offered}
    assert choose(environ, {"chat.v1", "chat.v2"}) == choice


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(port=0, subprotocols="chat.v1", token_key=SECRET, anonymous=False)) as chat:
        chat.listen()
        yield chat


def opened(chat: Chat, path: str, *offered: str, **options: Any) -> Any:
    url = f"{chat.url.replace('http', 'ws', 1)}{path}"
    return connect(url, subprotocols=[Subprotocol(name) for name in offered] or None, **options)


@pytest.mark.parametrize("path", ["", "ws", "chat"])
def test_a_browser_shows_its_token_at_the_handshake(
    chat: Chat, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "websockets.client")  # which shows what it sends
    caplog.set_level(logging.DEBUG, "threadchat")
    mine = token(sub=7, nickname="ann")
    with opened(chat, path, "bearer", mine) as ann:
        assert ann.subprotocol == "bearer"
        if path == "":
            assert ann.recv(10) == '{"id":7}'
        elif path == "ws":
            ann.send('{"from":"ann","message":"hi"}')
            assert ann.recv(10) == '{"from":"ann","message":"hi"}'
        else:
            ann.send('{"type":"hello","id":1}')
            assert '"user":7' in str(ann.recv(10))
        (connection,) = chat.registry.connections()
        assert mine not in str(vars(connection))
    assert mine.split(".")[1] not in caplog.text


@pytest.mark.parametrize(
    "shown", ["", "nonsense", token(sub=7, key="another key, which is as long as it has to be")]
)
def test_a_bad_one_is_refused_as_in_a_header(
    chat: Chat, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "websockets.client")  # which shows what it sends
    caplog.set_level(logging.DEBUG, "threadchat")
    with pytest.raises(Exception, match="401"):
        opened(chat, "ws", "bearer", *([shown] if shown else []))
    assert "a token was refused" in caplog.text
    assert not shown or shown not in caplog.text


def test_a_header_counts_before_it(chat: Chat) -> None:
    headers = {"Authorization": f"Bearer {token(sub=7)}"}
    with opened(chat, "", "bearer", token(sub=8), additional_headers=headers) as ann:
        assert ann.recv(10) == '{"id":7}'


def test_what_the_setting_names_is_spoken(chat: Chat) -> None:
    with opened(chat, "", "other", "chat.v1", "bearer", token(sub=7)) as ann:
        assert ann.subprotocol == "chat.v1"
        assert ann.recv(10) == '{"id":7}'
    with opened(chat, "chat", "other") as ann:  # which a browser would end
        assert ann.subprotocol is None
        ann.send("x")
        assert "not JSON" in str(ann.recv(10))


def test_where_there_are_no_tokens_nobody_looks_at_one() -> None:
    with Chat(Config(port=0)) as chat:
        chat.listen()
        with opened(chat, "", "bearer", "e.y.j") as ann:
            assert (ann.subprotocol, ann.recv(10)) == ("bearer", '{"id":1}')


def test_the_application_sees_what_was_offered() -> None:
    seen: list[Any] = []
    config = Config(port=0, subprotocols="chat.v1")
    with Chat(config, authenticate=lambda environ: seen.append(environ[HEADER])) as chat:
        chat.listen()
        with opened(chat, "", "chat.v1", "token.let-me-in") as ann:
            assert ann.subprotocol == "chat.v1"
    assert seen == ["chat.v1, token.let-me-in"]
