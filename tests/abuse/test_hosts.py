"""A page whose name was pointed at this machine (DNS rebinding) reaches nothing; nor does one over plain HTTP
where TLS is spoken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.abuse.doors import API_KEY, handshake, status
from threadchat import Chat, Config, ConfigError
from threadchat.server.http.handshake import is_own_page
from threadchat.server.http.hosts import Hosts
from threadchat.server.http.proxies import Proxies

Start = Callable[..., Chat]


@pytest.fixture
def start() -> Iterator[Start]:
    chats: list[Chat] = []

    def listen(**settings: Any) -> Chat:
        chats.append(Chat(Config(**{"port": 0, "api_key": API_KEY, "metrics": "key", **settings})))
        chats[-1].listen()
        return chats[-1]

    yield listen
    for chat in chats:
        chat.close()


@pytest.mark.parametrize("path", ["/chat", "/ws", "/"])
def test_no_handshake_by_a_name_of_strangers_on_loopback(
    start: Start, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    chat = start()
    same = "Origin: http://evil.example:8080"
    assert handshake(chat, path, same, host="evil.example:8080") == 403
    assert "allow_host" in caplog.text
    assert "Host 'evil.example:8080'" in caplog.text


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/ops", "/api/rooms", "/metrics", "/nothing"])
def test_nor_anything_else(start: Start, path: str) -> None:
    chat = start()
    assert status(chat, "GET", path, host="evil.example") == 403
    assert status(chat, "GET", path, host="localhost:1") != 403


def test_health_is_asked_for_by_any_name(start: Start) -> None:
    assert status(start(allow_host="chat.example"), "GET", "/healthz", host="10.0.0.7:8080") == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1:8080", "127.8.9.1", "[::1]:80", "chat.localhost:9"]
)
def test_loopback_names_are_always_right(start: Start, host: str) -> None:
    assert handshake(start(), host=host) == 101


def test_elsewhere_any_name_is_right_until_it_is_set(start: Start) -> None:
    assert handshake(start(host="0.0.0.0"), host="chat.example") == 101
    only = start(host="0.0.0.0", allow_host="chat.example, *.chat.example")
    assert handshake(only, host="chat.example:8080") == 101
    assert handshake(only, host="eu.chat.example") == 101
    assert handshake(only, host="localhost") == 101
    for other in ("evil.example", "notchat.example", "chat.example.evil.example", "10.0.0.1"):
        assert handshake(only, host=other) == 403
    assert handshake(start(allow_host="*"), host="evil.example") == 101


def test_what_a_trusted_proxy_passes_on_is_believed(start: Start) -> None:
    assert handshake(start(trusted_proxy="127.0.0.1"), host="chat.example") == 101
    assert handshake(start(trusted_proxy="127.0.0.1", allow_host="a.example"), host="chat.example") == 403


def test_other_servers_know_their_own_names() -> None:
    """There, SERVER_NAME may be anything; the setting counts all the same."""
    environ = {"HTTP_HOST": "chat.example", "SERVER_NAME": "127.0.0.1"}
    assert Hosts().refuse(environ) is None
    assert Hosts("other.example").refuse(environ) is not None


@pytest.mark.parametrize("wrong", ["https://chat.example", "chat.example:80", "a b", "*.", "a,,b"])
def test_a_setting_that_is_no_list_of_names(wrong: str) -> None:
    with pytest.raises(ConfigError, match="allow_host"):
        Config(allow_host=wrong)


@pytest.mark.parametrize(
    ("scheme", "said", "origin", "own"),
    [
        ("https", "", "https://h", True),
        ("https", "", "http://h", False),  # TLS is spoken: a page without it was anybody's on the way
        ("https", "", "http://h:443", False),
        ("http", "", "https://h", True),  # a proxy may do TLS, and nobody says so
        ("http", "", "http://h", True),
        ("http", "https", "https://h", True),
        ("http", "https", "http://h", False),
        ("http", "http", "https://h", False),
        ("http", "http", "http://h", True),
    ],
)
def test_the_scheme_of_an_origin_counts_where_it_is_known(
    scheme: str, said: str, origin: str, own: bool
) -> None:
    environ = {
        "wsgi.url_scheme": scheme,
        "HTTP_HOST": "h",
        "HTTP_ORIGIN": origin,
        "REMOTE_ADDR": "127.0.0.1",
    }
    if said:
        environ["HTTP_X_FORWARDED_PROTO"] = said
        Proxies("127.0.0.1").see_through(environ)
    assert is_own_page(environ) is own


def test_whoever_is_no_trusted_proxy_says_nothing_about_the_scheme() -> None:
    environ = {"wsgi.url_scheme": "http", "HTTP_HOST": "h", "HTTP_ORIGIN": "https://h"}
    environ |= {"HTTP_X_FORWARDED_PROTO": "http", "REMOTE_ADDR": "203.0.113.9"}
    Proxies("127.0.0.1").see_through(environ)
    assert is_own_page(environ)
