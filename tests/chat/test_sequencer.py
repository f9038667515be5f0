"""Offsets, keys, pages and the end of `chat/sequencer.py`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.chat.helpers import PATIENCE, Clock, Ticket, ids_of, join, put, run, say
from threadchat.chat import sequencer as module
from threadchat.chat.events import Draft, Position, Record
from threadchat.chat.gate import Gate
from threadchat.chat.sequencer import KEY_TTL, MAX_HISTORY_BYTES, Sequencer
from threadchat.errors import CommandError, ErrorCode, RoomClosed


class Outlet:
    """Keeps what it is handed, and asserts that nobody else is in there."""

    def __init__(self) -> None:
        self.head: Position | None = None
        self.got: list[int] = []
        self.calls = 0
        self.told = 0
        self.gate: Gate | None = None
        self._alone = threading.Lock()

    def begin(self, head: Position) -> None:
        self.head = head

    def deliver(self, records: Sequence[Record]) -> None:
        assert self._alone.acquire(blocking=False), "two at a time"
        self.calls += 1
        self.got += ids_of(records)
        self._alone.release()

    def delivered(self) -> None:
        self.told += 1


def code_of(function: Any, *args: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(*args)
    return caught.value.code


# -- offsets -----------------------------------------------------------------------------------------


def test_offsets_count_from_1() -> None:
    channel = Sequencer("r")
    assert put(channel, *say("a")) == [1]
    assert put(channel, *say("b", "c")) == [2, 3]
    assert [item.event.room for item in channel.history(None, 9, False).records] == ["r"] * 3


def test_positions_carry_the_epoch_and_every_sequence_has_its_own() -> None:
    first, second = Sequencer("r"), Sequencer("r")
    assert first.publish(say("a")) == [Position(1, first.epoch)]
    assert first.epoch != second.epoch


def test_eight_publishers_leave_no_hole_and_no_doubt_about_the_order() -> None:
    channel, outlet = Sequencer("r", history_size=10_000), Outlet()
    channel.attach(outlet)
    together = threading.Barrier(8)
    answers: list[list[int]] = [[] for _ in range(8)]

    def publish(number: int) -> None:
        together.wait(PATIENCE)
        for index in range(100):
            answers[number] += put(channel, *say(*["x"] * (index % 3 + 1), user=number))

    join(run(*(lambda number=number: publish(number) for number in range(8))))
    everything = sorted(offset for mine in answers for offset in mine)
    assert everything == outlet.got == list(range(1, len(everything) + 1))
    assert all(mine == sorted(mine) for mine in answers)
    logged = channel.history(None, 10_000, False).records
    for number, mine in enumerate(answers):
        assert [item.event.id for item in logged if item.event.user == number] == mine


def test_a_batch_is_handed_on_as_one() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    put(channel, *say("a", "b", "c"))
    assert (outlet.calls, outlet.got) == (1, [1, 2, 3])
    put(channel)
    assert outlet.calls == 1


def test_an_outlet_is_told_the_head_before_its_first_event() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    put(channel, *say("a", "b"))
    channel.attach(outlet)
    assert outlet.head == Position(2, channel.epoch)
    put(channel, *say("c"))
    assert outlet.got == [3]


def test_what_cannot_be_encoded_is_refused_and_takes_no_offset() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    good = say("a", key="k")[0]
    for bad in (Draft("message", 1, "ann", "\ud800"), Draft("message", object(), "ann", "hi")):  # type: ignore[arg-type]
        with pytest.raises((UnicodeEncodeError, TypeError)):
            channel.publish([good, bad])
    assert outlet.got == []
    assert put(channel, *say("b")) == [1]
    assert put(channel, good) == [2], "its key is not taken for published"


# -- the gate ----------------------------------------------------------------------------------------


def test_a_shut_gate_is_handed_back_and_nothing_is_done() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    outlet.gate = gate = Gate([Ticket()])
    assert channel.publish(say("a", key="k")) is gate
    assert channel.history(None, 9, False).head.offset == 0
    outlet.gate = None
    assert put(channel, *say("a", key="k")) == [1]


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


def test_the_same_key_answers_the_same_offset_and_publishes_nothing() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    assert put(channel, *say("a", key="k")) == [1]
    assert put(channel, *say("b")) == [2]
    assert put(channel, *say("again", key="k")) == [1]
    assert put(channel, *say("c", key="k") + say("d", key="new") + say("e", key="new") + say("f")) == [
        1,
        3,
        3,
        4,
    ]
    assert outlet.got == [1, 2, 3, 4]


def test_keys_are_each_users_own() -> None:
    channel = Sequencer("r")
    assert put(channel, *say("a", user=1, key="k")) == [1]
    assert put(channel, *say("a", user=2, key="k")) == [2]
    assert put(channel, *say("a", user="1", key="k")) == [3]


def test_no_key_is_no_key() -> None:
    channel = Sequencer("r")
    assert put(channel, *say("a")) + put(channel, *say("a")) == [1, 2]


def test_keys_are_forgotten_in_time() -> None:
    clock = Clock()
    channel = Sequencer("r", clock=clock)
    put(channel, *say("a", key="old"))
    clock.now += KEY_TTL / 2
    put(channel, *say("a", key="young"))
    clock.now += KEY_TTL / 2 - 1
    assert put(channel, *say("a", key="old")) == [1]
    clock.now += 1
    assert put(channel, *say("a", key="young")) == [2]
    assert put(channel, *say("a", key="old")) == [3]
    clock.now += KEY_TTL - 1
    assert put(channel, *say("a", key="old")) == [3], "its time began anew"


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 10)
    channel = Sequencer("r")
    for number in range(50):
        put(channel, *say("a", key=str(number)))
    assert len(channel._keys) <= 11
    assert put(channel, *say("a", key="49")) == [50]
    assert put(channel, *say("a", key="0")) == [51]


def test_a_key_outlives_the_log() -> None:
    channel = Sequencer("r", history_size=2)
    put(channel, *say("a", key="k"))
    put(channel, *say("b", "c", "d"))
    assert put(channel, *say("a", key="k")) == [1]


def test_one_key_from_eight_threads_is_published_once() -> None:
    channel, together = Sequencer("r"), threading.Barrier(8)
    offsets: list[int] = []

    def publish() -> None:
        together.wait(PATIENCE)
        offsets.extend(put(channel, *say("a", key="k")))

    join(run(*[publish] * 8))
    assert offsets == [1] * 8
    assert channel.history(None, 9, False).head.offset == 1


# -- pages -------------------------------------------------------------------------------------------


@pytest.fixture
def aged() -> Sequencer:
    """Ten of twenty events are left: 11 to 20."""
    channel = Sequencer("r", history_size=10)
    put(channel, *say(*["x"] * 20))
    return channel


@pytest.mark.parametrize(
    ("since", "limit", "reverse", "expected"),
    [
        (None, 3, False, [18, 19, 20]),
        (None, 99, False, list(range(11, 21))),
        (None, 3, True, [20, 19, 18]),
        (10, 3, False, [11, 12, 13]),
        (18, 9, False, [19, 20]),
        (20, 9, False, []),
        (21, 3, True, [20, 19, 18]),
        (20, 3, True, [19, 18, 17]),
        (13, 9, True, [12, 11]),
        (11, 9, True, []),
        (None, 0, False, []),
    ],
)
def test_a_page(aged: Sequencer, since: int | None, limit: int, reverse: bool, expected: list[int]) -> None:
    position = None if since is None else Position(since, aged.epoch)
    page = aged.history(position, limit, reverse)
    assert ids_of(page.records) == expected
    assert page.head == Position(20, aged.epoch)


@pytest.mark.parametrize(
    ("since", "reverse"), [(9, False), (0, False), (-1, False), (21, False), (22, False), (22, True)]
)
def test_a_position_that_the_log_does_not_reach(aged: Sequencer, since: int, reverse: bool) -> None:
    assert code_of(aged.history, Position(since, aged.epoch), 9, reverse) == ErrorCode.UNRECOVERABLE_POSITION


@pytest.mark.parametrize("reverse", [False, True])
def test_a_position_of_another_epoch(aged: Sequencer, reverse: bool) -> None:
    other = Position(15, Sequencer("r").epoch)
    assert code_of(aged.history, other, 9, reverse) == ErrorCode.UNRECOVERABLE_POSITION


@pytest.mark.parametrize(
    ("since", "reverse", "expected"),
    [
        (None, False, [6, 7, 8, 9, 10]),
        (None, True, [10, 9, 8, 7, 6]),
        (2, False, [3, 4, 5, 6, 7]),
        (10, True, [9, 8, 7, 6, 5]),
    ],
)
def test_a_page_is_bounded_in_bytes(since: int | None, reverse: bool, expected: list[int]) -> None:
    channel = Sequencer("r")
    put(channel, *say(*["x" * (MAX_HISTORY_BYTES // 5 - 200)] * 10))
    position = None if since is None else Position(since, channel.epoch)
    page = channel.history(position, 100, reverse)
    assert ids_of(page.records) == expected
    assert sum(len(item.json) for item in page.records) <= MAX_HISTORY_BYTES


def test_one_event_above_the_bound_is_a_page() -> None:
    channel = Sequencer("r")
    put(channel, *say("a", "x" * MAX_HISTORY_BYTES, "b"))
    assert ids_of(channel.history(Position(1, channel.epoch), 9, False).records) == [2]


def test_a_page_is_the_callers_own(aged: Sequencer) -> None:
    aged.history(None, 99, False).records.clear()
    assert len(aged.history(None, 99, False).records) == 10


def test_pages_stay_whole_while_events_come_in() -> None:
    channel = Sequencer("r", history_size=50)
    end = threading.Event()

    def publish() -> None:
        while not end.is_set():
            put(channel, *say("x"))

    threads = run(publish)
    try:
        for _ in range(300):
            page = channel.history(None, 100, False)
            ids = ids_of(page.records)
            assert ids == list(range(page.head.offset - len(ids) + 1, page.head.offset + 1))
    finally:
        end.set()
        join(threads)


# -- the end -----------------------------------------------------------------------------------------


def test_close_is_the_last_event_and_comes_once() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    put(channel, *say("a"))
    channel.close()
    channel.close()
    with pytest.raises(RoomClosed, match="room r is closed"):
        channel.publish(say("b"))
    assert outlet.got == [1, 2]
    last = channel.history(None, 1, False).records[0].event
    assert (last.type, last.user) == ("close", None)


def test_close_passes_a_shut_gate() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    outlet.gate = Gate([Ticket()])
    channel.close()
    assert outlet.got == [1]


def test_retire_says_nothing() -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    assert channel.retire(lambda: True)
    assert not channel.retire(lambda: True), "again"
    with pytest.raises(RoomClosed):
        channel.publish(say("b"))
    channel.close()
    assert outlet.got == []


@pytest.mark.parametrize("attempt", range(20))
def test_nothing_follows_a_close_among_publishers(attempt: int) -> None:
    channel, outlet = Sequencer("r"), Outlet()
    channel.attach(outlet)
    together = threading.Barrier(4)
    accepted: list[int] = []

    def publish() -> None:
        together.wait(PATIENCE)
        with contextlib.suppress(RoomClosed):
            for _ in range(50):
                accepted.extend(put(channel, *say("a")))

    def close() -> None:
        together.wait(PATIENCE)
        channel.close()

    join(run(publish, publish, publish, close))
    closed = channel.history(None, 1, False).records[0].event
    assert closed.type == "close"
    assert closed.id == len(accepted) + 1
    assert outlet.got == list(range(1, closed.id + 1))


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
