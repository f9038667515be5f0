"""When to come back: how long to wait before the next attempt, and after which ends there is none."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from threadchat.errors import CloseCode, CommandError, ConnectionClosed, HandshakeRefused

BASE: Final = 0.5
CAP: Final = 30.0
STEADY: Final = 10.0
"""Seconds. The first pause is at most `BASE` long and none is longer than `CAP`. A connection that held for
`STEADY` was a good one: the next loss starts over, while a server that accepts and hangs up is not rushed."""

RETRIED_STATUS: Final = (408, 425, 429)
"""HTTP refusals below 500 that pass by themselves; the others would be the same next time."""

RETRIED_CODES: Final = (1012, 1013, 1014)
"""Restart, try again later, bad gateway: what proxies and other servers close with (RFC 6455's registry)."""


class Backoff:
    """Pauses that are drawn from 0 up to a bound that doubles with each attempt ("full jitter").

    So that clients which lost their server together do not come back together. See "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015. Runs on: the thread of one client.
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
        """Told that a connection stands."""
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
    """Whether a client should try again after its connection, or its attempt at one, ended like this."""
    match end:
        case HandshakeRefused(status=status):
            return status >= 500 or status in RETRIED_STATUS
        case ConnectionClosed(code=code):
            return code in RETRIED_CODES or _may_reconnect(code)
        case CommandError(temporary=temporary):
            return temporary
    return isinstance(end, OSError)


def _may_reconnect(code: int) -> bool:
    # A code of no table comes from a newer server, or from somebody in between.
    known = next((member for member in CloseCode if member == code), None)
    return 3000 <= code < 3500 if known is None else known.reconnect
