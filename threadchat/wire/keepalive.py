"""Pings one peer at intervals, measures the round trip, and notices when the peer is silent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.limits import Limits
from threadchat.wire.outbox import Outbox, State
from threadchat.wire.pinger import Deadlines
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Ping


class Keepalive:
    """The automatic pings of one connection.

    Their payload is empty, so an empty pong answers them. An unanswered ping is repeated, and the round trip
    counts from the first.
    """

    __slots__ = (
        "_asked_at",
        "_behind",
        "_clock",
        "_counters",
        "_deadlines",
        "_encode",
        "_held",
        "_outbox",
        "reading_since",
    )

    def __init__(
        self,
        deadlines: Deadlines,
        outbox: Outbox,
        encode: frames.Encode,
        counters: ConnectionCounters,
        clock: Callable[[], float],
    ) -> None:
        self._deadlines = deadlines
        self._outbox = outbox
        self._encode = encode
        self._counters = counters
        self._clock = clock
        self._asked_at: float | None = None  # when the first unanswered ping was put
        self._held = False  # whether that ping had to wait for the peer to take what came before it
        self._behind = False  # whether the reader was, when silence was looked for last
        self.reading_since: float | None = None
        """When the reader began to wait for the peer; None while it does not. The reader thread sets it."""

    def start(
        self,
        limits: Limits,
        share: float,
        on_silence: Callable[[], None],
        is_behind: Callable[[], bool] = bool,
    ) -> None:
        """Sets the deadlines. The first ping is due after `share`, 0 to 1, of the interval.

        `on_silence` is called on the pinger's thread when the peer was silent for `pong_timeout`. Where the
        reader `is_behind`, with a pong perhaps, it gets that time once more. Only the deadlines refer to it,
        so once they are closed nothing here keeps the connection in memory. Runs on: any thread, once.
        """
        interval, timeout = limits.ping_interval, limits.pong_timeout
        if interval:
            self._deadlines.set("ping", share * interval, partial(self._ping_is_due, interval))
            if timeout:
                self._look_again(timeout, timeout, on_silence, is_behind)

    def answered(self) -> None:
        """Notes that an empty pong arrived. Runs on: the reader thread."""
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is not None:
            self._counters.round_trip = self._clock() - asked_at

    @property
    def asked_at(self) -> float | None:
        """When the first unanswered ping was put, by the clock; None without one. Runs on: any thread."""
        return self._asked_at

    # The pinger's thread

    def _ping_is_due(self, interval: float) -> None:
        if self._asked_at is None:
            self._asked_at, self._outbox.ping_left_at, self._held = self._clock(), None, False
        else:
            self._counters.pings_unanswered += 1
        self._outbox.put(Ping(encode=self._encode))
        self._deadlines.set("ping", interval, partial(self._ping_is_due, interval))

    def _look_again(
        self, seconds: float, timeout: float, on_silence: Callable[[], None], is_behind: Callable[[], bool]
    ) -> None:
        self._deadlines.set("pong", seconds, partial(self._pong_is_due, timeout, on_silence, is_behind))

    def _pong_is_due(
        self, timeout: float, on_silence: Callable[[], None], is_behind: Callable[[], bool]
    ) -> None:
        """Checks for silence, which counts only after a ping, while the reader waits and this process runs.

        A blocking handler, a stopped process or a sleeping computer is not the peer's fault, nor is a reader
        that had no turn to take the pong. A ping may wait for the end of a large message; the writer closes
        the connection if the peer does not take that.
        """
        since, left_at = self.reading_since, self._outbox.ping_left_at
        held = left_at is None and self._outbox.state is State.BLOCKED
        self._held = self._held or held
        quiet = 0.0
        if since is not None and not held:
            asked_at = left_at if self._held and left_at is not None else since
            quiet = self._clock() - max(since, self._deadlines.resumed_at, asked_at)
        silent = quiet >= timeout and self._asked_at is not None
        self._behind = silent and not self._behind and is_behind()
        if silent and not self._behind:
            on_silence()
        else:
            left = timeout - quiet if quiet < timeout else timeout
            self._look_again(left, timeout, on_silence, is_behind)
