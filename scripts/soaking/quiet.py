"""Quiet points: all people pause, and what they received is compared with the state of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from watching.process import Held, held

from soaking.actions import NOT_AVAILABLE
from soaking.checker import Frame
from soaking.person import Person
from soaking.simulation import Simulation
from threadchat.broker.redis.topology.interface import CONNECTIONS

PATIENCE: Final = 60.0
"""Seconds in which the server must reach the expected state."""
MIB: Final = 1 << 20
GROWTH: Final = 48 * MIB
"""Bytes by which resident memory may grow after the first quiet point, as logs fill and stacks are used."""


SPARE: Final = Held(0, threads=2, descriptors=CONNECTIONS)
"""What a server may use in addition with Redis: workers, and the pool of connections that it did not need at
first."""


class Moment(NamedTuple):
    """The resources of the server at one quiet point."""

    when: float
    people: int
    held: Held


class Quiet:
    """Makes the quiet points of one simulation and one server. Used on the driver's thread."""

    def __init__(self, simulation: Simulation, pid: int) -> None:
        self._simulation = simulation
        self._pid = pid
        self._empty = held(pid)  # the resources of the server without people
        self._asker: Person | None = None  # the person who sends the queries
        self._answers: dict[str, dict[str, Frame]] = {}  # the replies to these queries, by room
        self.moments: list[Moment] = []

    def begin(self) -> None:
        """Measures the resources of the server after one person has come and gone, for later comparison."""
        first = self._simulation.people[0]
        first.come()
        self._simulation.wait(lambda: first.entered, PATIENCE)
        self.everybody_leaves(measured=False)
        self._empty = held(self._pid)

    def look(self) -> None:
        """Waits until everybody has finished, then compares everything."""
        simulation = self._simulation
        for person in simulation.people:
            simulation.hurry(person)
        self._expect(self._settled, "expected replies, events or closes do not arrive", self._unsettled)
        for person in self._present():
            person.ask("ping")
        self._expect(self._settled, "a ping is not answered", self._unsettled)
        self._compare_rooms()
        for person, connection, nonce in simulation.owed:
            if person.connection is connection and nonce not in person.posts:
                person.fault(f"private message {nonce} was accepted and never delivered")
        simulation.owed.clear()
        simulation.checker.settle()
        self._expect_held(2 * len(self._present()), len(self._present()))
        self._write_to_the_absent()

    def everybody_leaves(self, *, measured: bool = True) -> None:
        """All people leave, in different ways; then the server must hold no more than at the beginning."""
        for number, person in enumerate(self._present()):
            assert person.connection is not None
            person.excuses |= {1000, 1006}
            (person.connection.leave, person.connection.reset, person.connection.half_close)[number % 3]()
        self._expect(lambda: not self._present(), "connections do not end", self._unsettled)
        self._expect_held(0, 0, exact=measured)
        if measured:
            self._note(0)

    # Rooms

    def _compare_rooms(self) -> None:
        wrong: dict[str, str] = {}
        self._asker = None

        def agree() -> bool:
            """PendingCommand until they do: the server may not have missed everybody yet who is gone."""
            asker = self._asker
            if asker is None or asker.connection is None:
                self._asker = next(iter(self._present()), None)
                if self._asker is None:
                    return True  # nobody is there to send queries
                self._ask(self._asker)
                return False
            if asker.pending:
                return False
            wrong.clear()
            for room in self._simulation.rooms:
                self._compare(asker, room, wrong)
            if wrong:
                self._ask(asker)
            return not wrong

        self._expect(agree, "rooms do not agree", lambda: str(wrong))

    def _ask(self, asker: Person) -> None:
        self._answers = {}
        for room in self._simulation.rooms:
            answers: dict[str, Frame] = {}
            self._answers[room] = answers
            asker.ask("who", partial(answers.__setitem__, "who"), (102,), room=room)
            asker.ask("history", partial(answers.__setitem__, "history"), (102,), room=room, limit=1000)

    def _compare(self, asker: Person, room: str, wrong: dict[str, str]) -> None:
        answers = self._answers[room]
        positions = [(each, each.positions[room]) for each in self._present() if room in each.positions]
        members = Counter(person.user for person, position in positions if position.member)
        there = {user["id"]: user["sessions"] for user in answers.get("who", {}).get("users", ())}
        if there != dict(members):
            odd = sorted(set(there.items()) ^ set(members.items()))
            wrong[room] = f"the reply to who differs from the people there: (user, sessions) {odd}"
        page = answers.get("history")
        if page is None:
            if positions:
                wrong[room] = "the server does not know it"
            return
        head = page["offset"]
        for person, position in positions:
            if position.log.epoch != page["epoch"]:
                wrong[room] = f"{person.name} is in epoch {position.log.epoch} instead of {page['epoch']}"
            elif position.only is None and position.last != head:
                wrong[room] = f"{person.name} got {position.last} of {head} events"
            elif position.only is not None:
                missing = [
                    event["id"]
                    for event in page["events"]
                    if event["id"] > position.last and event["type"] in position.only
                ]
                if missing:
                    wrong[room] = f"{person.name} got {position.last}, and none of {missing}"
        if room not in wrong:
            self._simulation.read_page(asker, room, page)

    def _write_to_the_absent(self) -> None:
        """Checks that private messages to people who are gone are refused."""
        here = {person.user for person in self._present()}
        absent = {
            person.user for person in self._simulation.people if person.user and not person.known
        } - here
        for asker in self._present()[:1]:
            for user in sorted(absent)[:5]:
                taken = partial(self._taken, asker, user)
                asker.ask("direct", taken, (NOT_AVAILABLE,), to=user, message="is anybody there?")
            self._expect(self._settled, "a private message is not answered", self._unsettled)

    def _taken(self, asker: Person, user: int, reply: Frame) -> None:
        if reply.get("stored"):  # kept in their inbox
            return
        asker.fault(f"a private message to user {user}, who is gone, was answered with {reply}")

    # The server

    def _expect_held(self, threads: int, descriptors: int, *, exact: bool = True) -> None:
        """Waits until the server uses no more than the given threads and descriptors in addition."""
        if not exact:
            self._simulation.wait(lambda: False, 1.0)  # by now, everything that is created once exists
            return
        spare = SPARE if self._simulation.conditions.forgets else Held(0, 0, 0)
        limit = Held(
            0,
            self._empty.threads + threads + spare.threads,
            self._empty.descriptors + descriptors + spare.descriptors,
        )

        def fits() -> bool:
            now = held(self._pid)
            return now.threads <= limit.threads and now.descriptors <= limit.descriptors

        self._expect(fits, f"the server holds more than {limit}", lambda: str(held(self._pid)))

    def _note(self, people: int) -> None:
        moment = Moment(self._simulation.elapsed(), people, held(self._pid))
        self.moments.append(moment)
        growth = moment.held.memory - self.moments[0].held.memory
        if growth > GROWTH:
            self._simulation.checker.fault(
                "the server", f"grew by {growth / MIB:.0f} MiB since the first quiet point"
            )

    # Helpers

    def _present(self) -> list[Person]:
        return [person for person in self._simulation.people if person.connection is not None]

    def _settled(self) -> bool:
        return not any(self._is_busy(person) for person in self._present())

    def _is_busy(self, person: Person) -> bool:
        connection = person.connection
        assert connection is not None
        leaves = person.act_at == float("inf")  # the person has ended the connection and waits for the close
        markers = any(position.marker_due for position in person.positions.values())
        return bool(leaves or person.pending or person.errors_due or markers or not connection.idle)

    def _unsettled(self) -> str:
        busy = [person for person in self._present() if self._is_busy(person)]
        told = [
            f"{person.name} waits for {[asked.command for asked in person.pending.values()][:3]}, "
            f"{person.errors_due} errors, {'its end, ' if person.act_at == float('inf') else ''}"
            f"did {list(person.actions)[-5:]}"
            for person in busy[:3]
        ]
        return f"{len(busy)} people: {told}"

    def _expect(self, done: Callable[[], bool], what: str, detail: Callable[[], str]) -> None:
        if not self._simulation.wait(done, PATIENCE):
            self._simulation.checker.fault("a quiet point", f"{what} within {PATIENCE:g} s: {detail()}")
