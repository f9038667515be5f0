"""Events, inboxes and the sessions of people over three nodes that share a Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not
from tests.e2e.process import until
from threadchat.broker.redis import RedisBroker
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode
from threadchat.publisher import Publisher
from threadchat.server.chat import Chat
from threadchat.testing import InMemory, Peer


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path_factory.mktemp("redis"), lasting=False)
    yield server
    server.kill()


class Node:
    """A chat that shares the Redis, and peers of it."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        config = Config(broker=url)
        self.chat = stack.enter_context(Chat(config, authenticate=_known))
        self.memory = stack.enter_context(InMemory(self.chat))

    def enter(self, user: str | None, **fields: Any) -> Peer:
        peer = self.memory.connect(headers={"X-User": user} if user else {})
        peer.welcome = peer.ask("hello", nickname=user or "nobody", **fields)  # type: ignore[attr-defined]
        return peer


def _known(environ: dict[str, Any]) -> int | str | None:
    user = environ.get("HTTP_X_USER")
    return int(user[1:]) if user and user[0] == "#" else user


def welcome(peer: Peer) -> dict[str, Any]:
    found: dict[str, Any] = peer.welcome  # type: ignore[attr-defined]
    return found


def heard(peer: Peer, count: int) -> list[dict[str, Any]]:
    """The next events, without what says where the inbox begins."""
    events: list[dict[str, Any]] = []
    while len(events) < count:
        event = peer.next()
        if event["type"] not in ("inbox", "live", "joined"):
            events.append(event)
    return events


@pytest.fixture
def nodes(server: RedisServer) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [Node(server.url, stack) for _ in range(3)]


def test_who_comes_from_another_node_misses_nothing_though_this_one_is_behind(nodes: list[Node]) -> None:
    """What this node has not heard yet is neither said to be missing nor sent twice."""
    here, there = nodes[:2]
    ann = here.enter("ann", inbox={"offset": 0, "epoch": ""})
    there.enter("ann")
    bob = there.enter("bob")
    for peer in (ann, bob):
        peer.ask("join", room="r")
    bob.ask("direct", to="ann", message="psst")
    inbox = here.chat.hub.find_inbox("ann")
    assert inbox is not None
    rooms = [here.chat.hub.room("r"), inbox]
    until(lambda: min(room.fanout.head.offset for room in rooms) > 0, "they are there")
    behind = [there.chat.hub.room("r"), there.chat.hub.find_inbox("ann")]
    for room in behind:
        assert room is not None
        until(lambda room=room: room.fanout.head.offset > 0, "the other node has them, too")  # type: ignore[misc]
        make_deaf(there.chat, room.name)
    bob.ask("message", room="r", message="hi")
    bob.ask("direct", to="ann", message="hello")
    until(lambda: inbox.fanout.head.offset == 2, "it is in the inbox")
    until(lambda: rooms[0].fanout.head.offset > behind[0].fanout.head.offset, "one node has it")  # type: ignore[union-attr]
    since = [room.fanout.head._asdict() for room in rooms]
    back = there.enter("ann", inbox=since[1])
    assert welcome(back)["inbox"] == {**since[1], "recovered": True}
    joined = back.ask("join", room="r", since=since[0])
    assert (joined["offset"], joined["epoch"], joined["recovered"]) == (*since[0].values(), True)


