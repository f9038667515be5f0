"""Lets newcomers compute one at a time, so that a storm of them does not hold up those who are connected."""

from __future__ import annotations

from threading import Semaphore
from typing import Final

from threadchat.wire.turnstile import Turnstile

PATIENCE: Final = 0.05
"""Seconds for which a newcomer waits at most for what was to be written before it came. A server that is
always full lets twenty newcomers a second in, or more."""


class Throttle:
    """Goes around a part of a handshake that computes and does not block: `with throttle:`.

    The interpreter is shared evenly by the threads that want it. If ten thousand newcomers want it at once,
    the few threads that carry messages get next to nothing, and a message takes seconds. So a newcomer waits
    until the one before it is through, and until the writers that wait in `line` have had their turn. No time
    is lost by that: the handshakes take as long together. Runs on: any thread.
    """

    def __init__(self, line: Turnstile | None = None) -> None:
        self._line = line
        self._turn = Semaphore()  # it wakes those who wait in their order, which a lock does not

    def __enter__(self) -> None:
        self._turn.acquire()
        try:
            if self._line is not None and self._line.holders:
                self._line.ticket().wait(PATIENCE)
        except BaseException:
            self._turn.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._turn.release()

    def leave_behind(self) -> None:
        """Lets everybody in again in a forked process. Runs on: its only thread, first."""
        self._turn = Semaphore()
