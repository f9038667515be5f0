"""Answers the peer's pings; if there are too many at once, only the last."""

from __future__ import annotations

from collections.abc import Callable

from threadchat.wire.priority_queue import MAX_PONGS
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Pong


class Pongs:
    """The pings of one read that are still to be answered. Runs on: the reader thread."""

    __slots__ = ("_encode", "_pings")

    def __init__(self, encode: frames.Encode) -> None:
        self._encode = encode
        self._pings: list[bytes] = []

    def note(self, payload: bytes) -> None:
        """Notes that a ping arrived."""
        del self._pings[MAX_PONGS:]
        self._pings.append(payload)

    def answer(self, put: Callable[[Pong], None]) -> None:
        """Puts a pong for each noted ping; if there are more than `MAX_PONGS`, only for the last.

        An endpoint may answer only the most recent ping (RFC 6455 5.5.3).
        """
        pings, self._pings = self._pings, []
        for payload in pings if len(pings) <= MAX_PONGS else pings[-1:]:
            put(Pong(payload, self._encode))
