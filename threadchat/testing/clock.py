"""A clock that stands still until a test lets time pass, and the deadlines that go off meanwhile."""

from __future__ import annotations

import math

from threadchat.wire.pinger import Pinger


class FakeClock:
    """Time that passes only in `advance`; to be given wherever threadchat takes `clock=`.

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

    Reading runs on any thread; `advance` and `pinger` on the test's own.
    """

    def __init__(self, now: float = 1000.0) -> None:
        """`now`: where it starts, in seconds; as with the real one, the number means nothing."""
        self.now = now
        self._pingers: list[Pinger] = []

    def __call__(self) -> float:
        """The time in seconds, like `time.monotonic`."""
        return self.now

    monotonic = __call__

    def pinger(self) -> Pinger:
        """A pinger on this clock, without a thread: its deadlines go off in `advance`."""
        pinger = Pinger(self)
        pinger.stop()  # so that it never starts one
        self._pingers.append(pinger)
        return pinger

    def advance(self, seconds: float) -> None:
        """Lets time pass. Deadlines of its pingers go off on this thread, in order, each at its own time.

        So a deadline that sets itself anew, such as a ping, goes off as often as it would have. On
        return all that was due has run; what it set in motion on other threads may go on.
        Raises ValueError for a negative number: this clock is monotonic too.
        """
        if not seconds >= 0:
            raise ValueError(f"a monotonic clock never goes back; advance by 0 or more, not by {seconds}")
        end = self.now + seconds
        while self.now + (step := self._run_due()) <= end:
            self.now += step
        self.now = end

    def _run_due(self) -> float:
        """Runs what is due; the seconds until something is again."""
        waits = [pinger.run_due() for pinger in self._pingers]
        return min((wait for wait in waits if wait is not None), default=math.inf)

    def __repr__(self) -> str:
        return f"<FakeClock {self.now:g}>"
