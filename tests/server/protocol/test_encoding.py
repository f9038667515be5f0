"""Tests of the protocol: commands out of text, and the frames of replies and events."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.helpers import split_frames
from threadchat.chat.log.events import (
    CLOSE,
    EVENT,
    EVENT_TYPES,
    JOIN,
    LEAVE,
    MESSAGE,
    Direct,
    Draft,
    Position,
    record,
)
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.protocol import encoding
from threadchat.server.protocol.all_commands import COMMANDS
from threadchat.server.protocol.commands import MAX_HISTORY
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Latest


def payloads(data: bytes) -> list[Any]:
    """The JSON of every frame; all are text."""
    split = split_frames(data)
    assert all(opcode == frames.TEXT for opcode, _ in split)
    return [json.loads(payload) for _, payload in split]


# -- commands ----------------------------------------------------------------------------------------


def refusal(text: str) -> encoding.BadCommand:
    with pytest.raises(encoding.BadCommand) as raised:
        encoding.decode_command(text)
    return raised.value


def test_a_bad_command_keeps_its_id() -> None:
    assert refusal('{"type": "join", "id": 5}').id == 5
    assert refusal('{"type": "nonsense", "id": "x"}').id == "x"
    assert refusal('{"type": "join", "id": 5, "room":').id == 5
    assert refusal('{"type": "join", "room": "a", "id": 5').id is None
    assert refusal('{"type": "join", "id": false}').id is None


def test_a_bad_command_is_explained() -> None:
    assert "unknown command 'nonsense'; there are hello, " in refusal('{"type": "nonsense"}').reason
    assert refusal('{"type": "nonsense"}').code is ErrorCode.UNKNOWN_COMMAND
    assert "not JSON" in refusal("{").reason
    assert "a command is a JSON object, such as {" in refusal("[1]").reason
    assert "a command has a type" in refusal('{"id": 1}').reason
    assert refusal('{"type": "history", "room": "r", "limit": 1001}').reason == (
        f"history: Expected `int` <= {MAX_HISTORY} - at `$.limit`"
    )
    out_of_range = refusal('{"type": "ping", "id": 1e999}')
    assert "out of range" in out_of_range.reason
    assert len(refusal(json.dumps({"type": "x" * 10_000})).reason) < 400


@given(st.text(max_size=50))
def test_any_text_is_a_command_or_a_refusal(text: str) -> None:
    with contextlib.suppress(encoding.BadCommand):
        encoding.decode_command(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "id",
    "room",
    "message",
    "since",
    "types",
    "users",
    "nickname",
    "to",
    "limit",
    "reverse",
    "key",
    "resume",
]


@given(st.sampled_from([*COMMANDS, "x"]), st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES))
def test_any_object_is_a_command_or_a_refusal(command: str, fields: dict[str, Any]) -> None:
    refused = None
    try:
        decoded = encoding.decode_command(json.dumps({"type": command, **fields}))
    except encoding.BadCommand as error:
        refused = error
    if refused is None:
        assert payloads(encoding.ok_frame(decoded.id))[0]["re"] == fields.get("id")
        return
    (answer,) = payloads(encoding.error_text(refused, refused.id).frame)
    assert answer["code"] in (104, 107)
    assert answer.get("re") in (None, fields.get("id"))


def test_event_types_are_checked() -> None:
    encoding.check_filter(None)
    encoding.check_filter([])
    encoding.check_filter(sorted(EVENT_TYPES))
    with pytest.raises(
        CommandError, match="types: 'live' is none of add, close, delete, edit, event"
    ) as raised:
        encoding.check_filter(["message", "live"])
    assert raised.value.code is ErrorCode.BAD_REQUEST


# -- the older dialects ------------------------------------------------------------------------------


def test_a_broadcast_is_exactly_two_strings() -> None:
    message = encoding.decode_broadcast('{"message": "hi", "from": "ann"}')
    assert (message.sender, message.message) == ("ann", "hi")
    for text in (
        '{"from": "ann"}',
        '{"from": "a", "message": "m", "x": 1}',
        "[]",
        "",
        '{"from": 1, "message": ""}',
    ):
        with pytest.raises(CommandError, match=r'a message is \{"from": "ann", "message": "hi"\}') as raised:
            encoding.decode_broadcast(text)
        assert raised.value.code is ErrorCode.BAD_REQUEST


def test_a_direct_message_is_an_id_and_a_string() -> None:
    message = encoding.decode_direct('{"to": 2, "message": "hi", "more": 1}')
    assert (message.to, message.message) == (2, "hi")
    assert encoding.decode_direct('{"to": "2", "message": "hi"}').to == "2"
    for text in ('{"to": 2.5, "message": "hi"}', '{"to": 2}', "[]", ""):
        with pytest.raises(CommandError, match=r'a message is \{"to": 2, "message": "hi"\}'):
            encoding.decode_direct(text)


# -- frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 200, 70_000])
def test_a_frame_is_text_of_any_length(size: int) -> None:
    assert payloads(encoding.text_frame("x" * size)) == ["x" * size]


@pytest.mark.parametrize("command_id", [0, 7, "", "x", 10**30])
def test_replies_carry_the_id(command_id: int | str) -> None:
    assert payloads(encoding.ok_frame(command_id, offset=3)) == [
        {"type": "ok", "re": command_id, "offset": 3}
    ]
    error = encoding.error_text(CommandError(ErrorCode.ALREADY, "twice"), command_id)
    assert payloads(error.frame) == [
        {"type": "error", "re": command_id, "code": 105, "reason": "twice", "temporary": False}
    ]


def test_an_error_without_id_and_reason_has_the_codes_own() -> None:
    error = encoding.error_text(CommandError(ErrorCode.TOO_MANY_REQUESTS), None)
    assert payloads(error.frame) == [
        {"type": "error", "code": 111, "reason": "too many requests", "temporary": True}
    ]


def records(*types: str) -> list[Any]:
    return [record(Draft(kind, i, "ann", "hi"), i, "r", 9) for i, kind in enumerate(types, 1)]


def test_whoever_comes_without_an_id_is_replaced_by_nobody_else() -> None:
    def key(draft: Draft) -> object:
        text = encoding.native_events([record(draft, 0, "r", 9)])
        assert isinstance(text, Latest)
        return text.key

    ann, bob = key(Draft(JOIN, 1, "ann")), key(Draft(JOIN, 2, "bob"))
    assert ann != bob
    assert ann == key(Draft(LEAVE, 1, "ann"))
    assert key(Draft(EVENT, name="progress", data=b"1")) == key(Draft(EVENT, name="progress", data=b"2"))


@pytest.mark.parametrize("count", [1, 3])
def test_native_events_are_one_frame_each_in_one_request(count: int) -> None:
    text = encoding.native_events(records(*[MESSAGE] * count))
    assert text.messages == count
    assert payloads(text.frame) == [
        {
            "id": i,
            "chatroomId": "r",
            "type": "message",
            "userId": i,
            "from": "ann",
            "message": "hi",
            "unixTime": 9,
        }
        for i in range(1, count + 1)
    ]


def test_empty_fields_are_left_out() -> None:
    text = encoding.native_events([record(Draft(CLOSE), 7, "r", 9)])
    assert payloads(text.frame) == [{"id": 7, "chatroomId": "r", "type": "close", "unixTime": 9}]


def test_broadcast_events_are_messages_only() -> None:
    text = encoding.broadcast_events(records(JOIN, MESSAGE, CLOSE, MESSAGE))
    assert text.messages == 2
    assert payloads(text.frame) == [{"from": "ann", "message": "hi"}] * 2
    nothing = encoding.broadcast_events(records(JOIN))
    assert (nothing.frame, nothing.messages) == (b"", 0)


def test_notices() -> None:
    assert payloads(encoding.live_text("r").frame) == [{"type": "live", "chatroomId": "r"}]
    assert payloads(encoding.typing_text("r", 3, "ann").frame) == [
        {"type": "typing", "chatroomId": "r", "userId": 3, "from": "ann"}
    ]
    assert encoding.position_fields(Position(3, "e")) == {"offset": 3, "epoch": "e"}


def test_a_direct_message_in_both_dialects() -> None:
    direct = Direct(sender=1, to=2, nickname="ann", message="hi", time=9)
    assert payloads(encoding.native_direct(direct).frame) == [
        {"type": "direct", "from": 1, "to": 2, "nickname": "ann", "message": "hi", "unixTime": 9}
    ]
    assert payloads(encoding.legacy_direct(direct).frame) == [{"from": 1, "message": "hi"}]


def test_what_is_no_json_is_a_bug_not_a_frame() -> None:
    with pytest.raises(TypeError):
        encoding.json_text(object())
    assert msgspec.json.decode(encoding.json_text({}).frame[2:]) == {}
