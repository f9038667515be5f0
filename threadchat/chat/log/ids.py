"""What the id of a user may be: an integer or text; 7 and "7" are two people wherever ids are kept."""

from __future__ import annotations

import json
from typing import Any, Final, TypeGuard

from threadchat.chat.log.events import UserId
from threadchat.normalize import find_forbidden

LARGEST_ID: Final = 2**53 - 1
"""More than this, and a browser's numbers no longer tell one id from the next."""
MAX_ID: Final = 128
"""Characters of an id that is text."""
ID_RULE: Final = f"an integer from 1 to {LARGEST_ID}, or text of 1 to {MAX_ID} printable characters"


def is_user_id(value: Any, lowest: int = 1) -> TypeGuard[UserId]:
    """Whether a value can be a user's id; strangers have ids below 0, which need a lower `lowest`."""
    if isinstance(value, str):
        printable = 0 < len(value) <= MAX_ID and value.isprintable()
        return printable and (value.isascii() or not find_forbidden(value))
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= LARGEST_ID


def spelled_id(user: UserId) -> str:
    """An id as logs show it: 7 for the integer, "7" for the text."""
    return str(user) if isinstance(user, int) else json.dumps(user, ensure_ascii=False)
