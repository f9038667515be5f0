"""Read positions and unread counts over WebSockets, of people who are known, over several tabs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.test_emitting import Tab
from threadchat.config.settings import Config
from threadchat.errors import CommandError
from threadchat.server.chat import Chat
from threadchat.testing import InMemory


def test_what_was_read_is_told_to_ones_other_tabs_and_counted_at_hello(chat: Chat, memory: InMemory) -> None:
    ann, other, bob = Tab(memory, "ann"), Tab(memory, "ann"), Tab(memory, "bob")
    assert "unread" not in ann.welcome
    place = chat.publish("lobby", "one", "bob")
    assert set(ann.ask("read", room="lobby", event=1, epoch=place.epoch)) == {"type", "re"}
    told = other.next()
    assert told == {
        "chatroomId": "lobby",
        "type": "read",
        "target": 1,
        "epoch": place.epoch,
        "skip": ann.session,
        "unixTime": told["unixTime"],
    }
    assert ann.silent(), "the tab that read it knows"
    assert bob.silent(), "and it is nobody else's business"
    chat.publish("lobby", "two @ann", "bob")  # who is not there, and has said nothing
    bob.ask("join", room="lobby")
    chat.publish("lobby", "I am here", "ann")
    chat.publish("lobby", "three @ann", "bob")
    expected = {"lobby": {"offset": 1, "epoch": place.epoch, "messages": 2, "mentions": 1}}
    assert ann.ask("rooms")["unread"] == expected
    assert ann.ask("rooms", prefix="lob")["unread"] == expected
    assert "unread" not in ann.ask("rooms", prefix="x")
    assert "unread" not in bob.ask("rooms")
    assert Tab(memory, "ann").welcome["unread"] == expected
    ann.ask("read", room="lobby", event=1, epoch=place.epoch)
    assert other.silent(), "it says nothing new"
    ann.ask("read", room="lobby", event=5, epoch=place.epoch)
    assert Tab(memory, "ann").welcome["unread"]["lobby"]["messages"] == 0


def test_who_has_no_inbox_has_no_positions(chat: Chat, memory: InMemory) -> None:
    place = chat.publish("lobby", "one")
    stranger = Tab(memory, None)
    assert stranger.refused("read", room="lobby", event=1, epoch=place.epoch) == 108
    assert "unread" not in stranger.welcome
    assert "unread" not in stranger.ask("rooms")


def test_a_position_belongs_to_a_log(chat: Chat, memory: InMemory) -> None:
    chat.publish("lobby", "one")
    ann = Tab(memory, "ann")
    assert ann.refused("read", room="lobby", event=1, epoch="another") == 112
    assert ann.refused("read", room="nowhere", event=1, epoch="another") == 102
    assert ann.refused("read", room="lobby", event=1) == 107
    assert ann.refused("read", room="lobby", event=-1, epoch="another") == 107
    assert ann.refused("read", room="/ws", event=1, epoch="another") == 103


def test_a_room_that_one_may_not_read_is_not_counted(chat: Chat, memory: InMemory) -> None:
    place = chat.publish("lobby", "one", "bob")
    ann = Tab(memory, "ann")
    ann.ask("read", room="lobby", event=1, epoch=place.epoch)
    chat.ban("ann", room="lobby")
    assert "unread" not in ann.ask("rooms")
    assert ann.refused("read", room="lobby", event=1, epoch=place.epoch) == 103
    chat.unban("ann", room="lobby")
    assert ann.ask("rooms")["unread"]["lobby"]["messages"] == 0


def test_hello_and_rooms_are_answered_though_positions_cannot_be_had(
    chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = chat.publish("lobby", "one", "bob")
    ann = Tab(memory, "ann")
    ann.ask("read", room="lobby", event=1, epoch=place.epoch)

    def away(user: Any) -> Any:
        raise CommandError(100, "the broker is away", temporary=True)

    monkeypatch.setattr(chat.hub.broker.reads, "of", away)
    assert "unread" not in ann.ask("rooms")
    assert "unread" not in Tab(memory, "ann").welcome


def test_without_an_inbox_there_are_no_positions() -> None:
    with (
        Chat(Config(inbox_size=0), authenticate=lambda environ: environ.get("HTTP_X_USER")) as chat,
        InMemory(chat) as memory,
    ):
        place = chat.publish("lobby", "one")
        assert Tab(memory, "ann").refused("read", room="lobby", event=1, epoch=place.epoch) == 108
