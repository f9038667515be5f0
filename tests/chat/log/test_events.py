"""The shapes of `chat/log/events.py`: what goes to clients, and what is left out."""

from __future__ import annotations

import msgspec
import pytest

from threadchat.chat.log.events import (
    CLOSE,
    EVENT_TYPES,
    JOIN,
    MESSAGE,
    Direct,
    Draft,
    Event,
    Position,
    record,
)


def test_a_message_as_clients_get_it() -> None:
    item = record(Draft(MESSAGE, 3, "ann", "hi"), 17, "lobby", 1790000000)
    assert msgspec.json.decode(item.json) == {
        "id": 17,
        "chatroomId": "lobby",
        "type": "message",
        "userId": 3,
        "from": "ann",
        "message": "hi",
        "unixTime": 1790000000,
    }


def test_a_coming_names_its_session() -> None:
    item = record(Draft(JOIN, "ann", "Ann", session="laptop"), 1, "lobby", 7)
    assert msgspec.json.decode(item.json) == {
        "id": 1,
        "chatroomId": "lobby",
        "type": "join",
        "userId": "ann",
        "from": "Ann",
        "sessionId": "laptop",
        "unixTime": 7,
    }


def test_empty_fields_are_left_out() -> None:
    item = record(Draft(CLOSE), 2, "lobby", 7)
    assert msgspec.json.decode(item.json) == {"id": 2, "chatroomId": "lobby", "type": "close", "unixTime": 7}


def test_a_key_is_nobody_elses_business() -> None:
    assert b"secret" not in record(Draft(MESSAGE, 1, "ann", "hi", "", "secret"), 1, "lobby", 7).json


@pytest.mark.parametrize("text", ["smörgås", "日本語", "🎉", "a\u0000b", '"\\</script>\u2028'])
def test_any_text_survives(text: str) -> None:
    item = record(Draft(MESSAGE, 1, text, text), 1, text, 7)
    assert msgspec.json.decode(item.json, type=Event) == item.event
    assert item.event.message == text


def test_user_0_is_somebody() -> None:
    assert msgspec.json.decode(record(Draft(MESSAGE, 0, "", "hi"), 1, "r", 7).json)["userId"] == 0


def test_a_direct_message() -> None:
    direct = Direct(sender=1, to=2, nickname="ann", message="hi", time=7)
    assert msgspec.json.decode(msgspec.json.encode(direct)) == {
        "type": "direct",
        "from": 1,
        "to": 2,
        "nickname": "ann",
        "message": "hi",
        "unixTime": 7,
    }


def test_events_are_immutable() -> None:
    event = record(Draft(MESSAGE), 1, "r", 7).event
    with pytest.raises(AttributeError):
        event.id = 2  # type: ignore[misc]


def test_the_types() -> None:
    membership = {"join", "add", "remove", "leave", "rename"}
    messages = {"message", "edit", "react", "unreact", "delete"}
    assert {*membership, *messages, "event", "close"} == EVENT_TYPES


def test_positions_of_different_epochs_differ() -> None:
    assert Position(1, "a") != Position(1, "b")


class Marked(str):
    """As template engines have them: text that answers for itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "<b>not this</b>"


def test_a_kind_of_text_is_the_text_that_it_holds() -> None:
    made = record(Draft(MESSAGE, 1, "ann", Marked("hi")), 1, "r", 7)
    assert b'"message":"hi"' in made.json


def test_what_is_no_text_is_named() -> None:
    with pytest.raises(TypeError, match="text and numbers, not <object"):
        record(Draft(MESSAGE, 1, "ann", object()), 1, "r", 7)  # type: ignore[arg-type]
