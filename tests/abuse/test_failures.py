"""Wrong keys and tokens are seen, counted, and slow; what is right never waits for what is wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests.abuse.doors import API_KEY, ask, handshake, head
from threadchat import Chat, Config, ConnectionClosed
from threadchat.logs.rate_limit import LINES
from threadchat.server.auth import failures as module
from threadchat.server.auth.failures import BURST, MAX_ADDRESSES, PAUSE, RATE, Failures
from threadchat.testing import FakeClock, Peer

TOKEN_KEY = "a-key-of-the-tests-of-40-characters-long"
JSON = ("Content-Type: application/json", "Content-Length: 2")
RIGHT = f"X-API-Key: {API_KEY}"


@pytest.fixture
def paused() -> list[str]:
    """The threads that waited."""
    return []


@pytest.fixture
def chat(paused: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    config = Config(port=0, api_key=API_KEY, token_key=TOKEN_KEY, metrics="key")
    with Chat(config) as chat:
        monkeypatch.setattr(
            chat.failures, "_pause", lambda seconds: paused.append(threading.current_thread().name)
        )
        chat.listen()
        yield chat


def call(chat: Chat, *lines: str) -> bytes:
    return ask(chat, head("POST", "/api/rooms", *JSON, *lines) + b"{}")[9:12]


def test_a_wrong_key_is_in_the_log_with_its_address(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    assert call(chat, "X-API-Key: guess") == b"401"
    assert call(chat) == b"401"
    assert ask(chat, head("GET", "/metrics", "Authorization: Bearer guess"))[9:12] == b"401"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    wrong = "a wrong API key came from 127.0.0.1"
    assert told == [wrong, "no API key came from 127.0.0.1", wrong]
    assert "guess" not in caplog.text


def test_a_wrong_token_is_too(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    assert handshake(chat, "/chat", "Authorization: Bearer guess") == 401
    with Peer(chat.url.replace("http", "ws") + "chat") as peer:
        peer.send({"type": "hello", "id": 1, "token": "guess"})
        with pytest.raises(ConnectionClosed, match="3500"):
            peer.next()
    told = [record.getMessage() for record in caplog.records if "a token was refused" in record.msg]
    assert [line.count("127.0.0.1") for line in told] == [1, 1]
    assert "guess" not in caplog.text


def test_they_are_counted(chat: Chat) -> None:
    pytest.importorskip("prometheus_client")
    call(chat, "X-API-Key: guess")
    handshake(chat, "/chat", "Authorization: Bearer guess")
    handshake(chat, "/chat", "Authorization: Bearer guess")
    metrics = ask(chat, head("GET", "/metrics", RIGHT)).decode()
    assert 'threadchat_refused_total{what="api_key"} 1.0' in metrics
    assert 'threadchat_refused_total{what="token"} 2.0' in metrics


def test_who_goes_on_waits_and_nobody_else(chat: Chat, paused: list[str]) -> None:
    for _ in range(BURST):
        chat.failures.note("token", "127.0.0.1")
    assert paused == []
    assert call(chat, "X-API-Key: guess") == b"401"
    assert len(paused) == 1
    assert paused[0].startswith("http-")  # a thread that is the connection's own
    assert call(chat, RIGHT) == b"200"
    assert len(paused) == 1


def test_the_log_is_rationed(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    from threadchat.server.admin.api import Key

    key = Key(API_KEY, chat.failures)
    for _ in range(LINES + 50):
        key.fits("guess", {"REMOTE_ADDR": "203.0.113.9"})
    assert len(caplog.records) == LINES


class Clocked:
    """Failures with a clock of its own, and how long threads waited."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waited: list[float] = []
        self.failures = Failures(self.clock, self.waited.append)

    def fail(self, times: int, address: str = "203.0.113.9") -> int:
        """How many of so many waited."""
        before = len(self.waited)
        for _ in range(times):
            self.failures.note("api_key", address)
        return len(self.waited) - before


def test_a_bucket_by_address() -> None:
    clocked = Clocked()
    assert clocked.fail(BURST) == 0
    assert clocked.fail(10) == 10
    assert set(clocked.waited) == {PAUSE}
    assert clocked.fail(BURST, "203.0.113.10") == 0
    clocked.clock.advance(5 / RATE)
    assert clocked.fail(10) == 5


def test_a_network_of_ipv6_is_one_address() -> None:
    clocked = Clocked()
    assert sum(clocked.fail(1, f"2001:db8:1:2::{number:x}") for number in range(BURST + 10)) == 10


def test_addresses_take_only_so_much_memory() -> None:
    clocked = Clocked()
    for number in range(MAX_ADDRESSES + 100):
        clocked.fail(1, str(number))
    assert len(clocked.failures._tokens) == MAX_ADDRESSES


def test_threads_of_other_servers_do_not_wait() -> None:
    clocked = Clocked()
    clocked.fail(BURST, "")
    clocked.failures.note_request("api_key", {})
    assert clocked.waited == []
    clocked.failures.note_request("api_key", {module.HANDOVER: object()})
    assert clocked.waited == [PAUSE]
