"""Pings that were sent by a call of `ping`, until their pong or the pong of a later ping arrives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from os import urandom
from typing import Final

from threadchat.errors import TooManyPings
from threadchat.wire.counters import ConnectionCounters
from threadchat.wire.protocol import frames

log = logging.getLogger(__name__)

MAX_UNANSWERED: Final = 16
"""Unanswered pings that one connection may have; a further one is refused."""

OnPong = Callable[[float], None]


class UserPings:
    """The unanswered pings of one connection, in the order in which they were put.

    `_lock` guards `_sent`. It is held while a ping is put, so that `_sent` has the order of the wire. Only
    an outbox's and the turnstile's locks are acquired while it is held.
    """

    __slots__ = ("_clock", "_counters", "_lock", "_number", "_sent")

    def __init__(self, number: int, clock: Callable[[], float], counters: ConnectionCounters) -> None:
        self._number = number
        self._clock = clock
        self._counters = counters
        self._lock = threading.Lock()
        self._sent: dict[bytes, tuple[float, OnPong | None]] = {}

    def ask(self, payload: bytes | None, on_pong: OnPong | None, put: Callable[[bytes], None]) -> None:
        """Notes a ping and passes its payload to `put`. Raises ValueError and TooManyPings.

        A payload of an unanswered ping is refused, because one pong could not be told from the other. A ping
        without a payload is also answered by the keepalive's pong. Runs on: any thread.
        """
        if payload is not None and len(payload) > frames.MAX_CONTROL:
            raise ValueError(
                f"a ping's payload must be at most {frames.MAX_CONTROL} bytes, not {len(payload)}"
            )
        with self._lock:
            if payload is None:
                payload = self._fresh_locked()
            elif payload in self._sent:
                raise ValueError(f"a ping with the payload {payload!r} is still unanswered")
            if len(self._sent) >= MAX_UNANSWERED:
                raise TooManyPings(f"{MAX_UNANSWERED} pings are unanswered; wait for a pong first")
            self._sent[payload] = self._clock(), on_pong
            put(payload)

    def answer(self, payload: bytes) -> None:
        """Calls `on_pong` for the ping that this pong answers and for all before it (RFC 6455 5.5.3).

        An unsolicited pong is ignored. Runs on: the reader thread.
        """
        answered = self._answered(payload)
        if answered:
            self._counters.round_trip = answered[-1][1]
        for on_pong, seconds in answered:
            try:
                if on_pong is not None:
                    on_pong(seconds)
            except Exception:
                log.exception("connection %d: on_pong failed", self._number)

    def _answered(self, payload: bytes) -> list[tuple[OnPong | None, float]]:
        """Removes and returns the pings that this pong answers, its own last."""
        answered: list[tuple[OnPong | None, float]] = []
        with self._lock:
            if payload not in self._sent:
                return answered
            now = self._clock()
            for sent in list(self._sent):
                since, on_pong = self._sent.pop(sent)
                answered.append((on_pong, now - since))
                if sent == payload:
                    break
        return answered

    def _fresh_locked(self) -> bytes:
        while (payload := urandom(4)) in self._sent:
            pass
        return payload
