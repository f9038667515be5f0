"""Simulates all people of a soak on one thread: each takes an action from time to time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from random import Random
from typing import Final

from soaking.actions import MODERATION, WEIGHTS
from soaking.checker import Checker, Frame, Log
from soaking.conditions import Conditions
from soaking.connection import Connection
from soaking.person import Person
from tests.e2e.crowd import Crowd

LOOK: Final = 0.01
"""Seconds between two checks for people whose next action is due."""
LAG: Final = 1.0
"""If two rounds of the loop are further apart, in seconds, the driver itself has read too slowly."""
FORGIVEN: Final = 10.0
"""Seconds after such a lag in which the server may close connections as too slow."""
PEOPLE_A_ROOM: Final = 20
MODERATORS_ACT: Final = 0.1
"""The share of a moderator's actions that moderate."""


class Stopped(Exception):
    """The user pressed Ctrl-C."""


class Simulation:
    """The driver: `run` lets people do what they like, `quieten` has them finish and hold still."""

    def __init__(
        self, port: int, people: int, seed: int, *, history_size: int, pace: float, conditions: Conditions
    ) -> None:
        self.port = port
        self.history_size = history_size
        self.pace = pace  # seconds between two actions of one person, on average
        self.random = Random(seed)
        self.crowd = Crowd(port)
        self.checker = Checker()
        self.counts = self.checker.counts
        self.rooms = [f"r{number}" for number in range(max(3, people // PEOPLE_A_ROOM))]
        self.conditions = conditions
        self.disciplined: dict[int, float] = {}  # users, and until when a moderator's action may have effects
        self.people = [Person(self, number) for number in range(people)]
        self.owed: list[tuple[Person, Connection, str]] = []  # private messages that must be delivered
        self.worst_lag = 0.0
        self.stopping: Callable[[], bool] = lambda: False
        self._ids = itertools.count(1)
        self._started = self._last_round = time.monotonic()
        self._next_look = 0.0
        self._lagged_at = -FORGIVEN
        self._actions = list(WEIGHTS)
        self._weights = list(WEIGHTS.values())

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def next_id(self) -> int:
        """A unique number."""
        return next(self._ids)

    @property
    def lags(self) -> bool:
        """Whether the driver itself lagged a moment ago, so that people read too slowly."""
        return self.elapsed() - self._lagged_at < FORGIVEN

    # The loop

    def run(self, seconds: float) -> None:
        """Lets people act at random for a number of seconds."""
        until = self.elapsed() + seconds
        for person in self.people:
            if person.act_at <= self.elapsed():
                person.act_at = self.elapsed() + self.random.uniform(0, 2 * self.pace)

        def done() -> bool:
            if self.elapsed() < self._next_look:
                return False
            self._next_look = self.elapsed() + LOOK
            if disturbed := self.conditions.look(self.elapsed()):
                self.counts[f"disturbed by {disturbed}"] += 1
            for person in self.people:
                if person.slow_until and person.slow_until <= self.elapsed():
                    self.hurry(person)
                if person.act_at <= self.elapsed():
                    self._act(person)
            return self.elapsed() >= until

        self.wait(done, seconds + 60)

    def wait(self, done: Callable[[], bool], patience: float) -> bool:
        """Reads and writes until `done` returns true; False if that takes too long. Raises Stopped."""
        self._last_round = time.monotonic()

        def over() -> bool:
            self._round()
            if self.stopping():
                raise Stopped
            return done()

        try:
            self.crowd.run(over, patience)
        except TimeoutError:
            return False
        return True

    def _round(self) -> None:
        now = time.monotonic()
        lag = now - self._last_round
        self._last_round = now
        if lag > LAG:
            self._lagged_at = self.elapsed()
        self.worst_lag = max(self.worst_lag, lag)

    def hurry(self, person: Person) -> None:
        """Lets a person who reads slowly read at full speed again."""
        person.slow_until = 0.0
        if person.connection is not None:
            person.connection.pace = None

    def _act(self, person: Person) -> None:
        person.act_at = self.elapsed() + self.random.expovariate(1 / self.pace)
        if person.connection is None:
            person.come(self._token_of_another() if self.random.random() < 0.1 else "")
        elif person.entered:
            action = self.random.choices(self._actions, self._weights)[0]
            if self.conditions.moderates(person.number) and self.random.random() < MODERATORS_ACT:
                action = self.random.choice(MODERATION)
            self.counts[f"did {action.__name__.replace('_', ' ')}"] += 1
            action(person, self.random)

    def _token_of_another(self) -> str:
        another = self.random.choice(self.people)
        return "" if another.known else another.resume

    # For people

    def left(self, person: Person) -> None:
        """Plans the return of a person whose connection ended: mostly soon, sometimes after a minute."""
        away = self.random.uniform(15, 60) if self.random.random() < 0.08 else self.random.uniform(0, 4)
        person.act_at = self.elapsed() + away
        person.slow_until = 0.0

    def read_page(self, person: Person, room: str, reply: Frame, *, reverse: bool = False) -> None:
        """Checks a page of a log: it has no gaps, and its events are the same that everybody received."""
        log = Log(room, reply["epoch"])
        numbers = [event["id"] for event in reply["events"]]
        step = -1 if reverse else 1
        if numbers and numbers != list(range(numbers[0], numbers[0] + step * len(numbers), step)):
            person.fault(f"a page of {room} has holes: {numbers}")
        if any(number > reply["offset"] for number in numbers):
            person.fault(f"a page of {room} goes beyond its offset {reply['offset']}: {numbers[-1]}")
        for event in reply["events"]:
            self.checker.saw(f"{person.name}, in the history", log, event)
