"""Tests of what an application asks over HTTP: each call once for good, and once against the grain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.operators_helpers import KEY, post
from threadchat import Client
from threadchat.client import Client as _Client
from threadchat.config.settings import Config
from threadchat.server.admin.api import Api, Key
from threadchat.server.chat import Chat


class Application:
    """Something in another language that talks to a chat."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.door = Api(chat, Key(KEY), chat.config.max_message_size)

    def __call__(self, name: str, /, **fields: object) -> Any:
        status, answer = post(self.door, name, fields)
        assert status == 200, answer
        return answer

    def refused(self, name: str, /, **fields: object) -> tuple[int, int]:
        status, answer = post(self.door, name, fields)
        return status, answer["error"]["code"]


@pytest.fixture
def ask() -> Iterator[Application]:
    with Chat(Config(port=0, api_key=KEY)) as chat:
        yield Application(chat)


@pytest.fixture
def ann(ask: Application) -> Iterator[_Client]:
    ask.chat.listen()
    with Client(ask.chat.url, nickname="ann") as client:
        yield client


def test_publish(ask: Application) -> None:
    first = ask("publish", room="orders", message="one more", user=7, nickname="shop", key="17")
    assert first["offset"] == 1
    assert ask("publish", room="orders", message="one more", user=7, key="17") == first
    assert ask("publish", room="orders", message="another")["offset"] == 2
    [event, _] = ask("history", room="orders")["events"]
    assert (event["userId"], event["from"], event["message"]) == (7, "shop", "one more")
    assert ask("info")["events"] == 3  # the key's second is a publication, too


def test_direct(ask: Application, ann: _Client) -> None:
    assert ask("direct", to=ann.user, message="psst", nickname="shop") == {}
    heard = next(event for event in ann if event.type == "direct")
    assert (heard.nickname, heard.message) == ("shop", "psst")
    assert ask.refused("direct", to=99, message="psst") == (404, 108)
    assert ask.refused("direct", to="ann", message="psst") == (404, 108)
    assert ask.refused("direct", to=True, message="psst") == (400, 107)


def test_emit(ask: Application, ann: _Client) -> None:
    first = ask("emit", room="orders", name="order.created", data={"id": 17}, key="k")
    assert first["offset"] == 1
    assert ask("emit", room="orders", name="order.created", key="k") == first
    assert ask("emit", room="orders", name="progress", data=[1, 2], keep=False) == {}
    [event] = ask("history", room="orders")["events"]
    assert (event["type"], event["name"], event["data"]) == ("event", "order.created", {"id": 17})
    assert ask("emit", user=ann.user, name="notice", data="hi") == {}, "nobody is known here"
    heard = next(event for event in ann if event.type == "event")
    assert (heard.name, heard.data) == ("notice", "hi")
    assert ask.refused("emit", user=99, name="notice") == (404, 108)
    assert ask.refused("emit", room="orders", name="Not A Name") == (400, 107)
    assert ask.refused("emit", name="e") == (400, 107)
    assert ask.refused("emit", room="\0inbox:7", name="e") == (400, 107)
    assert ask.refused("history", room="\0inbox:7") == (403, 103)


def test_a_message_is_answered_edited_and_reacted_to(ask: Application) -> None:
    place = ask("publish", room="lobby", message="helo", user=7, nickname="shop")
    edit = ask("edit", room="lobby", event=place["offset"], message="hello @shop", epoch=place["epoch"], by=9)
    assert edit["epoch"] == place["epoch"]
    first = ask("react", room="lobby", event=1, emoji="🎉", user=7, nickname="shop")
    assert first["offset"] == edit["offset"] + 1
    assert ask("react", room="lobby", event=1, emoji="🎉", user=7) == {}
    assert ask("react", room="lobby", event=1, emoji="🎉", user=8)["offset"] == 4
    assert ask("unreact", room="lobby", event=1, emoji="🎉", user=7)["offset"] == 5
    assert ask("unreact", room="lobby", event=1, emoji="🎉", user=7) == {}
    reply = ask("publish", room="lobby", message="@room", reply_to=1, epoch=place["epoch"])
    events = ask("history", room="lobby")["events"]
    told = {name: events[0][name] for name in ("message", "edited", "mentions", "reactions")}
    assert told == {"message": "hello @shop", "edited": 2, "mentions": [7], "reactions": {"🎉": [8]}}
    assert (events[1]["type"], events[1]["userId"]) == ("edit", 9)
    assert (events[-1]["id"], events[-1]["reply_to"], events[-1]["everybody"]) == (reply["offset"], 1, True)
    for name, fields in (
        ("edit", {"message": "x"}),
        ("react", {"emoji": "🎉", "user": 7}),
        ("unreact", {"emoji": "🎉", "user": 7}),
    ):
        assert ask.refused(name, room="lobby", event=1, epoch="another", **fields) == (410, 112)
        assert ask.refused(name, room="lobby", event=2, **fields) == (400, 107)
        assert ask.refused(name, room="nowhere", event=1, **fields) == (404, 102)
    assert ask.refused("react", room="lobby", event=1, emoji="x", user=7) == (400, 107)
    assert ask.refused("edit", room="lobby", event=1, message="") == (400, 107)
    assert ask.refused("publish", room="lobby", message="x", reply_to=2) == (400, 107)


def test_a_direct_message_waits(ask: Application) -> None:
    ask.chat.authenticate(lambda environ: None)
    assert ask("direct", to="ann", message="hi", key="k") == {"stored": True}
    assert ask("emit", user="ann", name="notice")["offset"] == 2


def test_disconnect(ask: Application, ann: _Client) -> None:
    assert ask("disconnect", user=ann.user, code=4001) == {"connections": 1}
    assert ask("disconnect", user=77) == {"connections": 0}


def test_rooms_and_people(ask: Application, ann: _Client) -> None:
    assert ask("rooms") == {"rooms": []}
    ann.join("lobby")
    assert ask("rooms") == {"rooms": [{"name": "lobby", "people": 1, "offset": 1}]}
    assert ask("rooms", prefix="lob") == ask("rooms")
    assert ask("rooms", prefix="x") == {"rooms": []}
    assert ask("who", room="lobby") == {"users": [{"id": ann.user, "nickname": "ann", "sessions": 1}]}
    assert ask("who", room="lobby", after=ann.user) == {"users": []}
    assert ask.refused("who", room="nowhere") == (404, 102)


def test_history(ask: Application) -> None:
    places = [ask("publish", room="lobby", message=str(i)) for i in range(5)]
    page = ask("history", room="lobby", since=places[1], limit=2)
    assert ([event["id"] for event in page["events"]], page["offset"]) == ([3, 4], 5)
    page = ask("history", room="lobby", limit=2, reverse=True)
    assert [event["id"] for event in page["events"]] == [5, 4]
    assert ask.refused("history", room="lobby", since={"offset": 1, "epoch": "another"}) == (410, 112)
    assert ask.refused("history", room="nowhere") == (404, 102)
