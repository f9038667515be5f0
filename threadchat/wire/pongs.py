"""Answers the peer's pings; where they pile up, the last of them."""

from __future__ import annotations

from collections.abc import Callable

from threadchat.wire.priority_queue import MAX_PONGS
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Pong


class Pongs:
    """What is owed to the pings of one read. Runs on: the reader thread."""

    __slots__ = ("_encode", "_pings")

    def __init__(self, encode: frames.Encode) -> None:
        self._encode = encode
        self._pings: list[bytes] = []

    def note(self, payload: bytes) -> None:
        """A ping came."""
        del self._pings[MAX_PONGS:]
        self._pings.append(payload)

    def answer(self, put: Callable[[Pong], None]) -> None:
        """Puts a pong for each ping that was noted; for the last only, of more than pongs may wait.

        See RFC 6455 section 5.5.3: of several pings, the most recent one may be answered alone.
        """
        pings, self._pings = self._pings, []
        for payload in pings if len(pings) <= MAX_PONGS else pings[-1:]:
            put(Pong(payload, self._encode))
