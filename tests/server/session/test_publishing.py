"""Tests of what an application may publish, and how clearly it is told what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.auth.test_users import Marked
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Event
from threadchat.config.settings import Config
from threadchat.errors import CommandError
from threadchat.server.auth.users import User
from threadchat.server.session import publishing


class Scene:
    def __init__(self, **settings: Any) -> None:
        self.hub = Hub(MemoryBroker())
        self.settings = settings

    def say(self, room: Any = "r", message: Any = "hi", **more: Any) -> Event:
        position = publishing.publish(
            self.hub,
            Config(max_message_size=125, **self.settings),
            room,
            message,
            **{"user": None, "nickname": "", "key": "", **more},
        )
        records = self.hub.find(room).history().records
        return next(record.event for record in records if record.event.id == position.offset)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_message_gets_a_place(scene: Scene) -> None:
    assert [scene.say().id, scene.say().id] == [1, 2]


@pytest.mark.parametrize(
    ("given", "user", "nickname"),
    [
        ({}, None, ""),
        ({"nickname": "bot"}, None, "bot"),
        ({"user": 7}, 7, ""),
        ({"user": User(7, "ann")}, 7, "ann"),
        ({"user": {"id": 7, "nickname": "ann"}, "nickname": "Ann B."}, 7, "Ann B."),
        ({"user": User(-2, "stranger")}, -2, "stranger"),
        ({"user": User(0)}, None, ""),
    ],
)
def test_whom_it_comes_from(scene: Scene, given: Any, user: int | None, nickname: str) -> None:
    event = scene.say(**given)
    assert (event.user, event.nickname) == (user, nickname)


def test_text_of_a_template_is_text(scene: Scene) -> None:
    """And its room can be closed: the last event has the room's name in it, too."""
    event = scene.say(Marked("r"), Marked("<b>hi</b>"), nickname=Marked("bot"), key=Marked("k"))
    assert (event.room, event.message, event.nickname) == ("r", "<b>hi</b>", "bot")
    assert {type(event.room), type(event.message), type(event.nickname)} == {str}
    assert scene.hub.close()


def test_a_key_publishes_once(scene: Scene) -> None:
    assert scene.say(key="order-1").id == scene.say(key="order-1").id == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"message": ""}, "message is empty"),
        ({"message": None}, "message is of type NoneType; it must be text"),
        ({"message": b"hi"}, "message is of type bytes; it must be text"),
        ({"message": {"a": 1}}, "message is of type dict"),
        ({"message": "x" * 126}, "message has 126 bytes; at most 125 are allowed"),
        ({"message": "ä" * 63}, "message has 126 bytes; at most 125"),
        ({"message": "\ud800"}, "half a surrogate pair"),
        ({"room": ""}, "room is ''; it must have from 1 to 128 characters"),
        ({"room": "  "}, "not be blank"),
        ({"room": "x" * 129}, "from 1 to 128 characters"),
        ({"room": 5}, "room is of type int"),
        ({"room": "\udc00"}, "room has half a surrogate pair"),
        ({"nickname": " "}, "nickname is ' '"),
        ({"nickname": None}, "nickname is of type NoneType"),
        ({"nickname": "x" * 65}, "from 1 to 64"),
        ({"user": "a\nb"}, "user: the user id .* is not an integer"),
        ({"user": object()}, "user: .*has no id"),
        ({"user": {"id": 7, "nickname": "\ud800"}}, "user: .*half a surrogate pair"),
        ({"key": "\ud800"}, "key has half a surrogate pair"),
        ({"key": 3}, "key is 3"),
        ({"key": "x" * 129}, "at most 128"),
        ({"key": "\0k"}, "must not begin with a NUL"),
    ],
)
def test_what_cannot_be_said(scene: Scene, given: Any, why: str) -> None:
    with pytest.raises(CommandError, match=why) as refused:
        scene.say(**given)
    assert refused.value.code == 107
    assert scene.hub.rooms() == []


@pytest.mark.parametrize(
    ("to", "message", "why"), [(7.5, "hi", "user is 7.5"), (True, "hi", "user is True"), (7, "", "empty")]
)
def test_what_cannot_be_said_to_one_person(scene: Scene, to: Any, message: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        publishing.direct(scene.hub, to, message, user=None, nickname="", most=20)


def test_nobody_there_and_nothing_open(scene: Scene) -> None:
    with pytest.raises(CommandError, match="user 7 is not online"):
        publishing.direct(scene.hub, 7, "hi", user=None, nickname="", most=20)
    scene.hub.close()
    with pytest.raises(CommandError, match="the chat is closed") as refused:
        scene.say()
    assert refused.value.code == 108


def test_a_room_that_is_made_has_a_name_that_may_be() -> None:
    scene = Scene(room_pattern="[a-z]+")
    assert scene.say("lobby").id == 1
    with pytest.raises(CommandError, match=r"must match \[a-z\]\+"):
        scene.say("Lobby")
    with pytest.raises(CommandError, match=r"has U\+202E"):
        Scene().say("\u202elobby")
    assert scene.say("/ws").id == 1, "the broadcast endpoint's is there whatever the pattern says"
