"""Limits how fast one connection may send: a token bucket for messages, and a second one for refusals."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """Holds up to `size` tokens, starts full, and gains `rate` tokens a second. Only one thread uses it."""

    __slots__ = ("_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: int, now: float) -> None:
        self._rate = rate
        self._size = size
        self._tokens = float(size)
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Takes up to `wanted` tokens and returns how many. `now` is in seconds and never decreases."""
        tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        taken = min(wanted, int(tokens))
        self._tokens = tokens - taken
        self._at = now
        return taken

    @property
    def spent(self) -> bool:
        """Whether less than one token was left after the last `take`."""
        return self._tokens < 1


class RateLimit:
    """Limits one connection to `rate` messages a second, and `burst` at once.

    Messages above the limit are refused. Refusals have a bucket of the same size and rate, and a client that
    empties it too is disconnected. In the long run, that is a client that sends at more than twice the rate,
    after `burst` refusals. A client that is only a little too fast stays connected. Runs on: the connection's
    reader thread.
    """

    __slots__ = ("_clock", "_messages", "_refusals", "burst", "rate")

    def __init__(self, rate: int, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        now = clock()
        self._messages = TokenBucket(rate, burst, now)
        self._refusals = TokenBucket(rate, burst, now)

    def grant(self, count: int) -> int:
        """Returns how many of `count` messages are accepted: the first ones."""
        return self._messages.take(count, self._clock())

    def tolerate(self, count: int) -> int:
        """Returns how many of `count` excess messages may be refused; if not all, the client has to go."""
        return self._refusals.take(count, self._clock())

    @property
    def refusal(self) -> str:
        """The reason that a refused client receives."""
        return f"at most {self.rate} messages a second, and {self.burst} at once, are accepted; send slower"
