"""Bounds what waits for all connections together: where it is too much, those who hold the most of it go."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

from threadchat.errors import CloseCode
from threadchat.wire.connection import Connection
from threadchat.wire.pinger import Alarm, Pinger
from threadchat.wire.reports import REPORTS

log = logging.getLogger(__name__)

CALM: Final = 1.0
"""Seconds between two looks."""
TENSE: Final = 0.1
"""The same once what waits is more than half of what may."""
SHARE: Final = 0.02
"""Of the time, that looking may take; a look that took long is followed by a longer rest."""


class Shedder:
    """Looks at all outboxes now and then, as long as there are connections.

    What a look adds up first is an upper bound: a frame that waits for many counts once for each. Only where
    that is above the limit are frames told apart, and those connections let go (3008, without a Close, for
    which there is no room) that free the most. One message to a thousand people who read is one frame, and
    harms nobody.

    `_lock` guards `_alarm`: set while there is a next look.
    """

    def __init__(self, connections: Callable[[], list[Connection]], pinger: Pinger, most: int) -> None:
        """`most` bytes may wait in all."""
        self._connections = connections
        self._pinger = pinger
        self._most = most
        self._lock = threading.Lock()
        self._alarm: Alarm | None = None

    def watch(self) -> None:
        """Told that there is a connection. Runs on: any thread."""
        if self._alarm is None:
            with self._lock:
                if self._alarm is None:
                    self._alarm = self._pinger.call_later(CALM, self.look)

    def look(self) -> None:
        """Looks once, and lets go whom it has to. Runs on: the pinger's thread."""
        with self._lock:
            self._alarm = None  # first: who comes from here on sees to the next look
        began = monotonic()
        connections = self._connections()
        waiting = sum([it.outbox.bytes_waiting + len(it.outbox.unsent) for it in connections])
        if waiting > self._most:
            self._shed(connections)
        if connections:
            rest = CALM if waiting * 2 <= self._most else TENSE
            rest = max(rest, (monotonic() - began) / SHARE)
            with self._lock:
                if self._alarm is None:
                    self._alarm = self._pinger.call_later(rest, self.look)

    def leave_behind(self) -> None:
        """Begins anew: the connections are the parent's. Runs on: the only thread of a forked process."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._lock = threading.Lock()
        self._alarm = None

    def _shed(self, connections: list[Connection]) -> None:
        held = [(it, it.outbox.buffers()) for it in connections]
        holders = Counter(id(frame) for _, frames in held for frame in frames)
        size = {id(frame): len(frame) for _, frames in held for frame in frames}
        total = sum(size.values())
        if total <= self._most:
            return
        shares = [sum(len(frame) / holders[id(frame)] for frame in frames) for _, frames in held]
        gone = 0
        for _, (connection, frames) in sorted(
            zip(shares, held, strict=True), key=lambda item: item[0], reverse=True
        ):
            if total <= self._most:
                break
            waited = sum(map(len, frames))
            connection.abort(
                CloseCode.SLOW, f"slow: {waited} bytes waited, and too many in all (queued_bytes)"
            )
            gone += 1
            for frame in frames:
                holders[id(frame)] -= 1
                if not holders[id(frame)]:
                    total -= len(frame)
        what = "more than %d bytes waited (queued_bytes): %d connections were let go"
        REPORTS.log(log, logging.WARNING, what, self._most, gone)
