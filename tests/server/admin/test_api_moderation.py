"""Tests of what a moderator orders over HTTP; what becomes of it is tested where moderation is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.admin.test_api_schema import Application
from tests.server.operators_helpers import KEY
from threadchat import Client
from threadchat.config.settings import Config
from threadchat.server.chat import Chat


@pytest.fixture
def ask() -> Iterator[Application]:
    with Chat(Config(port=0, api_key=KEY)) as chat:
        yield Application(chat)


@pytest.mark.parametrize(("impose", "lift"), [("ban", "unban"), ("mute", "unmute")])
def test_sanctions_come_and_go(ask: Application, impose: str, lift: str) -> None:
    imposed = ask(impose, user=7, room="lobby", seconds=60, reason="spam", by=1)["sanctions"]
    [sanction] = imposed
    assert (sanction["kind"], sanction["user"], sanction["room"]) == (impose, 7, "lobby")
    assert (sanction["reason"], sanction["by"]) == ("spam", 1)
    assert isinstance(sanction["until"], int)
    assert ask("sanctions") == {"sanctions": imposed} == ask("sanctions", room="lobby")
    assert ask("sanctions", room="") == {"sanctions": []}
    assert ask(lift, user=7, room="lobby") == {"lifted": True}
    assert ask(lift, user=7, room="lobby") == {"lifted": False}
    assert ask("sanctions") == {"sanctions": []}


def test_an_address_is_banned_everywhere(ask: Application) -> None:
    [sanction] = ask("ban", address="192.0.2.7")["sanctions"]
    assert sanction == {"kind": "ban", "address": "192.0.2.7"}
    assert ask("unban", address="192.0.2.7") == {"lifted": True}


@pytest.mark.parametrize("name", ["ban", "mute", "unban", "unmute"])
@pytest.mark.parametrize("subject", [{}, {"user": 1, "address": "192.0.2.7"}, {"address": "nowhere"}])
def test_a_sanction_is_for_one_subject(ask: Application, name: str, subject: dict[str, object]) -> None:
    assert ask.refused(name, **subject) == (400, 107)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": -1}, {"reason": "x" * 201}, {"by": 1.5}])
def test_a_sanction_in_the_wrong_form(ask: Application, wrong: dict[str, object]) -> None:
    assert ask.refused("ban", user=1, **wrong) == (400, 107)


def test_kick(ask: Application) -> None:
    ask.chat.listen()
    with Client(ask.chat.url, nickname="ann") as ann:
        ann.join("lobby")
        assert ask("kick", user=ann.user, room="lobby", reason="calm down") == {"ended": 1}
        assert ask("who", room="lobby") == {"users": []}
        assert ask("kick", user=ann.user) == {"ended": 1}
    assert ask("kick", user=99) == {"ended": 0}


def test_close_and_delete(ask: Application) -> None:
    place = ask("publish", room="lobby", message="oops")
    assert ask.refused("delete", room="lobby", event=place["offset"], epoch="another") == (410, 112)
    assert ask("delete", room="lobby", event=place["offset"], epoch=place["epoch"], by=1) == {}
    assert all(event.get("message") != "oops" for event in ask("history", room="lobby")["events"])
    assert ask.refused("delete", room="nowhere", event=1) == (404, 102)
    assert ask.refused("delete", room="lobby", event=0) == (400, 107)
    assert ask("close", room="lobby") == {}
    assert ask.refused("close", room="lobby") == (404, 102)
