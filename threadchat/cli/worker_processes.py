"""Keeps a number of child processes running: restarts one that ended, after a growing pause."""

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
"""Seconds. A worker that ended is restarted after `FIRST_PAUSE`. The pause doubles each time, up to
`LONGEST_PAUSE`, and starts over for a worker that ran for `STEADY`."""


@dataclass
class Worker:
    """One of the workers and its present process; `pid` is None while none runs."""

    number: int
    pid: int | None = None
    begun: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0
    code: int = 0


class WorkerProcesses:
    """Keeps a number of workers running. Runs on: the main thread, the only one."""

    def __init__(
        self,
        count: int,
        spawn: Callable[[int], int],
        *,
        name: str = "worker",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`spawn` starts the worker with the given number and returns its pid. `name` is for the log."""
        self._name = name
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._spawn = spawn
        self._clock = clock
        self._stopping = False

    @property
    def running(self) -> list[Worker]:
        """The workers that have a process."""
        return [worker for worker in self._workers if worker.pid is not None]

    @property
    def codes(self) -> list[int]:
        """The last exit code of each worker; negative if a signal ended it."""
        return [worker.code for worker in self._workers]

    def start_due(self) -> float | None:
        """Starts the workers whose pause is over; returns the seconds until the next one is due, or None."""
        waiting = [worker for worker in self._workers if worker.pid is None and not self._stopping]
        for worker in [worker for worker in waiting if worker.due <= self._clock()]:
            worker.pid = self._spawn(worker.number)
            worker.begun = self._clock()
            log.info("%s %d is process %d", self._name, worker.number, worker.pid)
        return min((worker.due - self._clock() for worker in waiting if worker.pid is None), default=None)

    def collect_ended(self) -> list[Worker]:
        """Waits for the processes that have ended, without blocking; returns their workers."""
        ended = []
        for worker in self.running:
            assert worker.pid is not None
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))
                ended.append(worker)
        return ended

    def stop(self, number: int) -> None:
        """Sends a signal to all workers, and restarts none from now on."""
        self._stopping = True
        self.signal(number)

    def signal(self, number: int) -> None:
        """Sends a signal to all workers."""
        for worker in self.running:
            assert worker.pid is not None
            os.kill(worker.pid, number)  # the pid cannot be reused before `collect_ended` has waited for it

    def _ended(self, worker: Worker, code: int) -> None:
        level = logging.DEBUG if self._stopping else logging.ERROR
        told = self._name, worker.number, worker.pid, code
        log.log(level, "%s %d (process %s) ended with code %d", *told)
        if self._clock() - worker.begun >= STEADY:
            worker.pause = FIRST_PAUSE
        worker.due = self._clock() + worker.pause
        worker.pause = min(LONGEST_PAUSE, 2 * worker.pause)
        worker.pid, worker.code = None, code
