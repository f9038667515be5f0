"""Remembers whose names are those of known people, for the dialect in which a name is all there is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

MOST: Final = 10_000
"""Names, of those who came last."""


class KnownNames:
    """The names that applications and tokens gave the people who came to this node.

    `_lock` guards `_owners`; a leaf. To be used on any thread.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._owners: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> None:
        """Somebody known has that name."""
        with self._lock:
            self._owners[name.casefold()] = None
            self._owners.move_to_end(name.casefold())
            if len(self._owners) > self._most:
                self._owners.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._owners

    def leave_behind(self) -> None:
        """Begins anew in a forked process. Runs on: its only thread, first."""
        self.__init__(self._most)  # type: ignore[misc]
