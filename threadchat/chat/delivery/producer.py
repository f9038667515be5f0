"""Feeds one sink from the logs of all the rooms in which it is behind, on one thread, in turn."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from time import monotonic
from typing import Final, Protocol

log = logging.getLogger(__name__)

STALL_POLL: Final = 0.01
"""Seconds after which a publisher that waits for a producer looks whether that one waits for its peer."""


class Served(Protocol):
    """What a producer serves: a subscription that is behind."""

    def feed_step(self) -> bool:
        """Feeds the next events of its room's log; whether there are more. Runs on: the producer."""

    def no_thread(self) -> None:
        """Told that no thread could be started for it. Runs on: whoever asked for it, without a lock."""


class Producer:
    """Serves the subscriptions of one sink that are behind: a step of the log each, round and round.

    Its thread starts with the first of them and ends when none is left. `_lock` guards `_waiting` and
    `_running`; a leaf.
    """

    __slots__ = ("_failing", "_lock", "_name", "_running", "_waiting")

    def __init__(self, name: str) -> None:
        self._name = name
        self._failing = False  # no thread could be started, and the log says so already
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Served, None] | None = None  # the next one first; None: no thread
        self._running = False  # the thread has begun

    def serve(self, served: Served) -> None:
        """Serves one more, on the thread, which starts if there is none.

        Runs on: any thread that holds no room's lock.
        """
        starts = False
        try:
            with self._lock:
                starts = self._waiting is None
                if self._waiting is None:
                    self._waiting = OrderedDict()
                self._waiting[served] = None
            if starts:
                self._start()
        except BaseException:  # of a signal handler, at any point: nobody else would start the thread
            if starts:
                self._start()
            raise

    def dismiss(self, served: Served) -> None:
        """Forgets one that has ended. Runs on: any thread."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.pop(served, None)

    def run(self) -> None:
        """Serves them until none is left. Runs on: the producer's thread."""
        with self._lock:
            if self._running or self._waiting is None:  # an interrupted start was repeated
                return
            self._running = True
        try:
            while (served := self._next()) is not None:
                more = True
                try:
                    more = served.feed_step()
                finally:
                    if more:
                        self._put_back(served)
        except BaseException:
            self._running = False
            raise

    def _start(self) -> None:
        thread = threading.Thread(target=self.run, name=f"producer-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads; it may have some later
            if not self._failing:
                log.error("%s cannot start: %s", thread.name, error)
            self._failing = True
            with self._lock:
                if self._running:
                    return
                waiting, self._waiting = self._waiting or (), None
            for served in waiting:
                served.no_thread()
        else:
            self._failing = False

    def _next(self) -> Served | None:
        """The next one, which is not among those that wait while it is served: it may be put in meanwhile."""
        with self._lock:
            assert self._waiting is not None
            if not self._waiting:
                self._waiting = None
                self._running = False
                return None
            return self._waiting.popitem(last=False)[0]

    def _put_back(self, served: Served) -> None:
        with self._lock:
            assert self._waiting is not None
            self._waiting[served] = None


class Stalls(Protocol):
    """Whose peer may take nothing for a while: a sink."""

    @property
    def stalled(self) -> bool: ...


class Step:
    """A publisher's ticket for one that falls behind: passed with the next step of its producer.

    A producer that waits for its peer holds nobody.
    """

    __slots__ = ("_sink", "_taken")

    def __init__(self, sink: Stalls) -> None:
        self._sink = sink
        self._taken = threading.Event()

    def take(self) -> None:
        """Lets publishers go on. Runs on: the producer."""
        self._taken.set()

    @property
    def passed(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._taken.is_set() or self._sink.stalled

    def begin(self) -> None:
        """Nothing to do: the producer is at work. Runs on: publishers."""

    def wait(self, timeout: float) -> None:
        """Waits for the step, at most `timeout` seconds; then it counts as passed. Runs on: publishers."""
        deadline = monotonic() + timeout
        while not self.passed and (remaining := deadline - monotonic()) > 0:
            self._taken.wait(min(remaining, STALL_POLL))
        self._taken.set()
