"""Finds the id of a command that is not valid JSON, so that the error reply can carry it; no I/O."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

import msgspec

from threadchat.server.protocol.commands import CommandId

MOST_TOKENS: Final = 10_000
"""Strings and brackets to look at. This bounds the work on an invalid message to a few milliseconds."""

_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN: Final = re.compile(rf"{_STRING}?|[\[\]{{}}]", re.DOTALL)
# A number at the very end of the text does not count, because digits may have been cut off.
_ID: Final = re.compile(rf"\s*:\s*({_STRING}|-?[0-9]++(?=[\s,}}]))", re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half a pair
    r"|\\.",
    re.DOTALL,
)
_decode_id = msgspec.json.Decoder(int | str).decode


def find_id(text: str) -> CommandId:
    """The last `id` of the object at the beginning of `text`; None if none is found."""
    found: CommandId = None
    depth = 0
    for token in islice(_TOKEN.finditer(text), MOST_TOKENS):
        letter = token[0][0]
        if letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
            if depth == 0:
                return found
        elif depth == 1 and token[0] == '"id"' and (value := _ID.match(text, token.end())):
            found = _read(value[1])
    return found


def find_half_character(text: str) -> str | None:
    """The first escape that is half a surrogate pair, or None. JavaScript's `slice` can make these."""
    return next((escape[1] for escape in _ESCAPE.finditer(text) if escape[1]), None)


def _read(value: str) -> CommandId:
    try:
        read: int | str = _decode_id(value)
    except msgspec.DecodeError:
        return None
    return read
