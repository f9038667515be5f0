"""The server as an abuse uses it: its address, the amount of abuse, and the connections to it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from watching import process
from watching.pair import HealthyPair
from watching.process import Held

from abusing.stranger import PATIENCE, Stranger, Unanswered

LOOK_SECONDS = 0.05  # between two looks at what another process does and nothing announces

Answers = Counter[str]
"""Counts of answers: a status, a close code, an error's code, `served`, `reset`, `end`."""


class Target:
    """The target of one abuse, used on one thread. `connections` counts the connections that it opened.

    `pid` is the server's process; `log` returns what that has logged. `measured` holds figures that depend on
    a quiet machine, by name, each with its limit. `calm` is the server's memory before the abuse.
    `log_path` is the file of its log, and `redis` the URL of its Redis, if it has one of its own.
    """

    def __init__(
        self, port: int, pid: int, log: Callable[[], str], pair: HealthyPair, *, quick: bool
    ) -> None:
        self.port = port
        self.pid = pid
        self.log = log
        self.log_path = Path()
        self.redis = ""
        self.pair = pair
        self.calm = 0
        self.quick = quick
        self.connections = 0
        self.measured: dict[str, tuple[float, float]] = {}
        self._strangers: list[Stranger] = []

    def size(self, full: int, quick: int) -> int:
        """The amount of something: `full`, or `quick` in tests."""
        return quick if self.quick else full

    def connect(self, *, receive_buffer: int | None = None, source: str = "127.0.0.1") -> Stranger:
        """A new connection without a request yet, from the address `source` of this machine."""
        stranger = Stranger(("127.0.0.1", self.port), receive_buffer, source)
        self.connections += 1
        self._strangers.append(stranger)
        return stranger

    def open(
        self, *, receive_buffer: int | None = None, more: Sequence[str] = (), source: str = "127.0.0.1"
    ) -> Stranger:
        """A new WebSocket, opened with `more` header lines."""
        stranger = self.connect(receive_buffer=receive_buffer, source=source)
        stranger.upgrade("/chat", *more)
        return stranger

    def enter(
        self, nickname: str = "mallory", *, receive_buffer: int | None = None, source: str = "127.0.0.1"
    ) -> Stranger:
        """A connection that has said hello."""
        stranger = self.open(receive_buffer=receive_buffer, source=source)
        reply = stranger.ask("hello", nickname=nickname)
        if reply["type"] != "ok":
            raise Unanswered(f"hello was answered with {reply}")
        stranger.user = reply["user"]
        return stranger

    def kept(self, suffix: str) -> int:
        """The bytes of the files that the server keeps beside its log, with names that go on like this."""
        name = self.log_path.name + suffix
        size = 0
        for each in self.log_path.parent.glob(f"{name}*"):
            with contextlib.suppress(FileNotFoundError):  # the server has just deleted the oldest
                size += each.stat().st_size
        return size

    def held(self) -> Held:
        """The resources that the server holds now."""
        return process.held(self.pid)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until the condition holds. Raises Unanswered."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Unanswered(f"still waiting for {what}")
            time.sleep(LOOK_SECONDS)

    def begin(self) -> None:
        """Measures growth from here on; the memory of ordinary use before this does not count."""
        self.calm = process.memory(self.pid)
        process.forget_peak(self.pid)

    def lets_go(self, before: Held) -> None:
        """Waits until the server has released all connections except those that were there `before`."""
        self.until(lambda: self.held()[1:] <= before[1:], "the server to release its connections")

    def leave(self) -> None:
        """Closes all remaining connections, without a reset."""
        for stranger in self._strangers:
            stranger.sock.close()
        self._strangers.clear()


def answers(strangers: Iterable[Stranger]) -> Answers:
    """Reads all strangers to their end; returns how they were answered."""
    return Counter(stranger.answer() for stranger in strangers)
