"""All people of a soak on one thread: each does something when it is their time, and holds still else."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from random import Random
from typing import Final

from soaking.conditions import Conditions
from soaking.deeds import MODERATION, WEIGHTS
from soaking.ledger import Frame, Ledger, Log
from soaking.line import Line
from soaking.person import Person
from tests.e2e.crowd import Crowd

LOOK: Final = 0.01
"""Seconds between two looks at who has something to do."""
LAG: Final = 1.0
"""Seconds between two rounds of the loop above which the driver itself is a slow reader, for a while."""
FORGIVEN: Final = 10.0
"""Seconds for which the server may close those whom the driver did not read for."""
PEOPLE_A_ROOM: Final = 20
MODERATORS_ACT: Final = 0.1
"""How often a moderator does something as such."""


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


class Town:
    """The driver: `run` lets people do what they like, `quieten` has them finish and hold still."""

    def __init__(
        self, port: int, people: int, seed: int, *, history_size: int, pace: float, conditions: Conditions
    ) -> None:
        self.port = port
        self.history_size = history_size
        self.pace = pace  # seconds between two deeds of one person, on average
        self.random = Random(seed)
        self.crowd = Crowd(port)
        self.ledger = Ledger()
        self.counts = self.ledger.counts
        self.rooms = [f"r{number}" for number in range(max(3, people // PEOPLE_A_ROOM))]
        self.conditions = conditions
        self.disciplined: dict[int, float] = {}  # users, and until when that is felt
        self.people = [Person(self, number) for number in range(people)]
        self.owed: list[tuple[Person, Line, str]] = []  # private messages that have to be with somebody
        self.worst_lag = 0.0
        self.stopping: Callable[[], bool] = lambda: False
        self._ids = itertools.count(1)
        self._started = self._last_round = time.monotonic()
        self._next_look = 0.0
        self._lagged_at = -FORGIVEN
        self._deeds = list(WEIGHTS)
        self._weights = list(WEIGHTS.values())

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def next_id(self) -> int:
        """A number like no other."""
        return next(self._ids)

    @property
    def lags(self) -> bool:
        """Whether the driver itself was away: then people read too slowly for no fault of the server's."""
        return self.elapsed() - self._lagged_at < FORGIVEN

    # The loop

    def run(self, seconds: float) -> None:
        """People do what they like for so many seconds."""
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
        """Reads and writes until `done`; False where that takes too long. Raises Stopped."""
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
        """One who read slowly reads again."""
        person.slow_until = 0.0
        if person.line is not None:
            person.line.pace = None

    def _act(self, person: Person) -> None:
        person.act_at = self.elapsed() + self.random.expovariate(1 / self.pace)
        if person.line is None:
            person.come(self._token_of_another() if self.random.random() < 0.1 else "")
        elif person.entered:
            deed = self.random.choices(self._deeds, self._weights)[0]
            if self.conditions.moderates(person.number) and self.random.random() < MODERATORS_ACT:
                deed = self.random.choice(MODERATION)
            self.counts[f"did {deed.__name__.replace('_', ' ')}"] += 1
            deed(person, self.random)

    def _token_of_another(self) -> str:
        another = self.random.choice(self.people)
        return "" if another.known else another.resume

    # For people

    def left(self, person: Person) -> None:
        """Somebody's connection ended: they come back soon, or after a long walk."""
        away = self.random.uniform(15, 60) if self.random.random() < 0.08 else self.random.uniform(0, 4)
        person.act_at = self.elapsed() + away
        person.slow_until = 0.0

    def read_page(self, person: Person, room: str, reply: Frame, *, reverse: bool = False) -> None:
        """Checks a page of a log: no holes, and the same events that everybody saw."""
        log = Log(room, reply["epoch"])
        numbers = [event["id"] for event in reply["events"]]
        step = -1 if reverse else 1
        if numbers and numbers != list(range(numbers[0], numbers[0] + step * len(numbers), step)):
            person.fault(f"a page of {room} has holes: {numbers}")
        if any(number > reply["offset"] for number in numbers):
            person.fault(f"a page of {room} goes beyond its offset {reply['offset']}: {numbers[-1]}")
        for event in reply["events"]:
            self.ledger.saw(f"{person.name}, in the history", log, event)
