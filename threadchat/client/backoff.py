"""When to reconnect: how long to wait before the next attempt, and after which errors not to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from threadchat.errors import CloseCode, CommandError, ConnectionClosed, HandshakeRefused

BASE: Final = 0.5
CAP: Final = 30.0
STEADY: Final = 10.0
"""Seconds. The first pause is at most `BASE` long, and none is longer than `CAP`. After a connection that
lasted for `STEADY`, the pauses start over; a server that accepts and closes at once gets ever longer ones."""

RETRIED_STATUS: Final = (408, 425, 429)
"""HTTP status codes below 500 that are temporary; after any other, the next attempt would fail as well."""

RETRIED_CODES: Final = (1012, 1013, 1014)
"""Restart, try again later, bad gateway: close codes of proxies and other servers (registry of RFC 6455)."""


class Backoff:
    """Random pauses between 0 and a bound that doubles with each attempt ("full jitter").

    The randomness keeps clients that lost their server together from reconnecting together. See "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015. Runs on: the thread of one client.
    """

    def __init__(
        self,
        base: float = BASE,
        cap: float = CAP,
        *,
        steady: float = STEADY,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._cap = cap
        self._steady = steady
        self._jitter = jitter
        self._clock = clock
        self._attempts = 0
        self._online_since: float | None = None

    def online(self) -> None:
        """Called when a connection is established."""
        self._online_since = self._clock()

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        since, self._online_since = self._online_since, None
        if since is not None and self._clock() - since >= self._steady:
            self._attempts = 0
        bound = min(self._cap, self._base * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return self._jitter() * bound


def should_reconnect(end: Exception) -> bool:
    """Whether a client should try again after this error of a connection, or of an attempt to connect."""
    match end:
        case HandshakeRefused(status=status):
            return status >= 500 or status in RETRIED_STATUS
        case ConnectionClosed(code=code):
            return code in RETRIED_CODES or _may_reconnect(code)
        case CommandError(temporary=temporary):
            return temporary
    return isinstance(end, OSError)


def _may_reconnect(code: int) -> bool:
    # An unknown code comes from a newer server or from a proxy.
    known = next((member for member in CloseCode if member == code), None)
    return 3000 <= code < 3500 if known is None else known.reconnect
