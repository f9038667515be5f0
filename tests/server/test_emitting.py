"""Events of the application's own over WebSockets: to rooms and to people, kept and passing."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from tests.server.session_helpers import standstill
from threadchat.chat.delivery import live_delivery
from threadchat.chat.log.events import inbox_of
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.auth.users import User
from threadchat.server.budgets.account import MAX_STORED, STORED_WINDOW
from threadchat.server.chat import Chat
from threadchat.server.protocol.encoding import native_events
from threadchat.testing import FakeClock, InMemory, LiveServer, Peer, StallingPeer
from threadchat.wire.listing import DEFERRED
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.requests import Latest, Text
from threadchat.wire.turnstile import Turnstile


class Tab:
    """A peer that has said hello."""

    def __init__(self, memory: InMemory, user: str | None, **fields: Any) -> None:
        self.peer: Peer = memory.connect(headers={"X-User": user} if user else {})
        self.welcome = self.peer.ask("hello", **{"nickname": user or "nobody", **fields})
        self.session: str = self.welcome["session"]
        self.ask = self.peer.ask
        self.next = self.peer.next

    def take(self, count: int) -> list[dict[str, Any]]:
        return [self.next() for _ in range(count)]

    def silent(self) -> bool:
        """Whether the next thing to be heard is what it asks for now."""
        self.peer.send({"type": "ping", "id": "silent"})
        return self.next() == {"type": "ok", "re": "silent"}

    def refused(self, command: str, **fields: Any) -> int:
        with pytest.raises(CommandError) as caught:
            self.ask(command, **fields)
        return int(caught.value.code)


def code_of(action: Any, *arguments: Any, **options: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        action(*arguments, **options)
    return caught.value.code


def test_the_application_edits_and_reacts(chat: Chat, memory: InMemory) -> None:
    ann = Tab(memory, "ann")
    ann.ask("join", room="r")
    said = ann.ask("message", room="r", message="helo")["offset"]
    place = chat.edit("r", said, "hello", by="mod")
    assert chat.react("r", said, "🎉", User("bot", "Bot")) == (place.offset + 1, place.epoch)
    assert chat.react("r", said, "🎉", "bot") is None
    assert chat.react("r", said, "🎉", "bot", undo=True) is not None
    kinds = [(event["type"], event.get("userId"), event.get("from")) for event in ann.take(5)]
    assert kinds[2:] == [("edit", "mod", None), ("react", "bot", "Bot"), ("unreact", "bot", "bot")]
    for wrong in (True, "1", None):
        assert code_of(chat.edit, "r", wrong, "x") == ErrorCode.BAD_REQUEST
        assert code_of(chat.react, "r", wrong, "🎉", "bot") == ErrorCode.BAD_REQUEST
        assert code_of(chat.react, "r", said, wrong, "bot") == ErrorCode.BAD_REQUEST
    assert code_of(chat.react, "r", said, "🎉", None) == ErrorCode.BAD_REQUEST
    assert code_of(chat.publish, "r", "x", reply_to=99) == ErrorCode.BAD_REQUEST
    assert code_of(chat.publish, "nowhere", "x", reply_to=1) == ErrorCode.UNKNOWN_ROOM


# -- rooms -------------------------------------------------------------------------------------------


def test_an_event_reaches_a_room_in_its_log_by_its_name(chat: Chat, memory: InMemory) -> None:
    heard: list[tuple[str, Any]] = []
    chat.hub.attach_listener(lambda event: heard.append((event.name, event.data)))
    all_, some = Tab(memory, "ann"), Tab(memory, "bob")
    for tab, names in ((all_, None), (some, ["order.paid"])):
        tab.ask("subscribe", room="orders", names=names)
        assert tab.next()["type"] == "live"
    first = chat.emit("orders", "order.created", {"id": 17, "total": "9.90"})
    second = chat.emit("orders", "order.paid", key="k")
    assert chat.emit("orders", "order.paid", "again", key="k") == second
    assert first is not None
    assert second is not None
    assert (first.offset, second.offset) == (1, 2)
    created, paid = all_.take(2)
    assert created.pop("unixTime")
    assert created == {
        "id": 1,
        "chatroomId": "orders",
        "type": "event",
        "name": "order.created",
        "data": {"id": 17, "total": "9.90"},
    }
    assert some.next() == paid
    assert (paid["name"], paid["data"]) == ("order.paid", None)
    assert [event["id"] for event in some.ask("history", room="orders")["events"]] == [1, 2]
    assert some.ask("count", room="orders", names=["order.paid"])["count"] == 1
    assert some.ask("count", room="orders", types=["event"])["count"] == 2
    late = Tab(memory, "cy")
    late.ask("join", room="orders", since={"offset": 0, "epoch": first.epoch}, names=["order.created"])
    assert late.next()["name"] == "order.created"
    chat.hub.close()
    assert heard[:2] == [("order.created", {"id": 17, "total": "9.90"}), ("order.paid", None)]


def test_a_session_is_left_out_live_and_in_the_replay(chat: Chat, memory: InMemory) -> None:
    ann, bob = Tab(memory, "ann"), Tab(memory, "bob")
    ann.ask("subscribe", room="r")
    bob.ask("subscribe", room="r")
    assert ann.next()["type"] == bob.next()["type"] == "live"
    chat.emit("r", "a", 1, skip=ann.session)
    chat.emit("r", "b", 2)
    chat.emit("r", "c", 3, keep=False, skip=ann.session)
    chat.emit("r", "d", 4, keep=False)
    assert [event["name"] for event in ann.take(2)] == ["b", "d"]
    assert [event["name"] for event in bob.take(4)] == ["a", "b", "c", "d"]
    assert ann.silent()
    ann.ask("unsubscribe", room="r")
    epoch = ann.ask("history", room="r")["epoch"]
    ann.ask("subscribe", room="r", since={"offset": 0, "epoch": epoch})
    assert [event.get("name") for event in ann.take(2)] == ["b", None], "and then it is live"


def test_what_is_not_kept_is_told_to_those_who_are_there(chat: Chat, memory: InMemory) -> None:
    ann, bob = Tab(memory, "ann"), Tab(memory, "bob")
    ann.ask("subscribe", room="job-81")
    bob.ask("subscribe", room="job-81", names=["other"])
    assert ann.next()["type"] == bob.next()["type"] == "live"
    assert chat.emit("job-81", "progress", {"done": 42}, keep=False) is None
    assert chat.emit("nobody-here", "progress", keep=False) is None
    told = ann.next()
    assert "id" not in told
    assert (told["chatroomId"], told["name"], told["data"]) == ("job-81", "progress", {"done": 42})
    assert bob.silent()
    assert ann.ask("history", room="job-81")["events"] == []
    assert ann.refused("history", room="nobody-here") == ErrorCode.UNKNOWN_ROOM


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"room": "r", "name": "Upper"}, 107),
        ({"room": "r", "name": ""}, 107),
        ({"room": "r", "name": "x" * 65}, 107),
        ({"room": "r", "name": "e", "data": object()}, 107),
        ({"room": "r", "name": "e", "data": "half \ud83d"}, 107),
        ({"room": "r", "name": "e", "data": "x" * 600_000}, 107),
        ({"room": "", "name": "e"}, 107),
        ({"room": "r", "name": "e", "user": 7}, 107),
        ({"name": "e", "user": 0.5}, 107),
        ({"name": "e", "user": 0}, 107),
        ({"room": "r", "name": "e", "skip": 7}, 107),
        ({"room": "r", "name": "e", "key": "k" * 129}, 107),
        ({"room": "r", "name": "e", "key": "\0k"}, 107),  # as those of clients begin
        ({"room": "/ws", "name": "e"}, 103),
        ({"room": inbox_of("ann"), "name": "e"}, 107),
        ({"room": "a\nb", "name": "e"}, 107),
    ],
)
def test_what_cannot_be_emitted(chat: Chat, options: dict[str, Any], code: int) -> None:
    assert code_of(chat.emit, **options) == code


def test_deep_data_is_refused_not_fatal(chat: Chat) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert code_of(chat.emit, "r", "e", deep) == ErrorCode.BAD_REQUEST


def test_the_newest_takes_the_place_of_one_that_still_waits() -> None:
    outbox = Outbox(Turnstile(), max_messages=8)
    outbox.hold()  # nobody writes

    def offer(name: str, value: int) -> Answer:
        frame = str((name, value)).encode()
        return outbox.offer_light(Latest(frame, ("job", name)), [])

    for value in range(1000):
        assert offer("progress", value) is Answer.YES
    outbox.offer(Text(b"kept"), [])
    for value in range(1000):
        assert offer("other", value) is Answer.YES
    assert (outbox.qsize(), outbox.take()) == (3, b"('progress', 999)kept('other', 999)")
    for number in range(7):
        outbox.offer(Text(b"%d" % number), [])
    assert offer("progress", 1) is Answer.NO, "shed first"
    assert outbox.take() == b"0123456"


def test_what_passes_by_is_of_that_kind(chat: Chat, memory: InMemory) -> None:
    """Its key is its room, its name and its user; what is kept has none."""
    sent: list[Text] = []
    chat.hub.room("r").fanout.subscribe(Collector(sent), native_events, name="test").start()
    chat.emit("r", "progress", 1, keep=False)
    chat.emit("r", "progress", 1)
    light, kept = sent
    assert isinstance(light, Latest)
    assert light.key == ("r", "progress", None)
    assert type(kept) is Text


class Collector:
    """A sink."""

    line = None
    stalled = False

    def __init__(self, sent: list[Text]) -> None:
        self.sent = sent

    def offer(self, payload: Text, listed: list[Any]) -> Answer:
        self.sent.append(payload)
        return Answer.YES

    offer_light = offer

    def nudge(self) -> None:
        """See Sink."""


# -- people ------------------------------------------------------------------------------------------


def test_an_event_for_a_person_comes_to_all_tabs_and_waits_for_the_rest(chat: Chat, memory: InMemory) -> None:
    tabs = [Tab(memory, "ann") for _ in range(2)]
    assert [tab.welcome["inbox"] for tab in tabs] == [{"offset": 0, "epoch": ""}] * 2
    place = chat.emit(user="ann", name="notice", data={"text": "your order is in"})
    assert place is not None
    for tab in tabs:
        assert tab.next() == {"type": "inbox", "offset": 0, "epoch": place.epoch}
        told = tab.next()
        assert told.pop("unixTime")
        assert told == {
            "id": 1,
            "inbox": True,
            "type": "event",
            "name": "notice",
            "data": {"text": "your order is in"},
        }
    chat.emit(user="ann", name="second", skip=tabs[0].session)
    assert tabs[1].next()["name"] == "second"
    assert tabs[0].silent()
    chat.emit(user="ann", name="passing", keep=False)
    assert [tab.next()["name"] for tab in tabs] == ["passing"] * 2
    third = Tab(memory, "ann", inbox={"offset": 1, "epoch": place.epoch})
    assert third.welcome["inbox"] == {"offset": 1, "epoch": place.epoch, "recovered": True}
    assert third.next()["name"] == "second"
    assert third.next() == {"type": "live", "inbox": True}
    fresh = Tab(memory, "ann")
    assert fresh.welcome["inbox"] == {"offset": 2, "epoch": place.epoch}
    assert fresh.silent(), "a tab that brings no position begins now"


def test_whoever_was_away_finds_what_came(chat: Chat, memory: InMemory) -> None:
    for number in range(300):
        chat.emit(user="ann", name="notice", data=number)
    ann = Tab(memory, "ann", inbox={"offset": 0, "epoch": ""})
    assert ann.welcome["inbox"]["recovered"] is False, "256 are kept"
    epoch = ann.welcome["inbox"]["epoch"]
    again = Tab(memory, "ann", inbox={"offset": 44, "epoch": epoch})
    assert again.welcome["inbox"]["recovered"] is True
    assert [event["data"] for event in again.take(256)] == list(range(44, 300))
    for wrong in ({"offset": 44, "epoch": "other"}, {"offset": 999, "epoch": epoch}):
        tab = Tab(memory, "ann", inbox=wrong)
        assert tab.welcome["inbox"] == {"offset": 300, "epoch": epoch, "recovered": False}


def test_7_and_its_text_have_two_inboxes(chat: Chat, memory: InMemory) -> None:
    text = Tab(memory, "7")
    assert chat.emit(user=7, name="for.the.number") is not None
    assert text.silent()
    chat.emit(user="7", name="for.the.text")
    assert text.take(2)[1]["name"] == "for.the.text"


def test_strangers_have_no_inbox(chat: Chat, memory: InMemory) -> None:
    stranger = Tab(memory, None)
    user = stranger.welcome["user"]
    assert user < 0
    assert "inbox" not in stranger.welcome
    assert chat.emit(user=user, name="hello") is None
    assert stranger.next()["name"] == "hello"
    assert code_of(chat.emit, user=-999, name="hello") == ErrorCode.NOT_AVAILABLE
    assert chat.emit(user=-999, name="hello", keep=False) is None


def test_what_is_for_a_stranger_gives_way_only_if_it_need_not_be_kept(chat: Chat, memory: InMemory) -> None:
    stranger = Tab(memory, None)
    user = stranger.welcome["user"]
    with standstill(chat.turnstile):
        for number in range(3):
            chat.emit(user=user, name="notice", data=number)
            chat.emit(user=user, name="progress", data=number, keep=False)
    told = [(event["name"], event["data"]) for event in stranger.take(4)]
    assert told == [("notice", 0), ("notice", 1), ("notice", 2), ("progress", 2)]


def test_nobody_is_known_where_nobody_authenticates() -> None:
    with Chat(Config()) as chat, InMemory(chat) as memory:
        ann = Tab(memory, None)
        assert "inbox" not in ann.welcome
        assert chat.emit(user=ann.welcome["user"], name="hello") is None
        assert ann.next()["name"] == "hello"
        assert code_of(chat.emit, user=99, name="hello") == ErrorCode.NOT_AVAILABLE
        assert not any(room.name.startswith(inbox_of("")[:3]) for room in chat.hub.rooms())


def test_an_inbox_of_no_size_is_none() -> None:
    with Chat(Config(inbox_size=0), authenticate=lambda environ: "ann") as chat, InMemory(chat) as memory:
        ann = Tab(memory, "ann")
        assert "inbox" not in ann.welcome
        assert code_of(chat.emit, user="bob", name="notice") == ErrorCode.NOT_AVAILABLE


def test_an_inbox_is_in_no_list_no_listeners_ear_and_costs_nothing_while_empty(
    chat: Chat, memory: InMemory
) -> None:
    heard: list[str] = []
    chat.hub.attach_listener(lambda event: heard.append(event.name))
    ann = Tab(memory, "ann")
    assert chat.hub.rooms() == []
    chat.emit(user="ann", name="secret")
    chat.emit("r", "open")
    assert ann.take(2)[1]["name"] == "secret"
    assert [room["name"] for room in ann.ask("rooms")["rooms"]] == ["r"]
    chat.hub.close()
    assert heard[0] == "open"


# -- direct messages ---------------------------------------------------------------------------------


def test_a_direct_message_waits_for_whoever_is_known(chat: Chat, memory: InMemory) -> None:
    first, second = Tab(memory, "ann"), Tab(memory, "ann")
    assert first.ask("direct", to="bob", message="psst", key="k") == {"type": "ok", "re": 2, "stored": True}
    first.ask("direct", to="bob", message="psst", key="k")
    assert second.next()["type"] == "inbox"
    copy = second.next()
    assert copy.pop("unixTime")
    assert copy == {
        "id": 1,
        "inbox": True,
        "type": "direct",
        "from": "ann",
        "to": "bob",
        "nickname": "ann",
        "message": "psst",
        "skip": first.session,
    }
    assert first.next()["type"] == "inbox", "it has one now, with what it said itself left out"
    assert first.silent()
    assert second.silent(), "the same key says it once"
    bob = Tab(memory, "bob", inbox={"offset": 0, "epoch": ""})
    got = bob.next()
    assert (got["type"], got["from"], got["message"], got["id"]) == ("direct", "ann", "psst", 1)
    assert bob.next()["type"] == "live"
    assert "stored" not in first.ask("direct", to="bob", message="again")
    assert bob.next()["message"] == "again"
    stranger = Tab(memory, None)
    assert first.ask("direct", to=stranger.welcome["user"], message="hi")["type"] == "ok"
    assert "id" not in stranger.next()
    assert first.refused("direct", to=-999, message="hi") == ErrorCode.NOT_AVAILABLE
    assert chat.direct("cy", "from the application", user="robot") is True


def test_one_connection_leaves_only_so_much_for_those_who_are_away() -> None:
    clock = FakeClock()
    known = {"authenticate": lambda environ: environ.get("HTTP_X_USER")}
    with Chat(Config(), pinger=clock.pinger(), **known) as chat, InMemory(chat) as memory:
        ann, bob = Tab(memory, "ann"), Tab(memory, "bob")
        for number in range(MAX_STORED):
            assert ann.ask("direct", to=f"nobody {number}", message="spam")["stored"] is True
        assert ann.refused("direct", to="one more", message="spam") == ErrorCode.TOO_MANY_REQUESTS
        assert "stored" not in ann.ask("direct", to="bob", message="hi"), "whoever is there is reached"
        assert bob.take(2)[1]["message"] == "hi"
        clock.advance(STORED_WINDOW / MAX_STORED)
        assert ann.ask("direct", to="one more", message="spam")["stored"] is True
        assert ann.refused("direct", to="another", message="spam") == ErrorCode.TOO_MANY_REQUESTS


def test_with_a_fake_clock_an_event_for_many_waits_for_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_delivery, "MANY", 1)
    with Chat(Config(), pinger=FakeClock().pinger()) as chat, InMemory(chat) as memory:
        tab = Tab(memory, None)
        tab.ask("join", room="r")
        assert tab.next()["type"] == "join"
        assert chat.emit("r", "a") is not None
        assert DEFERRED.owner is None
        assert tab.next()["name"] == "a"


def test_the_old_dialect_keeps_nothing_and_is_reached(chat: Chat, memory: InMemory) -> None:
    chat.listen(0)
    with Peer(chat.url.replace("http", "ws"), headers={"X-User": "bob"}) as old:
        assert old.next() == {"id": "bob"}
        ann = Tab(memory, "ann")
        assert "stored" not in ann.ask("direct", to="bob", message="hi")
        assert old.next() == {"from": "ann", "message": "hi"}
        old.send({"to": "ann", "message": "back"})
        assert [item["type"] for item in ann.take(2)] == ["inbox", "direct"]
        assert ann.ask("ping")
        old.send({"to": "away", "message": "lost"})
        assert "error" in old.next()


# -- forging -----------------------------------------------------------------------------------------


def forgeries() -> list[dict[str, Any]]:
    """What a client might say to be taken for the application, or for somebody else."""
    event = {"name": "order.created", "data": {"id": 1}, "message": "x"}
    inbox = inbox_of("bob")
    rooms = [inbox, "inbox:bob", "/ws"]
    said: list[dict[str, Any]] = [
        {"type": "event", "room": "r", **event},
        {"type": "emit", "room": "r", **event},
        {"type": "message", "room": "r", "inbox": True, "skip": "x", "to": "bob", **event},
        {"type": "direct", "to": "bob", "inbox": True, "from": "root", "user": "root", **event},
        {"type": "call", **event},
        {"type": "joined", "room": "r"},
        {"type": "inbox", "offset": 0, "epoch": ""},
    ]
    for room, command in itertools.product(
        rooms, ("subscribe", "join", "history", "count", "who", "typing", "delete", "close", "leave")
    ):
        said.append({"type": command, "room": room, "event": 1, "since": {"offset": 0, "epoch": "x"}})
    said += [{"type": "message", "room": room, **event} for room in rooms]
    return said


@pytest.mark.parametrize("pattern", ["", "(?s).*"], ids=["printable", "anything"])
def test_no_client_forges_an_event_or_reads_an_inbox(pattern: str) -> None:
    """Not even where any name goes: whoever receives an event may believe that the application emitted it."""
    config = Config(room_pattern=pattern)
    with Chat(config, authenticate=lambda environ: environ.get("HTTP_X_USER")) as chat:
        chat.moderates(lambda user, room: user.id == "mod")
        with InMemory(chat) as memory:
            bob, other = Tab(memory, "bob"), Tab(memory, "other")
            for tab in (bob, other):
                tab.ask("subscribe", room="r")
                assert tab.next()["type"] == "live"
            chat.emit(user="bob", name="secret", data=1)
            assert [item["type"] for item in bob.take(2)] == ["inbox", "event"]
            for who in ("ann", "mod", None):
                tab = Tab(memory, who)
                heard = []
                for number, said in enumerate(forgeries()):
                    tab.peer.send({**said, "id": f"f{number}"})
                    while (answer := tab.next()).get("re") != f"f{number}":
                        heard.append(answer)
                    reached = said.get("room") not in (inbox_of("bob"), "/ws")
                    forged = said["type"] in ("event", "emit", "call", "joined", "inbox")
                    assert answer["type"] == "error" or (reached and not forged), (said, answer)
                assert not [item for item in heard if item["type"] == "event" or item.get("name")]
                tab.peer.close()
            chat.emit("r", "the.end")
            chat.emit(user="bob", name="the.end")
            ends = 0
            while ends < 2:
                item = bob.next()
                ends += item.get("name") == "the.end"
                assert item["type"] != "event" or item["name"] == "the.end", item
                assert item["type"] != "direct" or item.get("from") != "root", item
            while (item := other.next()).get("name") != "the.end":
                assert item["type"] == "message", item


def test_old_dialects_forge_nothing(chat: Chat) -> None:
    chat.listen(0)
    base = chat.url.replace("http", "ws")
    headers = {"X-User": "mallory"}
    with Peer(f"{base}chat", headers={"X-User": "ann"}) as ann, Peer(base, headers=headers) as direct:
        ann.ask("hello", nickname="ann")
        assert direct.next() == {"id": "mallory"}
        direct.send(
            {"to": "ann", "message": "x", "type": "event", "name": "e", "inbox": True, "from": "root"}
        )
        got = ann.next()
        assert got.pop("unixTime")
        assert got == {"type": "direct", "from": "mallory", "to": "ann", "message": "x"}
        with Peer(f"{base}ws", headers=headers) as one, Peer(f"{base}ws", headers=headers) as two:
            one.send({"from": "a", "message": "hi", "type": "event"})
            assert "error" in one.next()
            one.send({"from": "a", "message": '{"type":"event","name":"e"}'})
            assert two.next() == one.next() == {"from": "a", "message": '{"type":"event","name":"e"}'}


def test_a_resume_token_opens_nobodys_inbox(chat: Chat, memory: InMemory) -> None:
    ann = Tab(memory, "ann")
    chat.emit(user="ann", name="secret")
    place = ann.next()
    forged = {"resume": ann.welcome["resume"], "inbox": {"offset": 0, "epoch": place["epoch"]}}
    thief = Tab(memory, None, **forged)
    assert "inbox" not in thief.welcome
    assert thief.welcome["user"] < 0
    mallory = Tab(
        memory, "mallory", resume=ann.welcome["resume"], inbox={"offset": 0, "epoch": place["epoch"]}
    )
    assert mallory.welcome["inbox"] == {"offset": 0, "epoch": "", "recovered": False}
    assert thief.silent()
    assert mallory.silent()


def test_a_moderator_deletes_messages_not_events(chat: Chat, memory: InMemory) -> None:
    chat.moderates(lambda user, room: True)
    chat.emit("r", "order.created")
    assert Tab(memory, "mod").refused("delete", room="r", event=1) == ErrorCode.BAD_REQUEST


def test_what_is_given_as_json_is_encoded_no_more(chat: Chat, memory: InMemory) -> None:
    ann = Tab(memory, "ann")
    ann.ask("subscribe", room="r")
    chat.emit("r", "raw", msgspec.Raw(b'{"a": [1,\n2]}'))
    assert ann.take(2)[1]["data"] == {"a": [1, 2]}


@pytest.mark.parametrize("to", [{"room": "job-81"}, {"user": "slow"}], ids=["room", "user"])
def test_a_slow_reader_sees_the_newest_progress_and_holds_nothing(chat: Chat, to: dict[str, str]) -> None:
    with LiveServer(chat) as server, StallingPeer(server.url, headers={"X-User": "slow"}) as slow:
        slow.ask("hello", nickname="slow")
        slow.ask("subscribe", room="job-81")
        assert slow.next()["type"] == "live"
        slow.stall()
        [connection] = server.chat.registry.connections()
        data = "x" * 4000
        for number in range(5000):
            chat.emit(**to, name="progress", data=[number, data], keep=False)
            assert connection.outbox.qsize() <= 1
        assert chat.hub.room("job-81").history().records == []
        slow.resume()
        seen = [slow.next()["data"][0]]
        while seen[-1] != 4999:
            seen.append(slow.next()["data"][0])
        assert seen == sorted(set(seen))
        assert len(seen) < 5000, "what was overtaken is not sent"
