"""An exception of a signal handler anywhere in a publication: nobody misses an event, the log is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.chat.helpers import PUBLICATION, RecordingSink, ids_of, join, producers, put, say
from tests.wire.interrupts import Interrupted, interrupted_everywhere
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.room import Room
from threadchat.wire.outbox import Answer


def other_encoding(items: Sequence[Record]) -> Any:
    return ids_of(items)


class Site:
    """A room with five live listeners: two of one kind, one without room, one of another kind, one choosy."""

    def __init__(self) -> None:
        self.channel, self.fanout = Sequencer("r"), Fanout("r")
        self.channel.attach(self.fanout)
        put(self.channel, *say("a", "b"))
        self.sinks = [RecordingSink() for _ in range(5)]
        encodings = [ids_of, ids_of, ids_of, other_encoding, ids_of]
        for number, (sink, encode) in enumerate(zip(self.sinks, encodings, strict=True)):
            wanted = Filter(["message"]) if number == 4 else Filter()
            self.fanout.subscribe(sink, encode, wanted=wanted, name=f"site-{number}").start()
        self.sinks[2].answer = Answer.NO

    def check(self, place: str) -> None:
        self.sinks[2].answer = Answer.YES
        said = self.fanout.head.offset
        assert said in (2, 5), place
        again = put(self.channel, *say("c", key="k"))
        assert again == [3] if said == 5 else again == [said + 1], place
        put(self.channel, *say("z"))
        for number in range(5):
            join(producers(f"site-{number}"))
        head = self.fanout.head.offset
        page = self.channel.history(Position(0, self.channel.epoch), 100, False)
        assert ids_of(page.records) == list(range(1, head + 1)), place
        assert self.fanout._tail._bytes == sum(len(item.json) for item in page.records), place
        assert not self.fanout._behind, place
        for sink in self.sinks:
            assert sorted(set(sink.got)) == list(range(3, head + 1)), place  # type: ignore[type-var]


def test_an_interrupted_publication_is_whole_or_not_there_and_nobody_misses_it() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[str], None]]:
        site = Site()
        drafts = [*say("c", key="k"), *say("d", "e")]
        return lambda: put(site.channel, *drafts), site.check

    places = list(interrupted_everywhere(prepare, *PUBLICATION))
    for name in ("extend", "offer", "_assign_locked", "_hand_on_locked", "delivered", "serve", "_start"):
        assert any(f" {name}:" in place for place in places), name
    assert len(places) > 100


def test_an_interrupt_takes_nothing_from_those_who_wait_to_be_served_elsewhere() -> None:
    """The interrupted start of a producer is the only one that those who come later would have waited for."""

    class Served:
        def __init__(self) -> None:
            self.steps = 0

        def feed_step(self) -> bool:
            self.steps += 1
            return False

        def no_thread(self) -> None:
            raise AssertionError

    def prepare() -> tuple[Callable[[], object], Callable[[str], None]]:
        producer, served, later = Producer("interrupted"), Served(), Served()

        def check(place: str) -> None:
            producer.serve(later)
            join(producers("interrupted"))
            assert later.steps == 1, place
            assert producer._waiting is None, place
            assert not producer._running, place

        return lambda: producer.serve(served), check

    assert len(list(interrupted_everywhere(prepare, "delivery/producer.py"))) > 10


def test_one_that_is_served_twice_gets_nothing_twice() -> None:
    fanout, channel, sink = Fanout("r"), Sequencer("r"), RecordingSink()
    channel.attach(fanout)
    subscription = fanout.subscribe(sink, ids_of, name="twice")
    subscription.start()
    put(channel, *say("a", "b"))
    subscription.catch_up()
    join(producers("twice"))
    put(channel, *say("c"))
    assert sink.got == [1, 2, 3]
    assert subscription.live


def test_an_interrupted_coming_leaves_no_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room("r")
    monkeypatch.setattr(room, "_announce", lambda draft: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        room.add("ann", "laptop")
    assert not [*room.fanout._behind, *room.fanout._audience]
