"""The list of all rooms: made by one thread at a time; a long list serves everybody for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from threadchat.chat.broker_interface import RoomInfo

SHORT: Final = 50
"""Up to this many rooms, everybody who asks gets a new list."""
SHARE: Final = 0.1
"""The maximum share of time to spend on making longer lists."""


class RoomListing:
    """One list of rooms. Nobody may change it."""

    __slots__ = ("reply", "rooms")

    def __init__(self, rooms: list[RoomInfo]) -> None:
        self.rooms = rooms
        self.reply: Any = None
        """The reply that was made from the whole list; None until there is one."""


class RoomList:
    """Makes the list when somebody asks for it.

    Every method may be called from any thread. `_making` guards everything here. It is held while the list
    is made; `make` acquires other locks.
    """

    _begun: int
    _listed: int
    _stale_at: float

    def __init__(self, make: Callable[[], list[RoomInfo]], clock: Callable[[], float]) -> None:
        self._make = make
        self._clock = clock
        self.leave_behind()

    def get(self) -> RoomListing:
        """All rooms, the fullest first. A long list may be ten times as old as it takes to make.

        Raises what `make` raises.
        """
        asked = self._begun
        with self._making:
            if self._listed <= asked and self._clock() >= self._stale_at:
                self._begun += 1
                begun = self._clock()
                self._listing = RoomListing(self._make())
                self._listed, now = self._begun, self._clock()
                is_long = len(self._listing.rooms) > SHORT
                self._stale_at = now + (now - begun) / SHARE if is_long else now
            return self._listing

    def leave_behind(self) -> None:
        """Forgets the list. Runs on: the only thread of a forked process, before anything else."""
        self._making = threading.Lock()
        self._listing = RoomListing([])
        self._begun = 0  # the number of lists that were begun
        self._listed = 0  # which of them `_listing` is; one begun after the question answers it
        self._stale_at = float("-inf")
