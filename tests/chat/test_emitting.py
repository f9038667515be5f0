"""Events of a program's own in a room without any server, and how their data is encoded."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from threadchat.chat.emitting import encode_data
from threadchat.chat.eventlog.json_lines import JsonLines
from threadchat.chat.log.events import Event, Position, Record, inbox_of, is_inbox, record_of
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode


class Marked(str):
    """As template engines have them."""


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Order:
    id: int
    total: Decimal


def test_a_room_emits() -> None:
    room = Room("orders")
    stream, other = room.add("ann", "laptop"), room.add("bob", "phone")
    place = room.emit("order.created", {"id": 17}, key="k")
    assert isinstance(place, Position)
    assert room.emit("order.created", {"id": 18}, key="k") == place
    assert room.emit("progress", 42, keep=False) is None
    room.close()
    assert room.emit("late") is None
    events = list(stream)
    assert [(event.type, event.name, event.data) for event in events] == [
        ("join", "", None),
        ("join", "", None),
        ("event", "order.created", {"id": 17}),
        ("event", "progress", 42),
        ("close", "", None),
    ]
    assert [event.id for event in events] == [1, 2, 3, 0, 4]
    assert [event.type for event in other] == [event.type for event in events[1:]]


def test_history_is_a_sequence_of_events() -> None:
    room = Room("r")
    assert list(room.history()) == []
    for text in "abc":
        room.message("ann", text)
    page = room.history()
    assert len(page) == 3
    assert [event.message for event in page] == ["a", "b", "c"]
    assert (page[0].message, page[-1].message) == ("a", "c")
    assert [event.message for event in page[1:]] == ["b", "c"]
    assert all(isinstance(event, Event) for event in page)
    assert page.records[0].event in page
    assert page.head.offset == 3
    assert page == room.history()
    assert page != room.history(limit=1)
    assert "3 events" in repr(page)


@pytest.mark.parametrize(
    ("data", "json"),
    [
        (None, b"null"),
        ({"a": (1, 2.5)}, b'{"a":[1,2.5]}'),
        (Order(1, Decimal("9.90")), b'{"id":1,"total":"9.90"}'),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (datetime(2026, 1, 2, tzinfo=UTC), b'"2026-01-02T00:00:00Z"'),
        (Marked("<b>"), b'"<b>"'),
        ({Marked("k"): Colour.RED}, b'{"k":"red"}'),
        ({1: "x"}, b'{"1":"x"}'),
        (float("nan"), b"null"),
        (b"ab", b'"YWI="'),
    ],
)
def test_data_is_whatever_json_can_carry(data: object, json: bytes) -> None:
    assert encode_data(data) == json


@pytest.mark.parametrize("data", [object(), {"a": lambda: 1}, "\ud800", {(1, 2): 3}, 3j])
def test_what_json_cannot_carry_is_refused_in_words(data: Any) -> None:
    with pytest.raises(CommandError, match="data cannot be sent as JSON") as caught:
        encode_data(data)
    assert caught.value.code == ErrorCode.BAD_REQUEST


def test_data_has_a_size() -> None:
    assert encode_data("x" * 8, 10) == b'"xxxxxxxx"'
    with pytest.raises(CommandError, match="data has 11 bytes of JSON; at most 10"):
        encode_data("x" * 9, 10)


def test_what_was_encoded_is_read_again() -> None:
    assert is_inbox(inbox_of(7))
    assert inbox_of(7) != inbox_of("7")
    assert not is_inbox("inbox:7")
    event = record_of(b'{"id":3,"chatroomId":"r","type":"event","name":"e","data":[1],"unixTime":7}').event
    assert (event.id, event.data, event.raw) == (3, [1], msgspec.Raw(b"[1]"))
    direct = record_of(b'{"id":3,"inbox":true,"type":"direct","from":7,"to":"a","message":"m","unixTime":7}')
    assert isinstance(direct, Record)
    assert (direct.event.user, direct.event.to, direct.event.inbox) == (7, "a", True)
    with pytest.raises(msgspec.DecodeError):
        record_of(b'{"id":3}')


def test_what_is_not_kept_is_shed_before_it_holds_anybody_up(tmp_path: Path) -> None:
    room = Room("r", request_buffer=8)
    stream = room.add("ann", "laptop")
    path = tmp_path / "events.jsonl"
    listener = room.attach_listener(JsonLines(path))
    for number in range(100):
        room.emit("progress", number, keep=False)
    room.emit("kept")  # waits for nobody
    room.close()
    listener.thread.join(30)
    names = [event.name for event in stream]
    assert names[-2:] == ["kept", ""]
    assert names.count("progress") <= 4
    assert [msgspec.json.decode(line)["type"] for line in path.read_text().splitlines()] == ["event", "close"]
