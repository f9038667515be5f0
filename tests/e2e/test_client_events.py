"""The Client with events of the application's own, its commands and its inbox, over lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.test_client import at_once
from threadchat import Chat, ChatEvent, Client, CommandError, Config
from threadchat.errors import ErrorCode
from threadchat.testing import LiveServer


@pytest.fixture
def server() -> Iterator[LiveServer]:
    chat = Chat(Config(port=0), authenticate=lambda environ: environ.get("HTTP_X_USER"))
    chat.command("twice")(lambda caller, data: data * 2)
    chat.command("come")(lambda caller, data: caller.join(data))
    chat.command("cut")(lambda caller: chat.hub.disconnect(caller.user.id, 3001))
    with LiveServer(chat) as made:
        yield made


@pytest.fixture
def enter(server: LiveServer) -> Iterator[Callable[[str], Client]]:
    made: list[Client] = []

    def enter(user: str) -> Client:
        backoff = at_once()
        made.append(Client(server.url, user, headers={"X-User": user}, backoff=backoff))
        return made[-1]

    yield enter
    for client in made:
        client.close()


def take(chat: Client, count: int, *types: str) -> list[ChatEvent]:
    """The next events of these types."""
    events: list[ChatEvent] = []
    while len(events) < count:
        event = chat.next_event(20)
        if event.type in types:
            events.append(event)
    return events


def test_a_client_calls_and_hears(server: LiveServer, enter: Callable[[str], Client]) -> None:
    ann = enter("ann")
    assert ann.user == "ann"
    assert ann.call("twice", [1]) == [1, 1]
    with pytest.raises(CommandError) as caught:
        ann.call("nothing")
    assert caught.value.code == ErrorCode.UNKNOWN_COMMAND
    ann.subscribe("orders", names=["order.created"])
    server.chat.emit("orders", "other")
    server.chat.emit("orders", "order.created", {"id": 17})
    [event] = take(ann, 1, "event")
    assert (event.room, event.name, event.data, event.id) == ("orders", "order.created", {"id": 17}, 2)
    assert ann.count("orders", names=["order.created"]) == 1
    assert [item.name for item in ann.history("orders").events] == ["other", "order.created"]
    server.chat.emit("orders", "order.created", "passing", keep=False)
    [event] = take(ann, 1, "event")
    assert (event.id, event.data) == (0, "passing")


def test_the_application_puts_a_client_into_a_room(
    server: LiveServer, enter: Callable[[str], Client]
) -> None:
    ann = enter("ann")
    assert ann.call("come", "lobby") is True
    assert [event.type for event in take(ann, 2, "joined", "join")] == ["joined", "join"]
    assert ann.joined == ("lobby",)
    server.chat.publish("lobby", "hi")
    assert take(ann, 1, "message")[0].message == "hi"
    server.chat.leave("ann", "lobby")
    take(ann, 1, "left")
    assert ann.joined == ()


def test_the_inbox_is_recovered_once_over_a_lost_connection(
    server: LiveServer, enter: Callable[[str], Client]
) -> None:
    ann, bob = enter("ann"), enter("bob")
    server.chat.emit(user="ann", name="notice", data=0)
    take(ann, 1, "event")
    bob.direct("ann", "psst")
    for number in range(1, 6):
        with pytest.raises(CommandError, match="connection was lost"):
            ann.call("cut")
        server.chat.emit(user="ann", name="notice", data=number)
    heard = take(ann, 6, "event", "direct")
    assert [event.data for event in heard if event.type == "event"] == [1, 2, 3, 4, 5]
    assert [(event.message, event.user, event.inbox) for event in heard if event.type == "direct"] == [
        ("psst", "bob", True)
    ]
    assert bob.direct("away", "hi").stored is True
    assert bob.direct("ann", "hi").stored is False
