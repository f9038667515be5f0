"""A clock that advances only when a test says so, and runs the deadlines that expire meanwhile."""

from __future__ import annotations

import math

from threadchat.wire.pinger import Pinger


class FakeClock:
    """A clock that advances only in `advance`. Pass it wherever threadchat takes `clock=`.

    ```python
    from threadchat import Hub
    from threadchat.broker.memory import MemoryBroker
    from threadchat.testing import FakeClock

    clock = FakeClock()
    hub = Hub(MemoryBroker(clock=clock), schedule=clock.pinger().call_later, room_ttl=300, clock=clock)
    hub.room("lobby")
    clock.advance(300)  # nobody came for five minutes: the room is forgotten
    assert hub.rooms() == []
    hub.close()
    ```

    Any thread may read the time; call `advance` and `pinger` on the test's own thread.
    """

    def __init__(self, now: float = 1000.0) -> None:
        """`now`: the initial time in seconds; as with the real clock, the number has no meaning."""
        self.now = now
        self._pingers: list[Pinger] = []

    def __call__(self) -> float:
        """The time in seconds, like `time.monotonic`."""
        return self.now

    monotonic = __call__

    def pinger(self) -> Pinger:
        """A pinger that uses this clock and has no thread: its deadlines expire in `advance`."""
        pinger = Pinger(self)
        pinger.stop()  # so that it never starts a thread
        self._pingers.append(pinger)
        return pinger

    def advance(self, seconds: float) -> None:
        """Advances the time. Deadlines of its pingers run on this thread, in order, each at its own time.

        A deadline that sets itself again, such as a ping, runs as often as in reality. When this returns, all
        deadlines that were due have run; work that they started on other threads may continue. Raises
        ValueError for a negative number, because this clock is monotonic.
        """
        if not seconds >= 0:
            raise ValueError(f"a monotonic clock never goes back; advance by 0 or more, not by {seconds}")
        end = self.now + seconds
        while self.now + (step := self._run_due()) <= end:
            self.now += step
        self.now = end

    def _run_due(self) -> float:
        """Runs the deadlines that are due; returns the seconds until the next one."""
        waits = [pinger.run_due() for pinger in self._pingers]
        return min((wait for wait in waits if wait is not None), default=math.inf)

    def __repr__(self) -> str:
        return f"<FakeClock {self.now:g}>"
