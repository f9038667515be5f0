"""Pings that somebody waits for, each until its pong or that of a later one."""

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
"""Pings of one connection that wait for their pong; then the next is refused."""

OnPong = Callable[[float], None]


class UserPings:
    """The unanswered pings of one connection, in the order in which they were put.

    `_lock` guards `_sent`, and is held while a ping is put, so that its order is the wire's. An
    outbox's and the turnstile's locks are acquired under it, nothing else.
    """

    __slots__ = ("_clock", "_counters", "_lock", "_number", "_sent")

    def __init__(self, number: int, clock: Callable[[], float], counters: ConnectionCounters) -> None:
        self._number = number
        self._clock = clock
        self._counters = counters
        self._lock = threading.Lock()
        self._sent: dict[bytes, tuple[float, OnPong | None]] = {}

    def ask(self, payload: bytes | None, on_pong: OnPong | None, put: Callable[[bytes], None]) -> None:
        """Notes a ping and has it put. Raises ValueError and TooManyPings. Runs on: any thread.

        One that waits already would be taken for its twin. An empty one is answered by the keepalive's pong
        too.
        """
        if payload is not None and len(payload) > frames.MAX_CONTROL:
            raise ValueError(
                f"a ping's payload must be at most {frames.MAX_CONTROL} bytes, not {len(payload)}"
            )
        with self._lock:
            if payload is None:
                payload = self._fresh_locked()
            elif payload in self._sent:
                raise ValueError(f"a ping with the payload {payload!r} waits for its pong already")
            if len(self._sent) >= MAX_UNANSWERED:
                raise TooManyPings(f"{MAX_UNANSWERED} pings are unanswered; wait for a pong first")
            self._sent[payload] = self._clock(), on_pong
            put(payload)

    def answer(self, payload: bytes) -> None:
        """A pong came: calls back for the ping that it answers and all before it (RFC 6455 5.5.3).

        One that nobody waits for answers none. Runs on: the reader thread.
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
        """Those that this pong answers, its own last."""
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
