"""A few threads for work that may block: catching up, and answers to other nodes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

THREADS: Final = 32
MAX_WAITING: Final = 1 << 16
"""The maximum number of waiting jobs. Each room has at most one, so in practice only answers can fill the
queue.
"""


class WorkerPool:
    """Starts threads when there is work, and ends them when there was none for a while.

    `_changed` guards everything here and is a leaf.
    """

    def __init__(self, threads: int = THREADS, *, linger: float = 1.0) -> None:
        self._threads = threads
        self._linger = linger
        self._changed = threading.Condition(threading.Lock())
        self._work: deque[Callable[[], None]] = deque()
        self._running: set[threading.Thread] = set()
        self._idle = 0
        self._stopped = False
        self._numbers = 0

    def submit(self, work: Callable[[], None]) -> bool:
        """Queues work. Returns False if nobody will do it. Runs on: any thread.

        That is so after `stop`, if too much is waiting, or if there is no thread and none can be started.
        """
        with self._changed:
            if self._stopped or len(self._work) >= MAX_WAITING:
                return False
            self._work.append(work)
            if len(self._work) > self._idle and len(self._running) < self._threads:
                self._numbers += 1
                name = f"redis-worker-{self._numbers}"
                thread = threading.Thread(target=self.run, name=name, daemon=True)
                self._running.add(thread)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads
                    self._running.discard(thread)
                    if not self._running:
                        self._work.pop()  # otherwise a running thread will do it
                        return False
            else:
                self._changed.notify()
            return True

    def run(self) -> None:
        """Does one job after another. Runs on: a worker's thread."""
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:
                log.exception("%s failed", threading.current_thread().name)

    def stop(self) -> None:
        """Ends the threads and drops waiting work. Runs on: any other thread."""
        with self._changed:
            self._stopped = True
            self._work.clear()
            self._changed.notify_all()
            running = list(self._running)
        for thread in running:
            thread.join()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._work or self._stopped, self._linger)
            self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._running.discard(threading.current_thread())
            return None
