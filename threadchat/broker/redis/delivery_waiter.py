"""Lets publishers wait until their node has delivered what they said."""

from __future__ import annotations

import heapq
import itertools
import threading
from math import inf


class DeliveryWaiter:
    """Who waits for which offset. Its owner locks it; each is woken once, and nobody for somebody else's."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, threading.Lock]] = []
        self._numbers = itertools.count()

    def expect(self, offset: int) -> threading.Lock:
        """What can be acquired once that event was delivered."""
        arrival = threading.Lock()
        arrival.acquire()
        heapq.heappush(self._waiting, (offset, next(self._numbers), arrival))
        return arrival

    def arrived(self, offset: float = inf) -> None:
        """Wakes those who wait for that event or an earlier one; without it, everybody."""
        while self._waiting and self._waiting[0][0] <= offset:
            heapq.heappop(self._waiting)[2].release()
