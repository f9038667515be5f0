"""Keeps a number of worker processes running: starts again whoever dies, after a pause that grows."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STEADY: Final = 10.0
"""Seconds. A worker that dies is started again after `FIRST_PAUSE`, twice as much each time it dies again,
and at most `LONGEST_PAUSE`; one that ran for `STEADY` is forgiven."""


@dataclass
class Worker:
    """One of the processes, whichever it is at the time; `pid` is None while none runs."""

    number: int
    pid: int | None = None
    begun: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0
    code: int = 0


class WorkerProcesses:
    """Keeps a number of workers running. Runs on: the main thread, of which there are no others."""

    def __init__(
        self, count: int, spawn: Callable[[int], int], *, clock: Callable[[], float] = monotonic
    ) -> None:
        """`spawn` starts the worker of a number and returns its pid."""
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._spawn = spawn
        self._clock = clock
        self._stopping = False

    @property
    def running(self) -> list[Worker]:
        """The workers that have a process now."""
        return [worker for worker in self._workers if worker.pid is not None]

    @property
    def codes(self) -> list[int]:
        """How each worker ended when it last did; negative for a signal."""
        return [worker.code for worker in self._workers]

    def start_due(self) -> float | None:
        """Starts whoever is to run and does not; seconds until the next one is due, None where none waits."""
        waiting = [worker for worker in self._workers if worker.pid is None and not self._stopping]
        for worker in [worker for worker in waiting if worker.due <= self._clock()]:
            worker.pid = self._spawn(worker.number)
            worker.begun = self._clock()
            log.info("worker %d is process %d", worker.number, worker.pid)
        return min((worker.due - self._clock() for worker in waiting if worker.pid is None), default=None)

    def bury(self) -> list[Worker]:
        """Takes note of those that have ended, and returns them."""
        ended = []
        for worker in self.running:
            assert worker.pid is not None
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))
                ended.append(worker)
        return ended

    def stop(self, number: int) -> None:
        """Sends a signal to all, and starts nobody any more."""
        self._stopping = True
        self.tell(number)

    def tell(self, number: int) -> None:
        """Sends a signal to all."""
        for worker in self.running:
            assert worker.pid is not None
            os.kill(worker.pid, number)  # ours until it is buried, so the number is nobody else's

    def _ended(self, worker: Worker, code: int) -> None:
        level = logging.DEBUG if self._stopping else logging.ERROR
        log.log(level, "worker %d (process %s) ended with code %d", worker.number, worker.pid, code)
        if self._clock() - worker.begun >= STEADY:
            worker.pause = FIRST_PAUSE
        worker.due = self._clock() + worker.pause
        worker.pause = min(LONGEST_PAUSE, 2 * worker.pause)
        worker.pid, worker.code = None, code
