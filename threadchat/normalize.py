"""Normalizes names, so that `é` is one character however it was typed, and finds invisible characters."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NAMING: Final = ("room", "nickname", "prefix", "to", "user", "after")
"""The fields of a command that hold a name, or an id that may be text."""

# Code points instead of `unicodedata`, which differs from one Python version to the next.
_EMOJI: Final = (
    r"\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    r"\u3297\u3299\U0001f000-\U0001faff"
)
_JOINING: Final = (  # scripts in which a joiner changes how letters look: Arabic, Indic, Mongolian and others
    r"\u0600-\u07ff\u0840-\u0dff\u0f00-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff"
    r"\ufe70-\ufefc\U00010a00-\U00010fff\U00011000-\U00011fff\U0001e900-\U0001e95f"
)
_FORBIDDEN: Final = re.compile(
    # Control characters, lone surrogates, line ends, blanks other than U+0020, private use, and characters
    # that change the writing direction.
    r"[\x00-\x1f\x7f-\xa0\u061c\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000"
    r"\ud800-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000f0000-\U0010ffff"
    # Invisible characters: Unicode's Default_Ignorable_Code_Point, including fillers.
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0d\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Variation selectors, except after a character that has a text and an emoji style, or within a keycap.
    rf"|(?<![{_EMOJI}])\ufe0e|(?<![{_EMOJI}0-9#*])\ufe0f|(?<=[0-9#*])\ufe0f(?!\u20e3)"
    # Joiners that join nothing.
    rf"|(?<![{_JOINING}])\u200c|\u200c(?![{_JOINING}])"
    rf"|(?<![{_JOINING}{_EMOJI}\ufe0f])\u200d|\u200d(?![{_JOINING}{_EMOJI}])"
)
_FLAGS: Final = re.compile(  # England, Scotland and Wales: the only flags that are written with tags
    "\U0001f3f4\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)"
    "\U000e007f"
)


def nfc(name: str) -> str:
    """The name in Unicode normalization form C (UAX #15), in which equal names are equal text.

    The time grows with the square of the length of a run of combining marks, so pass names only, not
    messages. Runs on: any thread.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def nfc_id(user: int | str) -> int | str:
    """A user id, normalized if it is text. Runs on: any thread."""
    return nfc(user) if isinstance(user, str) else user


def find_forbidden(name: str) -> str:
    """Describes the first forbidden character and its position. Empty if there is none."""
    found = _FORBIDDEN.search(_FLAGS.sub(lambda flag: "-" * len(flag[0]), name))
    return f"has U+{ord(found[0]):04X} at character {found.start() + 1}" if found else ""


_ONE_EMOJI: Final = re.compile(
    rf"[0-9#*]\ufe0f?\u20e3|[{_EMOJI}\U0001f1e6-\U0001f1ff][{_EMOJI}\u200d\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]*"
)


def is_emoji(text: str) -> bool:
    """Whether a text consists of emoji, and of nothing else. Runs on: any thread."""
    return _ONE_EMOJI.fullmatch(_FLAGS.sub("\U0001f3f4", text)) is not None
