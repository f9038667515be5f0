"""Finds whom a text mentions: `@nickname`, and `@room` for everybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Final

from threadchat.chat.log.events import Details, Position, UserId
from threadchat.chat.room_names import Names
from threadchat.normalize import nfc

EVERYBODY: Final = "room"
"""The name that stands for all who read the room, unless somebody there is called so."""
MAX_MENTIONS: Final = 50
"""The number of users that one message mentions. Further ones are not noticed."""
MAX_TRIED: Final = 200
"""The number of `@` in one text after which no further one is looked at."""

_NAMING: Final = re.compile(r"@(?<![^\W_]@)(?=\S)")  # the at sign first, so that only those are looked at
"""An at sign that may begin a name; in an address such as ann@example.org it does not."""


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
    for at in islice(_NAMING.finditer(text), MAX_TRIED):
        start = at.end()
        for length in names.lengths_at(text, start):
            users = names.get(text[start : start + length])
            if users and not _goes_on(text, start + length):
                found.update(dict.fromkeys(users))
                break
        else:
            everybody = everybody or (
                text.startswith(EVERYBODY, start) and not _goes_on(text, start + len(EVERYBODY))
            )
        if len(found) >= MAX_MENTIONS:
            break
    return tuple(found)[:MAX_MENTIONS], everybody


def _goes_on(text: str, end: int) -> bool:
    """Whether the word before `end` goes on after it."""
    return text[end : end + 1].isalnum() and text[end - 1].isalnum()
