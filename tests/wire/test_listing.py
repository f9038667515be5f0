"""Whatever was listed enters the line: after errors, and after an interrupt at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.helpers import RecordingLine
from tests.wire.interrupts import interrupted_everywhere
from threadchat.errors import ConnectionClosed
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Outbox, State
from threadchat.wire.protocol.requests import FlushingClose, Ping, Text
from threadchat.wire.turnstile import Turnstile

FILES = ("wire/outbox.py", "wire/turnstile.py", "wire/listing.py", "wire/priority_queue.py")


class Office:
    """Some outboxes in one line, of which two may write at once; this thread does the writing."""

    def __init__(self, count: int = 4) -> None:
        self.turnstile = Turnstile(2)
        self.outboxes = [Outbox(self.turnstile) for _ in range(count)]
        self.sent = [b"" for _ in range(count)]

    def write(self) -> None:
        """Lets every writer that has a permit write, until none has one."""
        while [number for number in range(len(self.outboxes)) if self._write(number)]:
            pass

    def _write(self, number: int) -> bool:
        outbox = self.outboxes[number]
        if outbox.state is State.OVER or not outbox._wakeup.acquire(blocking=False):
            return False
        again = True
        while again:
            self.sent[number] += outbox.take()
            outbox.settle()
            if outbox.ended:
                outbox.finish()
                self.turnstile.withdraw(outbox)
                break
            again = self.turnstile.leave(outbox, outbox.state is State.LISTED)
        return True

    def check(self, place: str) -> None:
        """Nothing waits once the writers wrote, and nobody holds a permit."""
        self.write()
        assert not any(outbox._texts or outbox._control for outbox in self.outboxes), place
        assert {outbox.state for outbox in self.outboxes} <= {State.IDLE, State.OVER}, place
        assert not self.turnstile._line, place
        assert not self.turnstile._urgent, place
        assert not self.turnstile.holders, place
        assert not self.turnstile._lock.locked(), place
        assert not any(outbox.mutex.locked() for outbox in self.outboxes), place
        everybody = Text(b"and on it goes")  # a second round finds nobody silent
        entering(lambda listed: [outbox.offer(everybody, listed) for outbox in self.outboxes])
        self.write()
        for sent, outbox in zip(self.sent, self.outboxes, strict=True):
            assert outbox.ended or sent.endswith(everybody.frame), place


def test_what_the_offers_answer_is_returned_and_all_enter_at_once() -> None:
    line = RecordingLine()
    outboxes = [Outbox(line) for _ in range(3)]

    def offer(listed: list[Any]) -> str:
        for outbox in outboxes:
            outbox.offer(Text(b"a"), listed)
        assert line.entered == []
        return "answer"

    assert entering(offer) == "answer"
    assert line.entered == outboxes
    assert entering(lambda listed: 7) == 7
    assert line.entered == outboxes


def test_those_who_were_listed_before_an_error_enter() -> None:
    line = RecordingLine()
    outbox = Outbox(line)

    def offer(listed: list[Any]) -> None:
        outbox.offer(Text(b"a"), listed)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entering(offer)
    assert line.entered == [outbox]


def offers(office: Office) -> None:
    """A publisher's."""
    text = Text(b"hello")

    def offer(listed: list[Any]) -> None:
        for outbox in office.outboxes:
            outbox.offer(text, listed)

    entering(offer)


def light_offers(office: Office) -> None:
    text = Text(b"hello")
    entering(lambda listed: [outbox.offer_light(text, listed) for outbox in office.outboxes])


def puts(office: Office) -> None:
    office.outboxes[0].put(Text(b"hello"), timeout=1)
    office.outboxes[1].feed(Text(b"hello"), 1, lambda: False)


def pings(office: Office) -> None:
    for outbox in office.outboxes:
        outbox.put(Ping())


def closes(office: Office) -> None:
    office.outboxes[0].close(FlushingClose(1000))
    office.outboxes[1].end(ConnectionClosed(1006, ""))


def tickets(office: Office) -> None:
    offers(office)
    office.turnstile.ticket()


@pytest.mark.parametrize("action", [offers, light_offers, puts, pings, closes, tickets])
@pytest.mark.parametrize("busy", [False, True])
def test_an_interrupt_anywhere_silences_nobody_and_loses_no_permit(
    action: Callable[[Office], None], busy: bool
) -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[str], None]]:
        office = Office()
        if busy:  # two write, one stands in line
            early = Text(b"early")
            entering(lambda listed: [outbox.offer(early, listed) for outbox in office.outboxes[1:]])

        def check(place: str) -> None:
            if action is closes:  # whoever was interrupted closes again
                closes(office)
            office.check(place)

        return lambda: action(office), check

    places = list(interrupted_everywhere(prepare, *FILES))
    assert any("_enter" in place for place in places)
    assert len(places) > 20


def test_an_interrupt_while_a_writer_runs_leaves_it_one_permit() -> None:
    """Two writers that the interrupted call has woken, of which one is blocked by its peer meanwhile."""

    class Interrupted(Turnstile):
        def _enter(self, entrants: Any) -> None:
            super()._enter(entrants)
            if not blocked:
                blocked.append(office.outboxes[0])
                assert office.outboxes[0]._wakeup.acquire(blocking=False)
                office.outboxes[0].take()
                office.outboxes[0].block()
                self.withdraw(office.outboxes[0])
                raise KeyboardInterrupt

    blocked: list[Outbox] = []
    office = Office(2)
    office.turnstile = turnstile = Interrupted(2)
    for outbox in office.outboxes:
        outbox.line = turnstile
    with pytest.raises(KeyboardInterrupt):
        offers(office)
    assert office.outboxes[0] not in turnstile.holders, "no permit is held over a poll"
    assert office.outboxes[0].settle() is State.IDLE
    office.check("")
