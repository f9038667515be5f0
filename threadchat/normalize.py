"""One spelling for names: `é` is one character, whether it was typed as one or as `e` and an accent."""

from __future__ import annotations

import unicodedata
from typing import Final

NAMING: Final = ("room", "nickname", "prefix")
"""The fields of a command that are names."""


def nfc(name: str) -> str:
    """The name in Unicode's normalization form C (UAX #15), in which equal names are equal text.

    Takes time that grows with the square of a run of combining marks: to be given names, not messages. Runs
    on: any thread.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)
