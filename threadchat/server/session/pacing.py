"""The part of a session that limits how fast its peer may send, and hands on what is accepted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from threadchat.config.settings import Config
from threadchat.errors import CloseCode, CommandError, ErrorCode
from threadchat.server.budgets.budgets import Budget, Budgets
from threadchat.server.budgets.rate_limit import RateLimit
from threadchat.server.session.statistics import Work
from threadchat.wire.connection import Connection

CONTROL_RATE: Final = 100
"""Pings and pongs a second accepted from one connection, if no `message_rate` limits them."""
CONTROL_BURST: Final = 1000
"""Pings and pongs accepted at once. Programs that measure round trips send a few."""


class Paced(ABC):
    """A session with its own rate limit, and with the budgets that it shares with other connections.

    Everything runs on the connection's reader thread.
    """

    def __init__(
        self, connection: Connection, config: Config, budgets: Budgets, clock: Callable[[], float]
    ) -> None:
        self.connection = connection
        self.work = Work()
        self.budget = Budget(budgets)
        self._clock = clock
        self._bytes_seen = 0  # those that the budgets have counted
        rate = config.message_rate
        self._rate_limit = RateLimit(rate, config.message_burst, clock) if rate else None
        self._control_rate_limit = self._rate_limit  # else made by the first control frame

    # Implemented by the dialects

    @abstractmethod
    def handle(self, text: str) -> None:
        """Handles one message. Raises ConnectionClosed."""

    @abstractmethod
    def refuse_excess(self, text: str, error: CommandError) -> None:
        """Answers a message above the rate limit with `error`. Raises ConnectionClosed."""

    def burst_ended(self) -> None:  # noqa: B027  # a dialect without bursts does nothing
        """Called after the last message of a burst."""

    # Helpers

    def _time_burst(self, burst: list[str | bytes]) -> None:
        begun = self._clock()
        self._handle_burst(burst)
        self.work.note_burst(self._clock() - begun)

    def _handle_burst(self, burst: list[str | bytes]) -> None:
        pace, budget, granted, refusal = self._rate_limit, self.budget, len(burst), ""
        if pace is not None:
            granted, refusal = pace.grant(granted), pace.refusal
        if budget.accounts and granted:
            allowed = budget.grant(granted, self._new_bytes(burst))
            if allowed < granted:
                granted, refusal = allowed, budget.refusal
        if granted == len(burst):
            self._handle_all(burst)
            return
        self._handle_all(burst[:granted])
        self._refuse_excess(burst[granted:], refusal)

    def _new_bytes(self, burst: list[str | bytes]) -> int:
        """The bytes that were read since the last call, or those of the messages, if they were compressed."""
        total = self.connection.counters.bytes_in
        new, self._bytes_seen = total - self._bytes_seen, total
        return max(new, sum(map(len, burst)))

    def _controls(self) -> RateLimit:
        """The limit for control frames, and for refusals."""
        if self._control_rate_limit is None:
            self._control_rate_limit = RateLimit(CONTROL_RATE, CONTROL_BURST, self._clock)
        return self._control_rate_limit

    def _count_controls(self, count: int) -> None:
        """Counts pings and pongs against the rate limit. None is refused; too many close (3013)."""
        pace = self._controls()
        excess = count - pace.grant(count)
        if excess and pace.tolerate(excess) < excess:
            self.connection.close(CloseCode.TOO_MANY_REQUESTS)

    def _refuse_excess(self, excess: list[str | bytes], reason: str) -> None:
        """Refuses messages above a limit. They do not count as errors; too many close (3013)."""
        error = CommandError(ErrorCode.TOO_MANY_REQUESTS, reason)
        bearable = self._controls().tolerate(len(excess))
        for message in excess[:bearable]:
            if isinstance(message, str) and self.connection.closed is None:
                self.refuse_excess(message, error)
                self.work.count_error(error.code)
        if bearable < len(excess):
            self.connection.close(CloseCode.TOO_MANY_REQUESTS)

    def _handle_all(self, burst: list[str | bytes]) -> None:
        for message in burst:
            if self.connection.closed is not None:
                return
            if isinstance(message, bytes):
                self.burst_ended()  # the messages before it are valid
                self.connection.close(CloseCode.UNSUPPORTED_DATA)
                return
            self.handle(message)
        self.burst_ended()
