"""A few threads for work that may block; they start when there is work and end when there is none."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

LINGER: Final = 10.0
"""Seconds that an idle thread waits for work before it ends."""


class WorkerPool:
    """At most `threads` threads, called `name-1` and so on, and at most `max_waiting` waiting jobs.

    `_changed` guards everything here; it is a leaf. Every method may be called from any thread.
    """

    def __init__(self, name: str, threads: int, max_waiting: int, *, linger: float = LINGER) -> None:
        self._name = name
        self._threads = threads
        self._max_waiting = max_waiting
        self._linger = linger
        self.leave_behind()

    def leave_behind(self) -> None:
        """Starts empty: threads and work are the parent's. Runs on: the only thread of a forked process."""
        self._changed = threading.Condition(threading.Lock())
        self._work: deque[Callable[[], object]] = deque()
        self._running: set[threading.Thread] = set()
        self._idle = 0
        self._stopped = False
        self._numbers = 0

    def submit(self, work: Callable[[], object]) -> bool:
        """Queues `work`; returns False if too much waits, after `stop`, or if no thread can start."""
        with self._changed:
            if self._stopped or len(self._work) >= self._max_waiting:
                return False
            self._work.append(work)
            self._changed.notify()
            if len(self._work) > self._idle and len(self._running) < self._threads:
                return self._start_locked()
            return True

    def stop(self, *, wait: bool = False) -> None:
        """Refuses new work and drops the waiting work. Running work continues on its daemon threads.

        With `wait`, returns once it has ended; then a thread of the pool must not call this.
        """
        with self._changed:
            self._stopped = True
            self._work.clear()
            self._changed.notify_all()
            running = list(self._running) if wait else []
        for thread in running:
            thread.join()

    def run(self) -> None:
        """Runs one piece of work after the other. Runs on: a thread of the pool."""
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:
                log.exception("%s failed", threading.current_thread().name)
            del work  # an idle thread keeps nothing of what it ran: a call's work refers to its session

    def _start_locked(self) -> bool:
        self._numbers += 1
        thread = threading.Thread(target=self.run, name=f"{self._name}-{self._numbers}", daemon=True)
        self._running.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            self._running.discard(thread)
            log.error("%s cannot start: %s", thread.name, error)
            if not self._running:
                self._work.pop()
                return False
        return True

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._work or self._stopped, self._linger)
            self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._running.discard(threading.current_thread())
            return None
