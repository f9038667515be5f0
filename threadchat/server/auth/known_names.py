"""Remembers the names of authenticated users, so that nobody can claim them on the dialect without ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

MAX_NAMES: Final = 10_000
"""Names that are remembered: the latest ones."""


class KnownNames:
    """The names that the application and tokens gave to users of this node.

    `_lock` guards changes of `_names`; it is a leaf. Every method may be called from any thread.
    """

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> None:
        """Adds the name of an authenticated user."""
        with self._lock:
            self._names[name.casefold()] = None
            self._names.move_to_end(name.casefold())
            if len(self._names) > self._most:
                self._names.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._names

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self.__init__(self._most)  # type: ignore[misc]
