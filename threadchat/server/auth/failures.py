"""Counts wrong keys and tokens, and has those wait who keep showing them: by their address."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, Literal

from threadchat.server.http.connection import HANDOVER
from threadchat.server.http.connection_limits import counted_as

BURST: Final = 60
"""Failures of one address, at once, that cost no time."""
RATE: Final = 1.0
"""Failures a second of one address that cost no time in the long run."""
PAUSE: Final = 1.0
"""Seconds for each one above that. Its thread waits, and nobody else; what is right never waits."""
MOST_ADDRESSES: Final = 4096
"""Of those that failed last. One that is forgotten begins anew."""

Kind = Literal["api_key", "token"]


class Failures:
    """What was shown to one chat and was not right. `_lock` guards everything here; a leaf.

    To be used on any thread.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter({"api_key": 0, "token": 0})
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and when there were so many

    def note(self, kind: Kind, address: str) -> None:
        """Counts one of `kind`. Where the address has too many, its thread waits for `PAUSE` seconds."""
        if self._is_too_many(kind, counted_as(address)):
            self._pause(PAUSE)

    def note_request(self, kind: Kind, environ: dict[str, Any]) -> None:
        """The same for a request. Another server's thread does not wait: it may be one of a few."""
        excess = self._is_too_many(kind, counted_as(environ.get("REMOTE_ADDR", "")))
        if excess and HANDOVER in environ:
            self._pause(PAUSE)

    def counts(self) -> dict[str, int]:
        """How many there were of each kind."""
        with self._lock:
            return dict(self._counts)

    def leave_behind(self) -> None:
        """Begins anew in a forked process. Runs on: its only thread, first."""
        self.__init__(self._clock, self._pause)  # type: ignore[misc]

    def _is_too_many(self, kind: Kind, address: str) -> bool:
        with self._lock:
            self._counts[kind] += 1
            now = self._clock()
            tokens, at = self._tokens.pop(address, (float(BURST), now))
            tokens = min(float(BURST), tokens + (now - at) * RATE)
            within = tokens >= 1
            self._tokens[address] = tokens - within, now
            if len(self._tokens) > MOST_ADDRESSES:
                self._tokens.popitem(last=False)
            return not within
