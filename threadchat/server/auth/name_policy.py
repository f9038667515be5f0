"""What rooms and people may be called: what can be seen, or what the operator's pattern says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from threadchat.errors import CommandError, ErrorCode
from threadchat.normalize import nfc
from threadchat.server.protocol.commands import MAX_NICKNAME, MAX_ROOM_NAME

Check = Callable[[str], str]
"""Returns a name in its one spelling (NFC). Raises CommandError 107, which says what would be right."""

MAX_CLAIMED: Final = 1024
"""Characters of a name that somebody only claims to have, on the older dialect `/ws`."""

_MOST_PARTS: Final = 4  # that one character is written with: a letter and three marks

# By their numbers, not by `unicodedata`: its version differs from one Python to the next.
_EMOJI: Final = (
    r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    r"\u3297\u3299\U0001f000-\U0001faff"
)
_JOINING: Final = (  # scripts in which a joiner changes how letters look: Arabic, Indic, Mongolian and others
    r"\u0600-\u07ff\u0840-\u0dff\u0f00-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff"
    r"\ufe70-\ufefc\U00010a00-\U00010fff\U00011000-\U00011fff\U0001e900-\U0001e95f"
)
_FORBIDDEN: Final = re.compile(
    # Control characters, half a surrogate pair, line ends and blanks but U+0020, private use, what turns the
    # direction of writing.
    r"[\x00-\x1f\x7f-\xa0\u061c\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000"
    r"\ud800-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000f0000-\U0010ffff"
    # What shows nothing, or nothing of its own: Default_Ignorable_Code_Point of Unicode, fillers among them.
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0d\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Text or emoji style, of what has both; a digit only within a keycap.
    rf"|(?<![{_EMOJI}])\ufe0e|(?<![{_EMOJI}0-9#*])\ufe0f|(?<=[0-9#*])\ufe0f(?!\u20e3)"
    # Joiners, where they join nothing.
    rf"|(?<![{_JOINING}])\u200c|\u200c(?![{_JOINING}])"
    rf"|(?<![{_JOINING}{_EMOJI}\ufe0f])\u200d|\u200d(?![{_JOINING}{_EMOJI}])"
)
_FLAGS: Final = re.compile(  # of England, Scotland and Wales: the only ones that are written with tags
    "\U0001f3f4\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)"
    "\U000e007f"
)


class NamePolicy:
    """The rules of one chat. Immutable, so every method runs on any thread."""

    __slots__ = ("claimed", "nickname", "room")

    def __init__(self, room_pattern: str = "", nickname_pattern: str = "") -> None:
        """A pattern, if there is one, decides alone, but for the length."""
        self.room: Final = _checker("room", "a room's name", MAX_ROOM_NAME, room_pattern)
        self.nickname: Final = _checker("nickname", "a nickname", MAX_NICKNAME, nickname_pattern)
        self.claimed: Final = self.nickname if nickname_pattern else _check_claimed


@lru_cache(maxsize=16)
def name_policy(room_pattern: str, nickname_pattern: str) -> NamePolicy:
    """The rules with those patterns; compiled once."""
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
    """The name in NFC, which may be shorter than what was typed. Raises CommandError 107 for its length."""
    if len(name) <= _MOST_PARTS * most:
        name = nfc(name)
    if not 0 < len(name) <= most:
        reason = f"{field} has {len(name)} characters; {what} has from 1 to {most}"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    return name


def _check_printable(name: str, field: str, what: str, most: int) -> str:
    name = _normalized(name, field, what, most)
    if name[0] == " " or name[-1] == " ":
        wrong = "has a space at its end" if name[-1] == " " else "begins with a space"
    elif (name.isascii() and name.isprintable()) or not (wrong := _find_forbidden(name)):  # the most do
        return name
    rule = (
        "printable, without spaces around it, control characters, or any that turn the direction of writing "
        "or that nobody sees"
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
    if wrong := _find_forbidden(name):
        raise CommandError(ErrorCode.BAD_REQUEST, f"from {wrong}; a name has only what can be seen")
    return name


def _find_forbidden(name: str) -> str:
    """Which character must not be there, and where; empty where there is none."""
    found = _FORBIDDEN.search(_FLAGS.sub(lambda flag: "-" * len(flag[0]), name))
    return f"has U+{ord(found[0]):04X} at character {found.start() + 1}" if found else ""
