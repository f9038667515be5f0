"""Bounds the bytes that wait in all outboxes together, by closing the connections that hold the most."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from threadchat.errors import CloseCode
from threadchat.wire.connection import Connection
from threadchat.wire.pinger import Pinger
from threadchat.wire.threads.periodic import Periodic, rest_for
from threadchat.wire.threads.reports import REPORTS

log = logging.getLogger(__name__)


class Shedder:
    """Checks all outboxes periodically while there are connections.

    Connections share the frame of a broadcast. A check first adds up an upper bound, in which a shared frame
    counts once for each outbox. Only if that is above the limit does it count each frame once. If the sum is
    still too large, it aborts the connections that free the most memory (3008, without a Close frame, for
    which their outbox has no space). A message to a thousand people who read it is a single frame.
    """

    def __init__(self, connections: Callable[[], list[Connection]], pinger: Pinger, limit: int) -> None:
        """`limit` is in bytes, for all outboxes together."""
        self._connections = connections
        self._limit = limit
        self.rounds = Periodic(self.look, pinger.call_later)
        self.watch = self.rounds.watch  # called when there is a connection; on any thread

    def look(self) -> float | None:
        """Checks once; returns the seconds until the next check. Runs on: the pinger's thread."""
        connections = self._connections()
        outboxes = [connection.outbox for connection in connections]
        waiting = sum([outbox.bytes_waiting + len(outbox.unsent) for outbox in outboxes])
        if waiting > self._limit:
            self._shed(connections)
        return rest_for(waiting, self._limit) if connections else None

    def _shed(self, connections: list[Connection]) -> None:
        held = [(connection, connection.outbox.buffers()) for connection in connections]
        holders = Counter(id(frame) for _, frames in held for frame in frames)
        size = {id(frame): len(frame) for _, frames in held for frame in frames}
        total = sum(size.values())
        if total <= self._limit:
            return
        shares = [sum(len(frame) / holders[id(frame)] for frame in frames) for _, frames in held]
        gone = 0
        for _, (connection, frames) in sorted(
            zip(shares, held, strict=True), key=lambda item: item[0], reverse=True
        ):
            if total <= self._limit:
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
        what = "more than %d bytes waited (queued_bytes): %d connections were aborted"
        REPORTS.log(log, logging.WARNING, what, self._limit, gone)