def test_who_came_while_the_inbox_was_not_available_gets_all_of_it_later(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes[:2]
    bob = there.enter("bob")
    bob.ask("direct", to="ann", message="first")
    place = welcome(here.enter("ann"))["inbox"]
    bob.ask("direct", to="ann", message="missed")

    def refuse(user: object) -> None:
        raise CommandError(ErrorCode.INTERNAL, "Redis is away", temporary=True)

    with monkeypatch.context() as away:
        away.setattr(here.chat.hub, "find_inbox", refuse)
        back = here.enter("ann", inbox=place)
        new = here.enter("ann")
    assert "inbox" not in welcome(back)
    assert "inbox" not in welcome(new)
    bob.ask("direct", to="ann", message="last")
    with pytest.raises(ConnectionClosed) as closed:
        heard(back, 1)
    assert closed.value.code == 3010
    assert heard(new, 1)[0]["message"] == "last"
    again = here.enter("ann", inbox=place)
    assert [event["message"] for event in heard(again, 2)] == ["missed", "last"]


def test_what_comes_during_hello_comes_once(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = nodes[:2]
    bob = there.enter("bob")
    bob.ask("direct", to="ann", message="first")
    here.enter("ann").ask("join", room="r")  # the node is ready, and hears of what is sent to her
    hub = here.chat.hub
    arrive, notify, notified = hub.arrive, hub._sessions.notify, threading.Event()

    def arrive_slowly(session: Any) -> None:
        arrive(session)
        bob.ask("direct", to="ann", message="meanwhile")
        assert notified.wait(20), "this node hears of it"

    def note(*told: Any, **options: Any) -> bool:
        answer = notify(*told, **options)
        notified.set()
        return answer

    with monkeypatch.context() as slow:
        slow.setattr(hub, "arrive", arrive_slowly)
        slow.setattr(hub._sessions, "notify", note)
        peer = here.memory.connect(headers={"X-User": "ann"})
        reply = peer.ask("hello", nickname="ann", inbox={"offset": 0, "epoch": ""})
    assert reply["type"] == "ok"
    bob.ask("direct", to="ann", message="last")
    assert [event["message"] for event in heard(peer, 3)] == ["first", "meanwhile", "last"]


def make_deaf(chat: Chat, name: str) -> None:
    """What is published in a room reaches this node only when it looks it up."""
    broker = chat.hub.broker
    assert isinstance(broker, RedisBroker)
    channel = next(channel for channel in broker.open_rooms() if channel.room == name)
    [registration] = broker.subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: None


def test_a_room_hears_of_events_on_every_node(nodes: list[Node]) -> None:
    first, second, third = nodes
    peers = [node.enter(f"user {number}") for number, node in enumerate(nodes)]
    for peer in peers:
        peer.ask("subscribe", room="orders", names=["order.created", "progress"])
        assert peer.next()["type"] == "live"
    first.chat.emit("orders", "order.created", {"id": 1})
    second.chat.emit("orders", "other", {"id": 2})
    third.chat.emit("orders", "order.created", {"id": 3}, skip=welcome(peers[0])["session"])
    second.chat.emit("orders", "order.created", {"id": 4})
    assert [event["data"]["id"] for event in heard(peers[0], 2)] == [1, 4]
    assert [event["data"]["id"] for event in heard(peers[1], 3)] == [1, 3, 4]
    second.chat.emit("orders", "progress", 1, keep=False, skip=welcome(peers[1])["session"])
    for peer, expected in (peers[0], 1), (peers[2], 4):  # what is in no log may overtake what is in one
        [told] = [event for event in heard(peer, expected) if event["name"] == "progress"]
        assert (told["data"], "id" in told) == (1, False)
    first.chat.emit("orders", "order.created", {"id": 5})
    assert heard(peers[1], 1)[0]["data"]["id"] == 5, "and not the progress, which skips it"


def test_typing_of_somebody_whose_id_has_spaces(nodes: list[Node]) -> None:
    peers = [node.enter("an n") for node in nodes[:2]] + [nodes[2].enter("bob")]
    for number, peer in enumerate(peers):
        peer.ask("join", room="r")
        for earlier in peers[: number + 1]:
            assert earlier.next()["type"] in ("join", "add")
    peers[0].ask("typing", room="r")
    assert peers[2].next()["userId"] == "an n"
    peers[0].ask("typing_to", to="bob")
    assert peers[2].next()["userId"] == "an n", "on another node, too"


def test_the_inbox_is_one_on_all_nodes(nodes: list[Node]) -> None:
    """Wherever one is connected, whoever emits, and whenever one comes back."""
    first, second, third = nodes
    tabs = [first.enter("ann"), second.enter("ann"), second.enter("#7"), third.enter("7")]
    third.chat.emit(user="ann", name="notice", data=1)
    first.chat.emit(user="ann", name="notice", data=2)
    for tab in tabs[:2]:
        assert [event["data"] for event in heard(tab, 2)] == [1, 2]
    place = second.chat.emit(user=7, name="for.the.number")
    second.chat.emit(user="7", name="for.the.text")
    assert heard(tabs[2], 1)[0]["name"] == "for.the.number"
    assert heard(tabs[3], 1)[0]["name"] == "for.the.text"
    assert place is not None
    tabs[1].reset()
    again = third.enter(
        "ann", inbox={"offset": 1, "epoch": third.chat.hub.find_inbox("ann").fanout.head.epoch}
    )  # type: ignore[union-attr]
    assert welcome(again)["inbox"]["recovered"] is True
    assert heard(again, 1)[0]["data"] == 2
    second.chat.emit(user="ann", name="passing", keep=False)
    assert heard(tabs[0], 1)[0]["name"] == heard(again, 1)[0]["name"] == "passing"
    assert first.chat.direct("away", "hi") is True
    later = second.enter("away", inbox={"offset": 0, "epoch": ""})
    assert heard(later, 1)[0]["message"] == "hi"
    assert first.chat.direct("away", "again") is False
    assert heard(later, 1)[0]["message"] == "again"


def test_direct_messages_and_copies_over_nodes(nodes: list[Node]) -> None:
    first, second, third = nodes
    sender, other, recipient = first.enter("ann"), second.enter("ann"), third.enter("bob")
    assert "stored" not in sender.ask("direct", to="bob", message="hi")
    assert heard(recipient, 1)[0]["from"] == "ann"
    copy = heard(other, 1)[0]
    assert (copy["to"], copy["message"]) == ("bob", "hi")
    stranger = third.enter(None)
    second.chat.direct(welcome(stranger)["user"], "psst")
    assert stranger.next()["message"] == "psst"
    second.chat.emit(user=welcome(stranger)["user"], name="e")
    assert stranger.next()["name"] == "e"
    with pytest.raises(CommandError) as caught:
        second.chat.emit(user=-999, name="e")
    assert caught.value.code == ErrorCode.NOT_AVAILABLE


def test_the_sessions_of_a_person_on_all_nodes(nodes: list[Node]) -> None:
    first, second, third = nodes
    tabs = [second.enter("ann"), third.enter("ann")]
    for node in nodes:
        assert sorted(node.chat.sessions("ann")) == sorted(welcome(tab)["session"] for tab in tabs)
        assert (node.chat.connected("ann"), node.chat.connected("bob")) == (True, False)
    assert first.chat.join("ann", "lobby") == 2
    assert first.chat.join("ann", "lobby") == 0
    [occupant] = first.chat.in_room("lobby")
    assert len(occupant.sessions) == 2
    for tab in tabs:
        assert tab.next()["type"] == "joined"
    assert second.chat.leave("ann", "lobby") == 2
    assert third.chat.in_room("lobby") == []


def test_a_publisher_emits(server: RedisServer, nodes: list[Node]) -> None:
    ann, bob = nodes[0].enter("ann"), nodes[1].enter("bob")
    for peer in (ann, bob):
        peer.ask("subscribe", room="r")
        assert peer.next()["type"] == "live"
    with Publisher(server.url) as publisher:
        place = publisher.emit("r", "order.created", {"id": 1}, key="k")
        assert place == publisher.emit("r", "order.created", {"id": 2}, key="k")
        publisher.emit("r", "progress", 7, keep=False, skip=welcome(bob)["session"])
        assert [event["data"] for event in heard(ann, 2)] == [{"id": 1}, 7]
        assert heard(bob, 1)[0]["data"] == {"id": 1}
        first = publisher.emit(user="ann", name="notice", data="hi")
        assert first is not None
        assert heard(ann, 1)[0]["data"] == "hi"
        assert publisher.emit(user="ann", name="passing", keep=False) is None
        assert heard(ann, 1)[0]["name"] == "passing"
        assert publisher.emit(user="away", name="notice") is not None
        stranger = nodes[2].enter(None)
        assert publisher.emit(user=welcome(stranger)["user"], name="e") is None
        assert heard(stranger, 1)[0]["name"] == "e"
        for options, code in (
            ({"user": -999, "name": "e"}, 108),
            ({"room": "r", "name": "E"}, 107),
            ({"name": "e"}, 107),
            ({"room": "r", "user": "ann", "name": "e"}, 107),
            ({"user": "", "name": "e"}, 107),
        ):
            with pytest.raises(CommandError) as caught:
                publisher.emit(**options)  # type: ignore[arg-type]
            assert caught.value.code == code
    away = nodes[0].enter("away", inbox={"offset": 0, "epoch": ""})
    assert heard(away, 1)[0]["name"] == "notice"


def test_what_comes_while_a_node_is_deaf_is_found(server: RedisServer, nodes: list[Node]) -> None:
    """The first event of an inbox, whose node_message nobody heard."""
    first, second, _ = nodes
    ann = second.enter("ann")
    broker: Any = second.chat.hub.broker
    messenger = broker.messenger
    lost: list[Any] = []
    hear, messenger.receive = messenger.receive, None
    broker.subscriber.unsubscribe(messenger._names.person("ann"), hear)
    confirmed = broker.subscriber.subscribe(messenger._names.person("ann"), lost.append)
    assert confirmed.wait(20)
    first.chat.emit(user="ann", name="notice", data=1)
    messenger.receive = hear
    broker.subscriber.reset()
    assert heard(ann, 1)[0]["data"] == 1


def test_an_inbox_that_cannot_be_opened_for_now_is_opened_later(
    nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    """Redis goes away between the event and the look at the inbox."""
    caplog.set_level(logging.INFO)
    first, second, _ = nodes
    ann = second.enter("ann")
    broker: Any = second.chat.hub.broker
    messenger = broker.messenger

    def open_inbox(user: object, now: Any = messenger.open_inbox) -> None:
        messenger.open_inbox = now
        raise CommandError(ErrorCode.INTERNAL, "Redis is away")

    messenger.open_inbox = open_inbox
    first.chat.emit(user="ann", name="notice", data=1)
    until(lambda: "the inbox of user ann will be opened later" in caplog.text, "it to be put off")
    assert "Traceback" not in caplog.text
    first.chat.emit(user="ann", name="notice", data=2)
    assert [event["data"] for event in heard(ann, 2)] == [1, 2]


def test_an_inbox_lives_as_long_as_what_is_in_it(server: RedisServer, nodes: list[Node]) -> None:
    with server.client() as client:
        nodes[0].enter("nobody writes to me")
        assert not list(client.scan_iter("*inbox*"))
        nodes[0].chat.emit(user="ann", name="notice")
        keys = list(client.scan_iter("*inbox*"))
        assert {client.pttl(key) // 86_400_000 for key in keys} <= {6, 7}
        assert not client.zrange("threadchat:rooms", 0, -1), "it is in no list of rooms"


def test_a_node_opens_no_inbox_of_people_who_are_elsewhere(nodes: list[Node]) -> None:
    first, second, _ = nodes
    ann = second.enter("ann")
    for number in range(20):
        first.chat.emit(user=f"away {number}", name="notice")
    first.chat.emit(user="ann", name="notice", data=1)
    first.chat.emit(user="ann", name="notice", data=2)
    assert [event["data"] for event in heard(ann, 2)] == [1, 2]
    assert first.chat.hub.rooms() == []
    assert len(second.chat.hub.rooms()) == 1


def test_whoever_comes_while_something_is_put_into_the_inbox_gets_it(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look for their inbox before it is there, and are here once it is."""
    first = nodes[0]
    broker: Any = first.chat.hub.broker
    publish, came = broker.publish, []

    def late(*arguments: Any) -> Any:
        came.append(first.enter("ann"))
        assert welcome(came[0])["inbox"] == {"offset": 0, "epoch": ""}
        return publish(*arguments)

    monkeypatch.setattr(broker, "publish", late)
    first.chat.emit(user="ann", name="notice", data=1)
    assert heard(came[0], 1)[0]["data"] == 1


def test_messages_are_changed_on_any_node_and_what_was_read_is_told_on_all(nodes: list[Node]) -> None:
    """Edits, reactions, answers, mentions, renames and read positions, each from another node."""
    first, second, third = nodes
    ann, bob, other = first.enter("ann"), second.enter("bob"), third.enter("ann")
    position = ann.ask("join", room="r")
    bob.ask("join", room="r")
    assert heard(bob, 1)[0]["type"] == "join", "he is in the room"
    said = ann.ask("message", room="r", message="helo @bob")["offset"]
    assert heard(bob, 1)[0]["mentions"] == ["bob"]
    ann.ask("edit", room="r", event=said, message="hello @bob", epoch=position["epoch"])
    assert "offset" in bob.ask("react", room="r", event=said, emoji="🎉")
    assert "offset" in other.ask("react", room="r", event=said, emoji="🎉")
    assert "offset" not in bob.ask("react", room="r", event=said, emoji="🎉")
    with pytest.raises(CommandError) as refused:
        bob.ask("edit", room="r", event=said, message="x")
    assert refused.value.code == ErrorCode.PERMISSION_DENIED
    bob.ask("message", room="r", message="hi", reply_to=said, epoch=position["epoch"])
    bob.ask("profile", nickname="bobby")
    told = heard(bob, 5)
    assert [event["type"] for event in told] == ["edit", "react", "react", "message", "rename"]
    assert (told[3]["reply_to"], told[4]["was"], told[4]["from"]) == (said, "bob", "bobby")
    [message] = [event for event in other.ask("history", room="r")["events"] if event["id"] == said]
    assert (message["message"], message["reactions"]) == ("hello @bob", {"🎉": ["bob", "ann"]})
    ann.ask("read", room="r", event=said, epoch=position["epoch"])
    read = heard(other, 1)[0]
    assert (read["type"], read["chatroomId"], read["target"]) == ("read", "r", said)
    unread = {"offset": said, "epoch": position["epoch"], "messages": 1, "mentions": 0}
    for node in nodes:
        assert welcome(node.enter("ann"))["unread"] == {"r": unread}
    ann.ask("delete", room="r", event=said)
    [message] = [event for event in other.ask("history", room="r")["events"] if event["id"] == said]
    assert message["deleted"]
    assert "hello" not in str(other.ask("history", room="r"))
