"""Counts wrong API keys and tokens, and slows down the addresses that send too many of them."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, Literal

from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.connection_limits import counted_as

BURST: Final = 60
"""Failures of one address at once without a pause."""
RATE: Final = 1.0
"""Failures a second of one address without a pause, in the long run."""
PAUSE: Final = 1.0
"""Seconds of pause for each failure above that. Only the failing request's thread waits."""
MAX_ADDRESSES: Final = 4096
"""Addresses that are remembered: those with the latest failures."""

Kind = Literal["api_key", "token"]


class Failures:
    """The failures of one chat. `_lock` guards everything here; it is a leaf.

    Every method may be called from any thread.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter({"api_key": 0, "token": 0})
        # The tokens left in each address's bucket, and the time of that.
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, kind: Kind, address: str) -> None:
        """Counts a failure. If the address has too many, the calling thread waits for `PAUSE` seconds."""
        if self._is_too_many(kind, counted_as(address)):
            self._pause(PAUSE)

    def note_request(self, kind: Kind, environ: dict[str, Any]) -> None:
        """Counts a failure of a request. Only our own server's thread waits; another may have only a few."""
        excess = self._is_too_many(kind, counted_as(environ.get("REMOTE_ADDR", "")))
        if excess and HANDOVER in environ:
            self._pause(PAUSE)

    def counts(self) -> dict[str, int]:
        """The number of failures of each kind."""
        with self._lock:
            return dict(self._counts)

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self.__init__(self._clock, self._pause)  # type: ignore[misc]

    def _is_too_many(self, kind: Kind, address: str) -> bool:
        with self._lock:
            self._counts[kind] += 1
            now = self._clock()
            tokens, at = self._tokens.pop(address, (float(BURST), now))
            tokens = min(float(BURST), tokens + (now - at) * RATE)
            within = tokens >= 1
            self._tokens[address] = tokens - within, now
            if len(self._tokens) > MAX_ADDRESSES:
                self._tokens.popitem(last=False)
            return not within
