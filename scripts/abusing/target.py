"""The server as those see it who abuse it: where it is, how much of each abuse, and who has connected."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from watching import process
from watching.pair import HealthyPair
from watching.process import Held

from abusing.stranger import PATIENCE, Stranger, Unanswered

LOOK_SECONDS = 0.05  # between two looks at what another process does and nothing announces

Answers = Counter[str]
"""How many were answered how: a status, a close code, an error's code, `served`, `reset`, `end`."""


class Target:
    """For one abuse, and one thread. `connections` counts those that it opened.

    `pid` is the server's process; `log` reads what that has logged. `measured`: figures that only a quiet
    machine can promise, by what they are, each with the most that it may be. `calm`: the server's memory
    before the abuse began.
    """

    def __init__(
        self, port: int, pid: int, log: Callable[[], str], pair: HealthyPair, *, quick: bool
    ) -> None:
        self.port = port
        self.pid = pid
        self.log = log
        self.pair = pair
        self.calm = 0
        self.quick = quick
        self.connections = 0
        self.measured: dict[str, tuple[float, float]] = {}
        self._strangers: list[Stranger] = []

    def size(self, full: int, quick: int) -> int:
        """How much of something: much, or in the tests less."""
        return quick if self.quick else full

    def connect(self, *, receive_buffer: int | None = None, source: str = "127.0.0.1") -> Stranger:
        """A new connection, over which nothing was said, from the address `source` of this machine."""
        stranger = Stranger(("127.0.0.1", self.port), receive_buffer, source)
        self.connections += 1
        self._strangers.append(stranger)
        return stranger

    def open(self, *, receive_buffer: int | None = None, more: Sequence[str] = ()) -> Stranger:
        """A new WebSocket, asked for with `more` header lines."""
        stranger = self.connect(receive_buffer=receive_buffer)
        stranger.upgrade("/chat", *more)
        return stranger

    def enter(self, nickname: str = "mallory", *, receive_buffer: int | None = None) -> Stranger:
        """Somebody who has said hello."""
        stranger = self.open(receive_buffer=receive_buffer)
        reply = stranger.ask("hello", nickname=nickname)
        if reply["type"] != "ok":
            raise Unanswered(f"hello was answered with {reply}")
        stranger.user = reply["user"]
        return stranger

    def held(self) -> Held:
        """What the server holds now."""
        return process.held(self.pid)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Looks again and again until the condition holds. Raises Unanswered."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Unanswered(f"still waiting for {what}")
            time.sleep(LOOK_SECONDS)

    def begin(self) -> None:
        """What came before was ordinary use, whose memory is not the abuse's: growth is counted from here."""
        self.calm = process.memory(self.pid)
        process.forget_peak(self.pid)

    def lets_go(self, before: Held) -> None:
        """Waits until the server has let go of all connections but those that were there `before`."""
        self.until(lambda: self.held()[1:] <= before[1:], "the server to let go of its connections")

    def leave(self) -> None:
        """Ends all connections that are still there, in a proper way on the level of TCP."""
        for stranger in self._strangers:
            stranger.sock.close()
        self._strangers.clear()


def answers(strangers: Iterable[Stranger]) -> Answers:
    """How those were answered, each read to its end."""
    return Counter(stranger.answer() for stranger in strangers)
