"""Decides which comings and goings are kept in a room's log, so that they push no messages out of it."""

from __future__ import annotations

from typing import Final

from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.events import ADD, JOIN, LEAVE, REMOVE, RENAME

SHARE: Final = 8
"""Comings and goings may take an eighth of a log at once, and one place for each seven other events."""
LEAST: Final = 32
"""They may take so many places of a short log."""
COMINGS: Final = Filter([JOIN, ADD, REMOVE, LEAVE, RENAME])


class Comings:
    """The places for comings and goings in one log. room.lua does the same for rooms in Redis.

    It has no lock of its own: its owner calls it while holding one.
    """

    __slots__ = ("_at", "_credit", "_most")

    def __init__(self, size: int, head: int = 0, kept: int = 0) -> None:
        """`size` is the number of events that the log may keep. Of those that it has, `kept` are comings."""
        self._most = max(LEAST, size // SHARE) * (SHARE - 1)
        self._credit = max(0, self._most - kept * (SHARE - 1))  # one for each other event; a place costs 7
        self._at = head  # the offset of the last event that was counted

    def may_keep(self, head: int) -> bool:
        """Whether another one may be kept, after the event with the offset `head`."""
        self._credit = min(self._most, self._credit + max(0, head - self._at))
        self._at = head
        if self._credit < SHARE - 1:
            return False
        self._credit -= SHARE - 1
        self._at += 1
        return True
