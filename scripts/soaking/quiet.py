"""Quiet points: everybody holds still, and what they know agrees with what the server says and holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from watching.process import Held, held

from soaking.deeds import NOT_AVAILABLE
from soaking.ledger import Frame
from soaking.person import Person
from soaking.town import Town

PATIENCE: Final = 60.0
"""Seconds for the server to get there; nothing waits for it to pass."""
MIB: Final = 1 << 20
GROWTH: Final = 48 * MIB
"""Bytes of resident memory above those of the first quiet point: logs fill, and stacks are touched."""


SPARE: Final = Held(0, threads=2, descriptors=8)
"""What a server may hold more over Redis: workers and connections that it did not need in the beginning."""


class Moment(NamedTuple):
    """What the server held at one quiet point."""

    when: float
    people: int
    held: Held


class Quiet:
    """Looks at one town and one server, again and again. For the driver's thread."""

    def __init__(self, town: Town, pid: int) -> None:
        self._town = town
        self._pid = pid
        self._empty = held(pid)  # the server with nobody there
        self._asker: Person | None = None  # asks who is where, for everybody
        self._answers: dict[str, dict[str, Frame]] = {}  # what that one was told, by room
        self.moments: list[Moment] = []

    def begin(self) -> None:
        """What the server holds once it has served somebody, and they are gone: the measure for later."""
        first = self._town.people[0]
        first.come()
        self._town.wait(lambda: first.entered, PATIENCE)
        self.everybody_leaves(measured=False)
        self._empty = held(self._pid)

    def look(self) -> None:
        """Everybody finishes what they do; then everything is compared."""
        town = self._town
        for person in town.people:
            town.hurry(person)
        self._expect(self._settled, "replies, events or ends that are due do not come", self._unsettled)
        for person in self._present():
            person.ask("ping")
        self._expect(self._settled, "a ping is not answered", self._unsettled)
        self._compare_rooms()
        for person, line, nonce in town.owed:
            if person.line is line and nonce not in person.posts:
                person.fault(f"private message {nonce} was taken and never came")
        town.owed.clear()
        town.ledger.settle()
        self._expect_held(2 * len(self._present()), len(self._present()))
        self._write_to_the_absent()

    def everybody_leaves(self, *, measured: bool = True) -> None:
        """All go, in all ways; the server is back to what it was."""
        for number, person in enumerate(self._present()):
            assert person.line is not None
            person.excuses |= {1000, 1006}
            (person.line.leave, person.line.reset, person.line.half_close)[number % 3]()
        self._expect(lambda: not self._present(), "connections do not end", self._unsettled)
        self._expect_held(0, 0, exact=measured)
        if measured:
            self._note(0)

    # Rooms

    def _compare_rooms(self) -> None:
        wrong: dict[str, str] = {}
        self._asker = None

        def agree() -> bool:
            """Asked until they do: the server may not have missed everybody yet who is gone."""
            asker = self._asker
            if asker is None or asker.line is None:
                self._asker = next(iter(self._present()), None)
                if self._asker is None:
                    return True  # there is nobody to be asked
                self._ask(self._asker)
                return False
            if asker.asked:
                return False
            wrong.clear()
            for room in self._town.rooms:
                self._compare(asker, room, wrong)
            if wrong:
                self._ask(asker)
            return not wrong

        self._expect(agree, "rooms do not agree", lambda: str(wrong))

    def _ask(self, asker: Person) -> None:
        self._answers = {}
        for room in self._town.rooms:
            answers: dict[str, Frame] = {}
            self._answers[room] = answers
            asker.ask("who", partial(answers.__setitem__, "who"), (102,), room=room)
            asker.ask("history", partial(answers.__setitem__, "history"), (102,), room=room, limit=1000)

    def _compare(self, asker: Person, room: str, wrong: dict[str, str]) -> None:
        answers = self._answers[room]
        places = [(each, each.places[room]) for each in self._present() if room in each.places]
        members = Counter(person.user for person, place in places if place.member)
        there = {user["id"]: user["sessions"] for user in answers.get("who", {}).get("users", ())}
        if there != dict(members):
            odd = sorted(set(there.items()) ^ set(members.items()))
            wrong[room] = f"who says otherwise than people: (user, sessions) {odd}"
        page = answers.get("history")
        if page is None:
            if places:
                wrong[room] = "the server does not know it"
            return
        head = page["offset"]
        for person, place in places:
            if place.log.epoch != page["epoch"]:
                wrong[room] = f"{person.name} is in epoch {place.log.epoch} instead of {page['epoch']}"
            elif place.only is None and place.last != head:
                wrong[room] = f"{person.name} got {place.last} of {head} events"
            elif place.only is not None:
                self._town.ledger.skipped(person.name, place.log, place.last, head + 1)
        if room not in wrong:
            self._town.read_page(asker, room, page)

    def _write_to_the_absent(self) -> None:
        """Nobody takes messages for those who are gone."""
        here = {person.user for person in self._present()}
        absent = {person.user for person in self._town.people if person.user and not person.known} - here
        for asker in self._present()[:1]:
            for user in sorted(absent)[:5]:
                taken = partial(self._taken, asker, user)
                asker.ask("direct", taken, (NOT_AVAILABLE,), to=user, message="is anybody there?")
            self._expect(self._settled, "a private message is not answered", self._unsettled)

    def _taken(self, asker: Person, user: int, reply: Frame) -> None:
        if reply.get("stored"):  # for when they come back
            return
        asker.fault(f"a private message to user {user}, who is gone, was answered with {reply}")

    # The server

    def _expect_held(self, threads: int, descriptors: int, *, exact: bool = True) -> None:
        """Waits until the server holds what so many connections need, and no more."""
        if not exact:
            self._town.wait(lambda: False, 1.0)  # what is made once is made by now
            return
        spare = SPARE if self._town.conditions.forgets else Held(0, 0, 0)
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
        moment = Moment(self._town.elapsed(), people, held(self._pid))
        self.moments.append(moment)
        growth = moment.held.memory - self.moments[0].held.memory
        if growth > GROWTH:
            self._town.ledger.fault(
                "the server", f"grew by {growth / MIB:.0f} MiB since the first quiet point"
            )

    # Helpers

    def _present(self) -> list[Person]:
        return [person for person in self._town.people if person.line is not None]

    def _settled(self) -> bool:
        return not any(self._is_busy(person) for person in self._present())

    def _is_busy(self, person: Person) -> bool:
        line = person.line
        assert line is not None
        leaves = person.act_at == float("inf")  # it ends the connection, and waits for that
        markers = any(place.marker_due for place in person.places.values())
        return bool(leaves or person.asked or person.errors_due or markers or not line.idle)

    def _unsettled(self) -> str:
        busy = [person for person in self._present() if self._is_busy(person)]
        told = [
            f"{person.name} waits for {[asked.command for asked in person.asked.values()][:3]}, "
            f"{person.errors_due} errors, {'its end, ' if person.act_at == float('inf') else ''}"
            f"did {list(person.deeds)[-5:]}"
            for person in busy[:3]
        ]
        return f"{len(busy)} people: {told}"

    def _expect(self, done: Callable[[], bool], what: str, detail: Callable[[], str]) -> None:
        if not self._town.wait(done, PATIENCE):
            self._town.ledger.fault("a quiet point", f"{what} within {PATIENCE:g} s: {detail()}")
