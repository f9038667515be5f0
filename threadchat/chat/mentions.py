"""Finds whom a text mentions: `@nickname`, and `@room` for everybody."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import cached_property
from typing import Final

from threadchat.chat.log.events import MESSAGE, Details, Position, UserId
from threadchat.chat.room import Room
from threadchat.errors import CommandError
from threadchat.normalize import nfc

EVERYBODY: Final = "room"
"""The name that stands for all who read the room, unless somebody there is called so."""
MAX_MENTIONS: Final = 50
"""The number of users that one message mentions. Further ones are not noticed."""
MAX_TRIED: Final = 200
"""The number of `@` in one text after which no further one is looked at."""

_NAMING: Final = re.compile(r"(?<![^\W_])@\S")
"""An at sign that may begin a name; in an address such as ann@example.org it does not."""


class Names(dict[str, set[UserId]]):
    """Users by nickname, in small letters."""

    @cached_property
    def longest(self) -> int:
        """The length of the longest name; for names that are not changed any more."""
        return max(map(len, self), default=0)


def names_in(room: Room) -> Names:
    """The users by nickname, without regard to case: who is in the room, and who wrote what is in its log.

    Raises CommandError 100, temporary, if the people of other nodes are unknown at the moment.
    """
    names = Names()
    for event in room.fanout.events():
        if event.type == MESSAGE and event.user is not None and event.nickname:
            names.setdefault(event.nickname.casefold(), set()).add(event.user)
    with contextlib.suppress(CommandError):
        for occupant in room.who():
            names.setdefault(occupant.nickname.casefold(), set()).add(occupant.user)
    return names


def details_of(
    names: Callable[[], Names],
    text: str,
    reply_to: Position | None = None,
    *,
    may_say_room: Callable[[], bool],
) -> Details | None:
    """Whom a text mentions, and what it answers; None if that is nobody and nothing.

    `names` and `may_say_room` are called only if they are needed.
    """
    mentions: tuple[UserId, ...] = ()
    everybody = False
    if "@" in text and _NAMING.search(text):
        mentions, everybody = find_mentions(text, names())
        everybody = everybody and may_say_room()
    if not (mentions or everybody or reply_to):
        return None
    return Details(reply_to, mentions, everybody)


def find_mentions(text: str, names: Names) -> tuple[tuple[UserId, ...], bool]:
    """The users whom a text mentions, in the order of the text, and whether it says `@room`.

    The longest name that fits counts: "@ann lee" is Ann Lee if there is one, and else Ann. If several people
    have the name, all of them are mentioned.
    """
    text = nfc(text).casefold() if len(text) <= 1000 else text.casefold()
    found: dict[UserId, None] = {}
    everybody = False
    at = text.find("@")
    tried = 0
    while at >= 0 and tried < MAX_TRIED and len(found) < MAX_MENTIONS:
        tried += 1
        if at == 0 or not text[at - 1].isalnum():
            name = _name_at(text, at + 1, names)
            found.update(dict.fromkeys(names.get(name, ())))
            everybody = everybody or (name == EVERYBODY and name not in names)
        at = text.find("@", at + 1)
    return tuple(found)[:MAX_MENTIONS], everybody


def _name_at(text: str, start: int, names: Names) -> str:
    """The longest name that begins at `start` and ends where a word ends. Empty if there is none."""
    for end in range(min(len(text), start + max(names.longest, len(EVERYBODY))), start, -1):
        name = text[start:end]
        if (name in names or name == EVERYBODY) and not (end < len(text) and _goes_on(text, end)):
            return name
    return ""


def _goes_on(text: str, end: int) -> bool:
    """Whether the word before `end` goes on after it."""
    return text[end].isalnum() and text[end - 1].isalnum()
