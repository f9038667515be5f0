"""How fast one connection may send: a bucket of tokens, and a second one for how much may be refused."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """Holds up to `size` tokens, is full at first, and gets `rate` more a second. One thread uses it."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: int, now: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = float(size)
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Takes as many of `wanted` tokens as there are; how many. `now`: seconds, never less than before."""
        tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        taken = min(wanted, int(tokens))
        self._tokens = tokens - taken
        self._at = now
        return taken

    @property
    def spent(self) -> bool:
        """Whether there was no whole token left when last one was taken."""
        return self._tokens < 1


class RateLimit:
    """What one connection may send: `rate` messages a second, and `burst` at once.

    What is above it is refused. Refusals have a bucket of the same size and rate, and whoever empties it too
    is to go: in the long run, that is who sends more than twice as fast as they may, and is told so `burst`
    times. One who only sends a little too fast is never sent away. Runs on: the connection's reader thread.
    """

    __slots__ = ("_clock", "_patience", "_taken", "burst", "rate")

    def __init__(self, rate: int, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        now = clock()
        self._taken = TokenBucket(rate, burst, now)
        self._patience = TokenBucket(rate, burst, now)

    def grant(self, count: int) -> int:
        """How many of `count` messages that came together may be taken: the first ones."""
        return self._taken.take(count, self._clock())

    def tolerate(self, count: int) -> int:
        """How many of `count` messages that are too many may be refused; fewer than all: that is it."""
        return self._patience.take(count, self._clock())

    @property
    def refusal(self) -> str:
        """What whoever is refused is told."""
        return f"at most {self.rate} messages a second, and {self.burst} at once, are taken here; send slower"
