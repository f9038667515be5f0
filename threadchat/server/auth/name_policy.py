"""The rules for names of rooms and people: visible characters, or the operator's pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from threadchat.errors import CommandError, ErrorCode
from threadchat.normalize import find_forbidden, nfc
from threadchat.server.protocol.commands import MAX_NICKNAME, MAX_ROOM_NAME

Check = Callable[[str], str]
"""Returns a name in its normal form (NFC). Raises CommandError 107, which explains the rule."""

MAX_CLAIMED: Final = 1024
"""Characters of an unverified name, on the older dialect `/ws`."""

_MAX_PARTS: Final = 4  # code points that NFC may join to one: a letter and three marks


class NamePolicy:
    """The rules of one chat. Immutable, so every method runs on any thread."""

    __slots__ = ("claimed", "nickname", "room")

    def __init__(self, room_pattern: str = "", nickname_pattern: str = "") -> None:
        """A pattern replaces the default rule; the length limit always applies."""
        self.room: Final = _checker("room", "a room's name", MAX_ROOM_NAME, room_pattern)
        self.nickname: Final = _checker("nickname", "a nickname", MAX_NICKNAME, nickname_pattern)
        self.claimed: Final = self.nickname if nickname_pattern else _check_claimed


@lru_cache(maxsize=16)
def name_policy(room_pattern: str, nickname_pattern: str) -> NamePolicy:
    """The policy with these patterns. The patterns are compiled once."""
    return NamePolicy(room_pattern, nickname_pattern)


def _checker(field: str, what: str, most: int, pattern: str) -> Check:
    if not pattern:
        return lambda name: _check_printable(name, field, what, most)
    matches = re.compile(pattern).fullmatch

    def check(name: str) -> str:
        name = _normalized(name, field, what, most)
        if not matches(name):
            raise CommandError(ErrorCode.BAD_REQUEST, f"{field}: {what} here must match {pattern:.200}")
        return name

    return check


def _normalized(name: str, field: str, what: str, most: int) -> str:
    """The name in NFC, which may be shorter than the input. Raises CommandError 107 for its length."""
    if len(name) <= _MAX_PARTS * most:
        name = nfc(name)
    if not 0 < len(name) <= most:
        reason = f"{field} has {len(name)} characters; {what} has from 1 to {most}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    return name


def _check_printable(name: str, field: str, what: str, most: int) -> str:
    name = _normalized(name, field, what, most)
    if name[0] == " " or name[-1] == " ":
        wrong = "has a space at its end" if name[-1] == " " else "begins with a space"
    elif (name.isascii() and name.isprintable()) or not (wrong := find_forbidden(name)):
        return name
    rule = (
        "printable, without spaces at its ends, and without control characters, invisible characters, or "
        "characters that change the direction of writing"
    )
    raise CommandError(ErrorCode.BAD_REQUEST, f"{field} {wrong}; {what} is {rule}")


def _check_claimed(name: str) -> str:
    """A name without a rule but that it does not pass for another one; it may be empty or blank."""
    if len(name) > MAX_CLAIMED:
        reason = f"from has {len(name)} characters; a name has at most {MAX_CLAIMED}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    if name.isascii() and name.isprintable():  # the most
        return name
    name = nfc(name)
    if wrong := find_forbidden(name):
        raise CommandError(ErrorCode.BAD_REQUEST, f"from {wrong}; a name has only what can be seen")
    return name
