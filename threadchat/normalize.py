"""One spelling for names (`é` is one character, however it was typed), and what nobody sees in them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NAMING: Final = ("room", "nickname", "prefix", "to", "user", "after")
"""The fields of a command that are names, or ids, which may be text."""

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


def nfc(name: str) -> str:
    """The name in Unicode's normalization form C (UAX #15), in which equal names are equal text.

    Takes time that grows with the square of a run of combining marks: to be given names, not messages. Runs
    on: any thread.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def nfc_id(user: int | str) -> int | str:
    """The same of a user's id, which is a name where it is text. Runs on: any thread."""
    return nfc(user) if isinstance(user, str) else user


def find_forbidden(name: str) -> str:
    """Which character must not be there, and where; empty where there is none."""
    found = _FORBIDDEN.search(_FLAGS.sub(lambda flag: "-" * len(flag[0]), name))
    return f"has U+{ord(found[0]):04X} at character {found.start() + 1}" if found else ""
