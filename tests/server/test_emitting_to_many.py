"""What an application does after it has emitted an event to many reaches each client after that event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chat.helpers import join, run
from tests.server.test_emitting import Tab
from threadchat.chat.delivery import live_delivery
from threadchat.chat.delivery.live_delivery import Batching
from threadchat.server.chat import Chat
from threadchat.server.session.caller import Caller
from threadchat.testing import InMemory
from threadchat.wire.listing import DEFERRED

pytestmark = pytest.mark.parametrize("chat", ["memory"], indirect=True)  # all brokers deliver alike


@pytest.fixture
def tab(chat: Chat, memory: InMemory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tab]:
    """Somebody in a room of "many", whose events the pinger never offers: only what follows does."""
    monkeypatch.setattr(live_delivery, "MANY", 1)
    chat.hub._batching = Batching(lambda seconds, action: None, 25, 10_000)
    tab = Tab(memory, "ann")
    tab.ask("join", room="r")
    tab.ask("join", room="other")
    assert [event["type"] for event in tab.take(2)] == ["join", "join"]
    yield tab
    assert DEFERRED.owner is None


FOLLOWING: dict[str, tuple[Callable[[Chat], object], str]] = {
    "publish": (lambda chat: chat.publish("r", "hi", user=7), "message"),
    "publish elsewhere": (lambda chat: chat.publish("other", "hi", user=7), "message"),
    "emit elsewhere": (lambda chat: chat.emit("other", "b"), "event"),
    "passing": (lambda chat: chat.emit("r", "b", keep=False), "event"),
    "to the person": (lambda chat: chat.emit(user="ann", name="b"), "inbox"),
    "direct": (lambda chat: chat.direct("ann", "psst", user=7), "inbox"),
    "leave": (lambda chat: chat.leave("ann", "r"), "left"),
    "kick": (lambda chat: chat.hub.kick("ann", "r"), "kicked"),
}


@pytest.mark.parametrize("what", FOLLOWING)
def test_what_follows_an_event_comes_after_it(chat: Chat, tab: Tab, what: str) -> None:
    follow, kind = FOLLOWING[what]
    position = chat.emit("r", "a", 1)
    assert position is not None
    assert DEFERRED.owner is not None, "it waits"
    assert chat.hub.room("r").history().head == position, "and is in the log"
    follow(chat)
    first, second = tab.take(2)
    assert (first["type"], first["name"], first["id"]) == ("event", "a", position.offset)
    assert second["type"] == kind


def test_those_who_are_disconnected_get_what_was_emitted_before(chat: Chat, tab: Tab) -> None:
    chat.emit("r", "a", 1)
    chat.hub.disconnect("ann", reason="bye")
    assert tab.next()["name"] == "a"


def test_the_end_of_the_chat_comes_after_it(chat: Chat, tab: Tab) -> None:
    heard: list[str] = []
    chat.hub.attach_listener(lambda event: heard.append(event.name or event.type))
    chat.emit("r", "a", 1)
    closing = run(chat.close)
    assert tab.next()["name"] == "a"
    tab.peer.close()
    join(closing)
    assert heard.index("a") < heard.index("close")


def test_the_reply_to_a_call_comes_after_what_its_command_emitted(chat: Chat, tab: Tab) -> None:
    @chat.command("emit")
    def emit(caller: Caller, data: Any) -> str:
        chat.emit("r", "a", data)
        caller.emit("hint")
        chat.emit("r", "b", data)
        return "done"

    tab.peer.send({"type": "call", "id": 5, "name": "emit", "data": 1})
    a, hint, b, reply = tab.take(4)
    assert [a["name"], hint["name"], b["name"]] == ["a", "hint", "b"]
    assert reply == {"type": "ok", "re": 5, "data": "done"}


def test_many_in_a_row_are_put_together_and_come_in_order(chat: Chat, tab: Tab) -> None:
    for number in range(60):
        chat.emit("r", "a", number)
    assert [event["data"] for event in tab.take(50)] == list(range(50))
    chat.publish("r", "hi", user=7)
    assert [event.get("data") for event in tab.take(11)] == [*range(50, 60), None]
