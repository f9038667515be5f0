"""What rooms and people may be called: what can be seen, or what the operator's pattern says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from threadchat.errors import CommandError, ErrorCode
from threadchat.server.protocol.commands import MAX_NICKNAME, MAX_ROOM_NAME

Check = Callable[[str], None]
"""Raises CommandError 107, which says what would be right, for a name that may not be."""

# Control characters, half a surrogate pair, line ends and blanks but U+0020, private use, what turns the
# direction of writing, and what takes no room at all. Not U+200C and U+200D, which Persian and emoji need.
# By their numbers, not by `unicodedata`: its version differs from one Python to the next.
_FORBIDDEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f"
    r"\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e001f\U000f0000-\U0010ffff]"
    r"|^[\u200c\u200d]|[\u200c\u200d]\Z"  # and those two join nothing at an end
)
# What there has to be more of than this: joiners, variation selectors, marks and fillers nobody sees alone.
_INVISIBLE: Final = re.compile(
    r"[ \u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0000-\U000e01ef]*"
)


class NamePolicy:
    """The rules of one chat. Immutable, so every method runs on any thread."""

    __slots__ = ("nickname", "room")

    def __init__(self, room_pattern: str = "", nickname_pattern: str = "") -> None:
        """A pattern, if there is one, decides alone, but for the length."""
        self.room: Final = _checker("room", "a room's name", MAX_ROOM_NAME, room_pattern)
        self.nickname: Final = _checker("nickname", "a nickname", MAX_NICKNAME, nickname_pattern)


@lru_cache(maxsize=16)
def name_policy(room_pattern: str, nickname_pattern: str) -> NamePolicy:
    """The rules with those patterns; compiled once."""
    return NamePolicy(room_pattern, nickname_pattern)


def _checker(field: str, what: str, most: int, pattern: str) -> Check:
    if not pattern:
        return lambda name: _check_printable(name, field, what, most)
    matches = re.compile(pattern).fullmatch

    def check(name: str) -> None:
        _check_length(name, field, what, most)
        if not matches(name):
            raise CommandError(ErrorCode.BAD_REQUEST, f"{field}: {what} here must match {pattern:.200}")

    return check


def _check_length(name: str, field: str, what: str, most: int) -> None:
    if not 0 < len(name) <= most:
        reason = f"{field} has {len(name)} characters; {what} has from 1 to {most}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)


def _check_printable(name: str, field: str, what: str, most: int) -> None:
    _check_length(name, field, what, most)
    if name[0] == " " or name[-1] == " ":
        wrong = "has a space at its end" if name[-1] == " " else "begins with a space"
    elif name.isascii() and name.isprintable():  # the most do
        return
    elif found := _FORBIDDEN.search(name):
        wrong = f"has U+{ord(found[0]):04X} at character {found.start() + 1}"
    elif _INVISIBLE.fullmatch(name):
        wrong = "shows nothing"
    else:
        return
    rule = (
        "printable, without spaces around it, control characters, or any that turn the direction of writing"
    )
    raise CommandError(ErrorCode.BAD_REQUEST, f"{field} {wrong}; {what} is {rule}")
