"""Wakes the supervisor on signals and when a worker listens, and ends workers whose supervisor is gone."""

from __future__ import annotations

import os
import selectors
import signal
from typing import Final

from threadchat.cli.serve import REQUESTS, STOPS, heeded

OPEN: Final = 0
"""A wake-up that is not a signal: a worker has begun to listen."""


class Wakeups:
    """Wakes the supervisor through a pipe, on signals and when a worker begins to listen.

    A second pipe leads to the workers. Nothing is ever written to it: a worker reads its end when the
    supervisor is gone.
    """

    def __enter__(self) -> Wakeups:
        self._heard, self._told = os.pipe()
        self._lifeline, self._held = os.pipe()
        for end in (self._heard, self._told):
            os.set_blocking(end, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._heard, selectors.EVENT_READ)
        # Ignored signals stay ignored, except SIGCHLD: a process that ignores it cannot wait for children.
        numbers = (*heeded(*STOPS, *REQUESTS), signal.SIGCHLD)
        self._former = {number: signal.signal(number, _note) for number in numbers}
        self._former_wakeup = signal.set_wakeup_fd(self._told)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._selector.close()
        for end in (self._heard, self._told, self._lifeline, self._held):
            os.close(end)

    def wait(self, timeout: float | None) -> bytes:
        """Waits for wake-ups, which are signal numbers or OPEN; empty after a timeout."""
        return os.read(self._heard, 4096) if self._selector.select(timeout) else b""

    # In a worker

    def leave_to_parent(self) -> None:
        """Releases what only the supervisor uses. Until the worker serves, `REQUESTS` do nothing."""
        signal.set_wakeup_fd(-1)
        # SIGTERM even if the supervisor ignores it, because it stops its workers with SIGTERM.
        for number in ({*self._former} - REQUESTS) | {signal.SIGTERM}:
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        os.close(self._heard)
        os.close(self._held)

    def tell_parent(self) -> None:
        """Reports that this worker listens."""
        os.write(self._told, bytes([OPEN]))

    def end_with_parent(self) -> None:
        """Stops this process with SIGTERM once the supervisor is gone. Runs on: the lifeline thread."""
        os.read(self._lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _note(number: int, frame: object) -> None:
    """Does nothing: Python has already written the signal's number into the pipe."""
