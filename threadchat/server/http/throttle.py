"""Lets few newcomers compute at a time, so that a storm of them does not hold up those who are connected."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Final

from threadchat.wire.turnstile import Turnstile

AT_ONCE: Final = 4
"""Newcomers that compute at a time. With one, the time that a busy machine takes to wake the next thread
would be lost with each."""
FEW: Final = 16
"""Writers in the line for which a newcomer does not wait: to wait costs more than their turns take."""
PATIENCE: Final = 0.02
"""Seconds for which a newcomer waits at most for what was to be written before it came. A server that always
has something to write lets two hundred newcomers in a second, or more."""


class Throttle:
    """Goes around a part of a handshake that computes and does not block: `with throttle:`.

    The interpreter is shared evenly by the threads that want it. If ten thousand newcomers want it at once,
    the few threads that carry messages get next to nothing, and a message takes seconds. So newcomers wait
    until some before them are through, and until the writers that wait in `line` have had their turn, where
    these are many. Runs on: any thread.
    """

    def __init__(self, line: Turnstile | None = None) -> None:
        self._line = line
        self._permits: SimpleQueue[None] = SimpleQueue()  # in C, where a Semaphore is written in Python
        for _ in range(AT_ONCE):
            self._permits.put(None)

    def __enter__(self) -> None:
        self._permits.get()
        try:
            if self._line is not None and self._line.length > FEW:
                self._line.ticket().wait(PATIENCE)
        except BaseException:
            self._permits.put(None)
            raise

    def __exit__(self, *_: object) -> None:
        self._permits.put(None)

    def leave_behind(self) -> None:
        """Lets everybody in again in a forked process. Runs on: its only thread, first."""
        self.__init__(self._line)  # type: ignore[misc]
