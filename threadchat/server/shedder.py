"""Bounds what waits for all connections together: where it is too much, those who hold the most of it go."""

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
    """Looks at all outboxes now and then, as long as there are connections.

    What a look adds up first is an upper bound: a frame that waits for many counts once for each. Only where
    that is above the limit are frames told apart, and those connections let go (3008, without a Close, for
    which there is no room) that free the most. One message to a thousand people who read is one frame, and
    harms nobody.
    """

    def __init__(self, connections: Callable[[], list[Connection]], pinger: Pinger, most: int) -> None:
        """`most` bytes may wait in all."""
        self._connections = connections
        self._most = most
        self.rounds = Periodic(self.look, pinger.call_later)
        self.watch = self.rounds.watch  # told that there is a connection; on any thread

    def look(self) -> float | None:
        """Lets go whom it has to; the seconds until the next look. Runs on: the pinger's thread."""
        connections = self._connections()
        waiting = sum([it.outbox.bytes_waiting + len(it.outbox.unsent) for it in connections])
        if waiting > self._most:
            self._shed(connections)
        return rest_for(waiting, self._most) if connections else None

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
