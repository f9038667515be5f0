"""How `chat/log/sequencer.py` hands on; what all brokers do alike is in the conformance suite."""

from __future__ import annotations

import threading
import tracemalloc
from collections import Counter, OrderedDict
from collections.abc import Sequence

import pytest

from tests.broker.brokers import Outlet
from tests.chat.helpers import PATIENCE, Ticket, join, put, run, say
from threadchat.chat.log import sequencer as module
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import MESSAGE, Draft, Position, Record
from threadchat.chat.log.keys import Keys, Known, forget_some
from threadchat.chat.log.sequencer import Sequencer


def test_a_batch_is_handed_on_as_one() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    put(channel, *say("a", "b", "c"))
    assert (outlet.calls, outlet.got) == ([3], [1, 2, 3])
    put(channel)
    assert outlet.calls == [3]


def test_an_outlet_is_told_the_head_before_its_first_event() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    put(channel, *say("a", "b"))
    channel.attach(outlet)
    assert outlet.head == Position(2, channel.epoch)
    put(channel, *say("c"))
    assert outlet.got == [3]


# -- the gate ----------------------------------------------------------------------------------------


def test_the_gate_is_looked_at_under_the_lock() -> None:
    """Of two publishers that come to an open gate together, the second sees what the first one caused."""

    class Shutting(Outlet):
        def deliver(self, records: Sequence[Record]) -> None:
            super().deliver(records)
            self.gate = Gate([Ticket()])

    channel, outlet = Sequencer("r"), Shutting()
    channel.attach(outlet)
    together = threading.Barrier(8)
    answers: list[object] = []

    def publish() -> None:
        together.wait(PATIENCE)
        answers.append(channel.publish(say("a")))

    join(run(*[publish] * 8))
    assert len([answer for answer in answers if not isinstance(answer, Gate)]) == 1
    assert outlet.got == [1]


# -- keys --------------------------------------------------------------------------------------------


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 10)
    channel = Sequencer("r")
    for number in range(50):
        put(channel, *say("a", key=str(number)))
    assert len(channel._keys) <= 11
    assert put(channel, *say("a", key="49")) == [50]
    assert put(channel, *say("a", key="0")) == [51]


def test_a_flood_of_keys_costs_only_its_sender_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 64)
    channel = Sequencer("r")
    put(channel, *[Draft(MESSAGE, user, "n", "a", key="k") for user in range(20)])
    for number in range(200):  # many strangers, from one address
        put(channel, Draft(MESSAGE, 1000 + number, "eve", "a", key="k", source="192.0.2.66"))
    assert len(channel._keys) <= 65
    assert put(channel, *[Draft(MESSAGE, user, "n", "a", key="k") for user in range(20)]) == [*range(1, 21)]
    assert put(channel, Draft(MESSAGE, 1199, "eve", "a", key="k")) == [220], "their newest are known, too"


def test_the_largest_shares_become_equal() -> None:
    keys: Keys = OrderedDict()
    for owner, count in (("a", 10), ("b", 7), ("c", 2)):
        for number in range(count):
            keys[owner, str(number)] = Known(Position(len(keys) + 1, "e"), 0.0, owner)
    forget_some(keys, 5)
    assert Counter(known.owner for known in keys.values()) == {"a": 6, "b": 6, "c": 2}
    assert ("a", "9") in keys
    assert ("a", "0") not in keys
    forget_some(keys, 99)
    assert not keys


def test_what_is_forgotten_goes_with_its_keys() -> None:
    channel = Sequencer("r")
    for number in range(1, 5):
        put(channel, *say("a", key=str(number)))
    assert channel.weight == 4 * module.KEY_WEIGHT
    channel.forget(2)
    assert channel.weight == 2 * module.KEY_WEIGHT
    assert put(channel, *say("a", key="3")) == [3]
    assert put(channel, *say("a", key="2")) == [5]


def test_a_key_weighs_what_memory_it_takes_at_most() -> None:
    channel = Sequencer("r")
    put(channel, *say("a", key="first"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1000):
            put(channel, *say("a", key="\U0001f600" * 120 + f"{number:08}"))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 < taken / (channel.weight - module.KEY_WEIGHT) < 1.1
    assert module.MAX_KEYS * module.KEY_WEIGHT < 20_000_000


# -- the end -----------------------------------------------------------------------------------------


def test_close_passes_a_shut_gate() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    outlet.gate = Gate([Ticket()])
    channel.close()
    assert outlet.got == [1]


# -- what takes time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("speak", ["publish", "close"])
def test_the_outlet_is_told_when_the_channel_is_free_again(speak: str) -> None:
    free: list[bool] = []

    class Curious(Outlet):
        def delivered(self) -> None:
            free.append(channel._lock.acquire(blocking=False))
            channel._lock.release()

    channel = Sequencer("r")
    channel.attach(Curious())
    if speak == "publish":
        put(channel, *say("a", "b"))
    else:
        channel.close()
    assert free == [True]


def test_a_channel_that_may_not_go_stays() -> None:
    channel = Sequencer("r")
    assert not channel.retire(lambda: False)
    assert put(channel, *say("a")) == [1]
