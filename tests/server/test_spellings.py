"""Tests that a name in two spellings is one name, on every road by which names come in."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.server.session_helpers import World, worlds
from threadchat import Chat, Client, Publisher
from threadchat.chat.access.sanctions import BAN, Sanction
from threadchat.chat.log.events import Draft
from threadchat.config.settings import Config
from threadchat.server.admin.api import CALLS
from threadchat.server.auth.permissions import Permissions
from threadchat.server.auth.users import User, as_user
from threadchat.server.session.legacy import BroadcastSession

NFC, NFD = "Caf\xe9", "Cafe\u0301"
ANN = User(7, "ann")


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600) as world:
        yield world


def test_a_room_is_one_room(world: World) -> None:
    ann, bob = world.enter("ann"), world.enter("bob")
    assert ann.ask("join", room=NFC)["type"] == "ok"
    assert bob.ask("join", room=NFD)["type"] == "ok"
    assert [event["chatroomId"] for event in ann.take(2)] == [NFC] * 2
    assert bob.ask("message", room=NFD, message="hi")["offset"] == 3
    assert bob.ask("message", room=NFC, message="ho")["offset"] == 4
    assert [event["message"] for event in ann.take(2)] == ["hi", "ho"]
    for command in ("who", "history", "count", "typing", "leave"):
        assert ann.ask(command, room=NFD)["type"] == "ok"
    assert ann.ask("subscribe", room=NFD)["type"] == "ok"
    assert ann.ask("unsubscribe", room=NFC)["type"] == "ok"
    bob.unheard()
    assert [room["name"] for room in bob.ask("rooms", prefix=NFD)["rooms"]] == [NFC]


def test_a_nickname_is_one_name(world: World) -> None:
    ann = world.enter(NFD)
    ann.ask("join", room="r")
    assert ann.next()["from"] == NFC
    assert ann.ask("profile", nickname="ann")["type"] == "ok"
    assert ann.ask("profile", nickname=NFD)["type"] == "ok"
    assert [event["from"] for event in ann.take(2)] == ["ann", NFC]
    ann.ask("message", room="r", message="hi")
    assert ann.next()["from"] == NFC
    assert world.connect(identity=User(7, NFC)).ask("hello", nickname=NFD)["nickname"] == NFC


def test_whose_name_is_given_may_write_it_either_way(world: World) -> None:
    known = world.connect(BroadcastSession, identity=as_user({"id": 7, "nickname": NFD}))
    known.send({"from": NFD, "message": "hi"})
    assert known.next() == {"from": NFC, "message": "hi"}


@pytest.mark.parametrize("name", ["ann\u034f", "ann\U000e0041", "\u115f", "\u202eann", "x" * 1025])
def test_a_claimed_name_that_could_be_mistaken_is_refused(world: World, name: str) -> None:
    ann = world.connect(BroadcastSession)
    ann.send({"from": name, "message": "hi"})
    assert "from" in ann.next()["error"]


def test_an_action_in_a_room_is_one_in_that_room(world: World) -> None:
    asked: list[Any] = []
    world.hooks.set("authorize", lambda user, action, room: asked.append(room) or True)
    ann = world.enter("ann")
    ann.ask("join", room=NFD)
    ann.ask("message", room=NFD, message="hi")
    assert asked == [NFC, NFC]


@pytest.mark.parametrize("banned", [NFC, NFD])
@pytest.mark.parametrize("entered", [NFC, NFD])
def test_a_ban_is_of_the_room_whichever_way_it_was_written(world: World, banned: str, entered: str) -> None:
    world.hooks.set("moderates", lambda user, room: True)
    judge = world.connect(identity=User(9, "judge"))
    judge.ask("hello")
    ann = world.connect(identity=ANN)
    ann.ask("hello")
    assert judge.ask("ban", user=7, room=banned)["sanctions"][0]["room"] == NFC
    assert ann.refused("join", room=entered) == 103
    assert judge.ask("sanctions", room=entered)["count"] == 1
    assert judge.ask("unban", user=7, room=entered)["lifted"] is True
    assert ann.ask("join", room=banned)["type"] == "ok"


def test_a_ban_that_an_older_server_kept_holds_and_can_be_lifted(world: World) -> None:
    world.hub.sanctions.impose(Sanction(BAN, 7, NFD))
    ann = world.connect(identity=ANN)
    ann.ask("hello")
    assert ann.refused("join", room=NFC) == 103
    assert len(world.hub.sanctions.list(NFC)) == 1
    assert world.hub.sanctions.lift(BAN, 7, NFC)
    assert ann.ask("join", room=NFC)["type"] == "ok"


def test_a_token_names_rooms_either_way() -> None:
    permissions = Permissions.of({NFD: "r", f"{NFD}-*": "w"})
    assert permissions is not None
    assert permissions.allow("r", NFC)
    assert permissions.allow("w", f"{NFC}-1")


def test_the_application_and_its_api_name_rooms_and_people_either_way() -> None:
    with Chat(Config(port=0)) as chat:
        assert chat.publish(NFD, "hi", nickname=NFD).offset == 1
        assert chat.publish(NFC, "hi", {"id": 7, "nickname": NFD}).offset == 2
        events = [record.event for record in chat.hub.room(NFC).history().records]
        assert [event.nickname for event in events] == [NFC] * 2

        def call(name: str, **fields: Any) -> Any:
            return msgspec.json.decode(msgspec.json.encode(CALLS[name](**fields).answer(chat)))

        assert call("publish", room=NFD, message="ho")["offset"] == 3
        assert call("history", room=NFD)["offset"] == 3
        assert call("who", room=NFD)["users"] == []
        assert [room["name"] for room in call("rooms", prefix=NFD)["rooms"]] == [NFC]
        assert chat.ban(7, room=NFD)[0].room == NFC
        assert len(chat.sanctions(NFD)) == len(call("sanctions", room=NFD)["sanctions"]) == 1
        assert chat.lift("ban", 7, room=NFD)
        chat.delete(NFD, 1)
        chat.close_room(NFD)


def test_a_publisher_names_rooms_and_people_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, list[Draft]]] = []
    publisher = Publisher.__new__(Publisher)
    speaker: Any = SimpleNamespace(publish=lambda room, drafts: told.append((room, drafts)) or [0])
    monkeypatch.setattr(publisher, "_redis", speaker, raising=False)
    publisher.publish(NFD, "hi", nickname=NFD)
    ((room, (draft,)),) = told
    assert (room, draft.nickname) == (NFC, NFC)


def test_the_client_knows_its_rooms_and_name_by_the_server_s_spelling() -> None:
    with Chat(Config(port=0)) as chat:
        chat.listen()
        with Client(chat.url, NFD) as ann:
            assert ann.nickname == NFC
            ann.join(NFD)
            assert ann.joined == (NFC,)
            ann.message(NFD, "hi")
            assert [ann.next_event(10).room for _ in range(2)] == [NFC] * 2
            ann.profile(f"{NFD}!")
            assert ann.nickname == f"{NFC}!"
            assert ann.count(NFD) == 3
            ann.leave(NFD)
            assert ann.joined == ()
