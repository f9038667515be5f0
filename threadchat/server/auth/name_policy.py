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

_BLANKS: Final = re.compile("[\\xa0\\u2000-\\u200a\\u202f\\u205f\\u3000]")
"""Spaces that are allowed in text: French has them before ! and ?, Japanese between words."""
_CONTROLS: Final = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")

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
    """Checks a name that nobody verifies: it must not look like another name. It may be empty."""
    if len(name) > MAX_CLAIMED:
        reason = f"from has {len(name)} characters; a name has at most {MAX_CLAIMED}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    if name[:1] == " " or name[-1:] == " ":
        wrong = "has a space at an end"
    elif name.isascii() and (name.isprintable() or not name):
        return name
    else:
        name = nfc(name)
        wrong = find_forbidden(name)
    if wrong:
        raise CommandError(ErrorCode.BAD_REQUEST, f"from {wrong}; a name has visible characters only")
    return name


def check_about(about: str) -> str:
    """Checks what somebody says about themselves: one line of visible characters. Raises CommandError 107."""
    if wrong := find_forbidden(_BLANKS.sub(" ", about)):
        raise CommandError(ErrorCode.BAD_REQUEST, f"about {wrong}; it must be one line of visible characters")
    return about


def check_controls(message: str) -> None:
    """Raises CommandError 107 for control characters other than tabs and line ends."""
    if not message.isprintable() and (found := _CONTROLS.search(message)):
        reason = f"message has the control character U+{ord(found[0]):04X} at {found.start() + 1}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
