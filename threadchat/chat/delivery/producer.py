"""Feeds one sink from the logs of all rooms in which it is behind, in turn, on one thread."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic, sleep, thread_time
from typing import Final, Protocol

log = logging.getLogger(__name__)

STALL_POLL: Final = 0.01
"""Seconds between checks by a publisher that waits for a producer: a producer may itself be waiting for its
peer.
"""


class Served(Protocol):
    """A subscription that is behind, as its producer sees it."""

    def feed_step(self) -> bool:
        """Feeds the next events of the room's log. Returns whether there are more.

        Runs on: the producer's thread.
        """

    def no_thread(self) -> None:
        """Called if no thread could be started.

        Runs on: the thread that called `serve`, with no lock held.
        """


class Pace(Protocol):
    """The budget of the person whom a producer serves: how many threads, and how much of their time."""

    def enter(self, start: Callable[[], object]) -> bool:
        """Whether a thread may start now; otherwise `start` is called later. `leave` must follow that thread.

        Runs on: any thread that holds no room's lock.
        """

    def spend(self, seconds: float) -> float:
        """Takes CPU time from the budget. Returns the seconds to wait for more.

        Runs on: the producer's thread.
        """

    def leave(self) -> None:
        """Called when the thread has ended its work. May start another one.

        Runs on: the producer's thread, or the one that could not start it.
        """


class Unpaced:
    """A budget without a limit."""

    def enter(self, start: Callable[[], object]) -> bool:
        """See Pace."""
        return True

    def spend(self, seconds: float) -> float:
        """See Pace."""
        return 0.0

    def leave(self) -> None:
        """See Pace."""


UNPACED: Final = Unpaced()
LONGEST_PAUSE: Final = 0.25
"""Seconds after which a producer that waits for its budget looks whether there is still somebody to serve."""


class Producer:
    """Serves the subscriptions of one sink that are behind, round robin, one step of the log at a time.

    Its thread starts with the first subscription and ends when none is left. If `pace` has no thread or no
    time left, the producer is `resting`, and publishers do not wait for it. `_lock` guards `_waiting` and
    `_running` and is a leaf.
    """

    __slots__ = ("_failing", "_lock", "_name", "_pace", "_running", "_waiting", "resting")

    def __init__(self, name: str, pace: Pace = UNPACED) -> None:
        self.resting = False
        self._name = name
        self._pace = pace
        self._failing = False  # no thread could be started, and that was logged
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Served, None] | None = None  # next one first; None if no thread runs
        self._running = False  # the thread has begun

    def serve(self, served: Served) -> None:
        """Adds a subscription to serve. Starts the thread if it does not run.

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
                self.resting = not self._pace.enter(self._start)
                if not self.resting:
                    self._start()
        except BaseException:  # from a signal handler, at any point: nobody else would start the thread
            if starts:
                self._start()
            raise

    def dismiss(self, served: Served) -> None:
        """Removes a subscription that has ended. Runs on: any thread."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.pop(served, None)

    def run(self) -> None:
        """Serves subscriptions until none is left. Runs on: the producer's thread."""
        with self._lock:
            if self._running or self._waiting is None:  # an interrupted start was repeated
                return
            self._running = True
        try:
            while (served := self._next()) is not None:
                self.resting = False
                more, begun = True, thread_time()
                try:
                    more = served.feed_step()
                finally:
                    if more:
                        self._put_back(served)
                pause = self._pace.spend(thread_time() - begun)
                while pause and self._waiting:
                    self.resting = True
                    sleep(min(pause, LONGEST_PAUSE))
                    pause = self._pace.spend(0.0)
        except BaseException:
            self._running = False
            raise
        finally:
            self._pace.leave()

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
            self._pace.leave()
            for served in waiting:
                served.no_thread()
        else:
            self._failing = False

    def _next(self) -> Served | None:
        """Takes out the next subscription, so that `serve` can put it in again while it is being served."""
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
    """A sink whose peer may stop reading for a while."""

    @property
    def stalled(self) -> bool: ...


class Step:
    """A publisher's ticket for a subscription that is falling behind.

    It passes with the next step of the producer. It also passes while the producer waits for its peer or for
    its budget, because nobody waits for a slow peer, or for one who asks for too much.
    """

    __slots__ = ("_producer", "_sink", "_taken")

    def __init__(self, sink: Stalls, producer: Producer) -> None:
        self._sink = sink
        self._producer = producer
        self._taken = threading.Event()

    def take(self) -> None:
        """Lets publishers go on. Runs on: the producer's thread."""
        self._taken.set()

    @property
    def passed(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._taken.is_set() or self._sink.stalled or self._producer.resting

    def begin(self) -> None:
        """Does nothing: the producer is running already. Runs on: publishers."""

    def wait(self, timeout: float) -> None:
        """Waits for the step, at most `timeout` seconds. After that it counts as passed.

        Runs on: publishers.
        """
        deadline = monotonic() + timeout
        while not self.passed and (remaining := deadline - monotonic()) > 0:
            self._taken.wait(min(remaining, STALL_POLL))
        self._taken.set()
