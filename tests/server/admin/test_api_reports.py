"""Tests of what an operator asks over HTTP: the figures of a chat with known people in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.server.admin.test_api_schema import Application
from tests.server.operators_helpers import KEY
from tests.server.session_helpers import until
from threadchat import Client, CommandError, __version__
from threadchat.config.settings import Config
from threadchat.server.admin import snapshot
from threadchat.server.chat import Chat


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.setattr(snapshot, "FRESH", 0.0)
    with Chat(Config(port=0, api_key=KEY, history_size=10)) as chat:
        chat.listen()
        yield Application(chat)


def test_info(ask: Application) -> None:
    with Client(ask.chat.url, nickname="ann") as ann:
        ann.join("lobby")
        ann.message("lobby", "hi")
        info = ask("info")
        assert (info["version"], info["node"], info["ready"]) == (__version__, "", True)
        assert (info["connections"], info["connected"], info["rooms"], info["events"]) == (1, 1, 1, 2)
        assert info["messages_in"] == 3  # hello, join, message
        until(lambda: ask("info")["deliveries"] == 5)  # three replies, two events
        assert info["uptime"] > 0


def test_connections(ask: Application) -> None:
    with Client(ask.chat.url, nickname="ann") as ann, Client(ask.chat.url, nickname="bob"):
        ann.join("lobby")
        assert [each["nickname"] for each in ask("connections", sort="oldest")["connections"]] == [
            "ann",
            "bob",
        ]
        [newest] = ask("connections", sort="newest", limit=1)["connections"]
        assert (newest["nickname"], newest["address"], newest["state"]) == ("bob", "127.0.0.1", "IN_CHAT")
        assert (newest["messages_in"], newest["bytes_in"] > 0) == (1, True)


def test_ops(ask: Application) -> None:
    with Client(ask.chat.url, nickname="ann") as ann:
        for _ in range(2):
            with pytest.raises(CommandError):
                ann.direct(99, "anybody?")
        seen = ask("ops")
        assert seen["errors"] == [{"code": 108, "reason": "not available", "count": 2}]
        assert (seen["connections"], seen["states"], seen["closes"]) == (1, {"IN_CHAT": 1}, [])
        assert sum(seen["outbox_messages"]["counts"]) == sum(seen["outbox_age"]["counts"]) == 1
        assert [each["nickname"] for each in seen["slowest"]] == ["ann"]
        assert {"reader", "writer", "accept"} <= set(seen["threads"])
    until(lambda: ask("ops")["closes"] == [{"code": 1000, "reason": "normal closure", "count": 1}])
    after = ask("ops")
    assert (after["connections"], after["errors"]) == (0, seen["errors"])
    assert after["totals"]["messages_in"] == seen["totals"]["messages_in"]


def test_the_last_hour_and_the_log_are_told_once(ask: Application) -> None:
    ask.chat.monitor.look()
    first = ask("ops", history=True)
    assert [len(sample["nodes"]) for sample in first["history"]] == [1]
    assert (first["reasons"]["3008"], first["reasons"]["107"]) == (
        "slow: the socket took no byte",
        "bad request",
    )
    assert [it["process"] for it in first["nodes"]] == [first["process"]]
    logging.getLogger("threadchat.test").warning("one more")
    last = ask("ops")["log"][-1]
    assert (last["level"], last["message"]) == ("warning", "one more")
    second = ask("ops", logged={first["process"]: last["number"], "another": 0})
    assert [it for it in second["log"] if it["message"] == "one more"] == []
    assert "history" not in second


def test_the_rooms_of_a_connection(ask: Application) -> None:
    with Client(ask.chat.url, nickname="ann") as ann:
        for number in range(snapshot.ROOMS + 1):
            ann.join(f"room {number}")
        [described] = ask("ops")["slowest"]
    assert described["rooms"] == [f"room {number}" for number in range(snapshot.ROOMS)]
    assert described["room_count"] == snapshot.ROOMS + 1
