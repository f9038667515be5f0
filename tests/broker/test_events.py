"""The application's events and people's inboxes, on every broker."""

from __future__ import annotations

import msgspec
import pytest

from tests.broker.brokers import Kind, Make, opened
from tests.chat.helpers import RecordingSink, ids_of
from threadchat.chat.delivery import live_delivery
from threadchat.chat.delivery.live_delivery import Batching
from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.emitting import draft_event
from threadchat.chat.log.events import DIRECT, EVENT, Draft, Position, UserId, inbox_of
from threadchat.chat.room import Room

DATA: list[object] = [
    None,
    {},
    [],
    "",
    0,
    False,
    "x\ny\u2028\x00\\\"'",
    {"a": [1, {"b": None}], "é": 1.5},
    2**53,
]


@pytest.mark.parametrize("data", DATA)
def test_an_event_comes_out_as_it_went_in(make: Make, data: object) -> None:
    room = opened(make())
    room.put(draft_event("order.created", data, skip="s1"))
    room.outlet.wait_for(1)
    [live], [logged] = room.outlet.records, room.channel.history(None, 9, False).records
    assert live == logged
    assert (live.event.type, live.event.name, live.event.skip) == (EVENT, "order.created", "s1")
    assert live.event.data == data
    told = msgspec.json.decode(live.json)
    assert told["data"] == data
    assert list(told)[:3] == ["id", "chatroomId", "type"]


def test_data_that_is_json_already_keeps_its_value_on_one_line(make: Make) -> None:
    room = opened(make())
    given = msgspec.Raw(b'{\n  "a": [1,\n 2],\n "b": "x\\ny"\n}')
    room.put(draft_event("e", given), draft_event("e", {"whole": given}))
    room.outlet.wait_for(2)
    whole = {"a": [1, 2], "b": "x\ny"}
    assert [item.event.data for item in room.outlet.records] == [whole, {"whole": whole}]
    assert all(b"\n" not in item.json for item in room.outlet.records)


def test_a_key_says_an_event_once(make: Make) -> None:
    room = opened(make())
    assert room.put(draft_event("e", 1, key="k")) == [1]
    assert room.put(draft_event("e", 2, key="k"), draft_event("e", 3)) == [1, 2]


def test_names_are_filtered(make: Make) -> None:
    room = opened(make())
    room.put(*[draft_event(name, None) for name in "abc"], Draft("message", 7, "ann", "hi"))
    room.outlet.wait_for(4)
    records = room.outlet.records

    def passing(wanted: Filter) -> list[int]:
        return [item.event.id for item in wanted(records)]

    assert passing(Filter(names=["a", "c"])) == [1, 3]
    assert passing(Filter(types=["event"])) == [1, 2, 3]
    assert passing(Filter(types=["event", "message"], names=["b"])) == [2, 4]
    assert passing(Filter(users=[7])) == [4]
    assert passing(Filter(names=[])) == []


def test_events_for_many_come_in_order_and_before_what_follows(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fan-out defers its offers, and nothing but what follows makes them."""
    monkeypatch.setattr(live_delivery, "MANY", 1)
    broker = make()
    opened(broker, "other")  # by now it is ready
    room, sink = Room("r", channel=broker.open("r")), RecordingSink()
    room.fanout.batching = Batching(lambda seconds, action: None, 4, 1000)
    room.subscribe(sink, ids_of).start()
    for number in range(1, 7):
        position = room.emit("tick", number)
        assert position is not None
        assert position.offset == room.fanout.newest == number
    assert sink.got == [1, 2, 3, 4]
    assert [event.data for event in room.history()] == [1, 2, 3, 4, 5, 6]
    room.message("ann", "hi")
    sink.wait_for(lambda sink: sink.got == [1, 2, 3, 4, 5, 6, 7])
    room.emit("tick", 8)
    room.close()
    sink.wait_for(lambda sink: sink.got == [1, 2, 3, 4, 5, 6, 7, 8, 9])


@pytest.mark.parametrize("sender", [1, -5, "1", "ann", None])
@pytest.mark.parametrize("to", [2, "2"])
def test_a_direct_message_in_an_inbox(make: Make, sender: UserId | None, to: UserId) -> None:
    inbox = opened(make(), inbox_of(to))
    inbox.put(Draft(DIRECT, sender, "ann", "hi", to=to, key="k"))
    assert inbox.put(Draft(DIRECT, sender, "ann", "again", to=to, key="k")) == [1]
    inbox.outlet.wait_for(1)
    [live], [logged] = inbox.outlet.records, inbox.channel.history(None, 9, False).records
    assert live == logged
    event = live.event
    assert (event.type, event.user, event.to, event.nickname, event.message) == (
        DIRECT,
        sender,
        to,
        "ann",
        "hi",
    )
    assert (event.inbox, event.room) == (True, "")
    told = msgspec.json.decode(live.json)
    assert told.pop("unixTime")
    whose = {} if sender is None else {"from": sender}
    assert told == {
        "id": 1,
        "inbox": True,
        "type": "direct",
        **whose,
        "to": to,
        "nickname": "ann",
        "message": "hi",
    }


def test_each_person_has_an_inbox_of_their_own(make: Make) -> None:
    broker = make()
    inboxes = [opened(broker, inbox_of(user)) for user in (7, "7", "x" * 128)]
    for number, inbox in enumerate(inboxes):
        assert inbox.put(draft_event("notice", number)) == [1]
        inbox.outlet.wait_for(1)
        [record] = inbox.outlet.records
        assert (record.event.data, record.event.inbox, record.event.room) == (number, True, "")
        assert "chatroomId" not in msgspec.json.decode(record.json)


def test_an_inbox_has_a_size_of_its_own(make: Make) -> None:
    broker = make(history_size=9, inbox_size=3)
    room, inbox = opened(broker), opened(broker, inbox_of("ann"))
    for each in (room, inbox):
        each.put(*[draft_event("e", number) for number in range(9)])
    assert room.page(limit=20) == list(range(1, 10))
    assert inbox.page(limit=20) == [7, 8, 9]


def test_an_inbox_outlasts_its_broker(make: Make, kind: Kind) -> None:
    first = opened(make(), inbox_of("ann"))
    first.put(draft_event("notice", 1), Draft(DIRECT, 7, "bob", "hi", to="ann"))
    if not kind.lasting:
        return
    broker = make() if kind.name.startswith("redis") else None
    if broker is None:
        first.channel._broker.close()  # type: ignore[attr-defined]  # one at a time has the file
        broker = make()
    again = opened(broker, inbox_of("ann"))
    assert again.epoch == first.epoch
    records = again.channel.history(Position(0, first.epoch), 9, False).records
    assert [(item.event.type, item.event.user, item.event.message) for item in records] == [
        ("event", None, ""),
        ("direct", 7, "hi"),
    ]
