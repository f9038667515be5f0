"""Pings one peer at intervals, measures how long its pongs take, and notices when it is silent."""

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
    """The pings that nobody asked for, of one connection.

    They are empty, and no others are, see Probes: so an empty pong answers them. One that stays unanswered
    is repeated, and its time counts from the first.
    """

    __slots__ = (
        "_asked_at",
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
        self._asked_at: float | None = None  # when the ping that waits for its pong was put
        self._held = False  # whether that one had to wait for the peer to take what came before it
        self.reading_since: float | None = None
        """Since when the reader waits for the peer; None while it does not. The reader thread sets it."""

    def start(self, limits: Limits, share: float, on_silence: Callable[[], None]) -> None:
        """Sets the deadlines; the first ping after a `share` of the interval. Runs on: any thread, once.

        `on_silence` is called, on the pinger's thread, when nothing came for `pong_timeout`. Only the
        deadlines refer to it: where they are closed, nothing here keeps a connection alive.
        """
        interval, timeout = limits.ping_interval, limits.pong_timeout
        if interval:
            self._deadlines.set("ping", share * interval, partial(self._ping_is_due, interval))
            if timeout:
                self._deadlines.set("pong", timeout, partial(self._pong_is_due, timeout, on_silence))

    def answered(self) -> None:
        """An empty pong came. Runs on: the reader thread."""
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is not None:
            self._counters.round_trip = self._clock() - asked_at

    # The pinger's thread

    def _ping_is_due(self, interval: float) -> None:
        if self._asked_at is None:
            self._asked_at, self._outbox.ping_left_at, self._held = self._clock(), None, False
        self._outbox.put(Ping(encode=self._encode))
        self._deadlines.set("ping", interval, partial(self._ping_is_due, interval))

    def _pong_is_due(self, timeout: float, on_silence: Callable[[], None]) -> None:
        """Silence counts only while the reader waits, and while this process runs.

        A handler that blocks is not the peer's fault, nor is a process that was stopped, or a computer that
        slept. And nobody is silent who was not pinged: a ping may wait for the end of a large message, and
        the writer sees to a peer that does not take that.
        """
        since, left_at = self.reading_since, self._outbox.ping_left_at
        held = left_at is None and self._outbox.state is State.BLOCKED
        self._held = self._held or held
        quiet = 0.0
        if since is not None and not held:
            asked_at = left_at if self._held and left_at is not None else since
            quiet = self._clock() - max(since, self._deadlines.resumed_at, asked_at)
        if quiet >= timeout and self._asked_at is not None:
            on_silence()
        else:
            left = timeout - quiet if quiet < timeout else timeout
            self._deadlines.set("pong", left, partial(self._pong_is_due, timeout, on_silence))
