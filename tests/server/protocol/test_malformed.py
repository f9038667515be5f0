"""Tests of what is read of a command that is no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadchat.errors import CommandError
from threadchat.server.protocol import encoding
from threadchat.server.protocol.malformed import MOST_TOKENS, find_half_character, find_id

DEEP = "[" * 600 + "]" * 600


@pytest.mark.parametrize(
    ("text", "command_id"),
    [
        (r'{"type":"message","id":5,"room":"lobby","message":"cut \ud83d"}', 5),
        (r'{"id":6,"type":"message","room":"lobby","message":"\udc00 cut"}', 6),
        (r'{"type":"typing","room":"\ud83d","id":"seven"}', "seven"),
        (r'{"type":"\ud83d","id":8}', 8),
        (r'{"\ud83d":1,"type":"ping","id":9}', 9),
        (r'{"type":"message","id":10,"room":"a\q"}', 10),
        (r'{"type":"message","id":11,"room":"a\u12"}', 11),
        ('{"type":"message","id":12,"room":"a\tb"}', 12),
        ('{"type":"ping","id":13,}', 13),
        ('{"type":"ping","id":14} {"id":15}', 14),
        ('{"type":"ping" "id" : -16 ,', -16),
        (f'{{"type":"message","id":17,"room":{DEEP}}}', 17),
        (f'{{"type":"message","room":{DEEP},"id":18}}', 18),
        (r'{"id":1,"x":{"id":2},"y":[{"id":3}],"id":19,"message":"\ud83d \"id\":4"}', 19),
        (r'{"message":"\ud83d","id":"' + "x" * 5000 + '"}', "x" * 5000),
    ],
)
def test_the_id_is_read_wherever_it_can_be(text: str, command_id: int | str) -> None:
    with pytest.raises(encoding.BadCommand) as refused:
        encoding.decode_command(text)
    assert refused.value.code == 107
    assert refused.value.id == command_id
    assert encoding.command_id(text) == command_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nope",
        '{"type":"ping","id":7',  # it may have been 71
        r'{"type":"ping","id":"\ud83d"}',
        r'{"type":"\ud83d","id":007}',
        r'{"type":"\ud83d","id":1.5}',
        r'{"type":"\ud83d","id":true}',
        r'{"type":"\ud83d","id":[1]}',
        r'{"type":"\ud83d","ID":1}',
        r'{"type":"\ud83d","x":{"id":1}}',
        r'{"type":"\ud83d","message":"\"id\":1"}',
        r'{"type":"\ud83d","id":' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_id_is_none(text: str) -> None:
    with pytest.raises(encoding.BadCommand) as refused:
        encoding.decode_command(text)
    assert refused.value.id is None
    assert encoding.command_id(text) is None


def test_the_search_ends() -> None:
    assert find_id("{" + "[]" * MOST_TOKENS + ',"id":1,}') is None


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (r'"\ud83d"', r"\ud83d"),
        (r'"\ud83d\ude00 \uDE00"', r"\uDE00"),
        (r'"\ud83d\ud83d\ude00"', r"\ud83d"),
        (r'"\\\ud83d"', r"\ud83d"),
        (r'"\ud83d\ude00"', None),
        (r'"\\ud83d"', None),
        ('"\U0001f600 \\u00e4"', None),
    ],
)
def test_half_a_character_is_named(text: str, half: str | None) -> None:
    assert find_half_character(text) == half
    if half is not None:
        with pytest.raises(CommandError) as refused:
            encoding.decode_command(f'{{"type":{text}}}')
        assert str(refused.value).endswith(f"{half} is half a surrogate pair; cut text between characters")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("id"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON), st.integers() | st.text(), st.booleans())
def test_of_good_json_it_reads_the_same(
    fields: dict[str, object], command_id: int | str, ascii: bool
) -> None:
    assert find_id(json.dumps({**fields, "id": command_id}, ensure_ascii=ascii)) == (
        None if isinstance(command_id, int) and abs(command_id) > 10**4000 else command_id
    )
