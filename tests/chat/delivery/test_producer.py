"""How `chat/delivery/producer.py` serves a sink's subscriptions that are behind, on one thread, in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.chat.helpers import (
    PATIENCE,
    Peer,
    RecordingSink,
    frames_of,
    ids_of,
    join,
    producers,
    put,
    records,
    run,
    say,
)
from threadchat.chat.delivery import producer as producer_module
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import REPLAY_STEP, Subscription
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.room import Room
from threadchat.errors import ConnectionClosed
from threadchat.wire.outbox import Answer
from threadchat.wire.turnstile import Turnstile


class Hall:
    """Rooms with events in their logs, and one sink that listens to them."""

    def __init__(self, rooms: int, events: int) -> None:
        self.sink = RecordingSink()
        self.producer = Producer("sink")
        self.fanouts: list[Fanout] = []
        self.channels: list[Sequencer] = []
        for number in range(rooms):
            fanout, channel = Fanout(f"r{number}"), Sequencer(f"r{number}")
            channel.attach(fanout)
            self.fanouts.append(fanout)
            self.channels.append(channel)
            if events:
                put(channel, *say(*["x"] * events))

    def listen(self, room: int, *, start: bool = True, **options: Any) -> Subscription:
        """Subscribes the sink to all of a room's log."""
        subscription = self.fanouts[room].subscribe(
            self.sink,
            tag(room),
            since=Position(0, self.channels[room].epoch),
            name=f"r{room}",
            producer=self.producer,
            **options,
        )
        if start:
            subscription.start()
        return subscription

    def hold(self) -> None:
        """From here on the sink has no room."""
        self.sink.set(has_room=False)

    def level(self) -> None:
        """Waits until the producer has ended."""
        self.sink.set(has_room=True)
        join(producers("sink"))


def tag(room: int) -> Callable[[Sequence[Record]], list[Any]]:
    """An encoding that tells rooms apart: one item for each step, the room and its offsets."""

    def encode(items: Sequence[Record]) -> list[Any]:
        return [(room, ids_of(items))]

    return encode


def offsets(sink: RecordingSink, room: int) -> list[int]:
    """What came of one room."""
    return [offset for number, some in sink.got for offset in some if number == room]  # type: ignore[misc, attr-defined]


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no more of them, until the patch is undone."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


# -- one thread, in turn -----------------------------------------------------------------------------


def test_rooms_are_served_a_step_each_in_turn() -> None:
    hall = Hall(rooms=3, events=3 * REPLAY_STEP)
    hall.hold()
    subscriptions = [hall.listen(room) for room in range(3)]
    hall.level()
    assert [(room, some[-1] // REPLAY_STEP) for room, some in hall.sink.got] == [  # type: ignore[misc, attr-defined]
        (room, step) for step in (1, 2, 3) for room in range(3)
    ]
    assert all(subscription.live for subscription in subscriptions)


def test_five_hundred_rooms_have_one_thread_and_whoever_comes_late_is_not_last_for_long() -> None:
    hall = Hall(rooms=500, events=2 * REPLAY_STEP)
    hall.hold()
    for room in range(499):
        hall.listen(room)
    assert hall.sink.feeding.acquire(timeout=PATIENCE)
    put(hall.channels[0], *say(*["x"] * 500))  # the first has much more to catch up on
    hall.listen(499)
    assert len(producers("sink")) == 1
    hall.level()
    for room in range(500):
        expected = 2 * REPLAY_STEP + (500 if room == 0 else 0)
        assert offsets(hall.sink, room) == list(range(1, expected + 1))
    turns = [room for room, _ in hall.sink.got]  # type: ignore[misc, attr-defined]
    assert sorted(turns[:500]) == sorted(turns[500:1000]) == list(range(500))
    assert set(turns[1000:]) == {0}


def test_the_thread_ends_and_another_one_starts_when_it_is_behind_again() -> None:
    hall = Hall(rooms=2, events=1)
    for room in range(2):
        hall.listen(room)
    join(producers("sink"))
    hall.sink.answer = Answer.NO
    hall.hold()
    for channel in hall.channels:
        put(channel, *say("a"))
    assert len(producers("sink")) == 1
    hall.level()
    assert [offsets(hall.sink, room) for room in range(2)] == [[1, 2], [1, 2]]


def test_one_that_is_demoted_while_its_last_step_is_under_way_is_served_again() -> None:
    """It went live, and a publisher found no room for it before the producer had looked at the next one."""
    hall = Hall(rooms=1, events=1)
    subscription = hall.listen(0, start=False)
    live_batch = hall.fanouts[0].next_batch

    def next_batch(one: Subscription, limit: int) -> Any:
        batch = live_batch(one, limit)
        if batch is None and one.live and hall.channels[0].publish([]) == [] and not demoted:
            demoted.append(one)
            hall.sink.answer = Answer.NO
            put(hall.channels[0], *say("a"))
            hall.sink.answer = Answer.YES
        return batch

    demoted: list[Subscription] = []
    hall.fanouts[0].next_batch = next_batch  # type: ignore[method-assign]
    subscription.start()
    join(producers("sink"))
    assert demoted
    assert offsets(hall.sink, 0) == [1, 2]
    assert subscription.live


@pytest.mark.parametrize("attempt", range(5))
def test_a_flood_in_many_rooms_reaches_a_small_outbox_in_the_order_of_each(attempt: int) -> None:
    """At first the peer reads nothing and is behind everywhere; then it is served, live, demoted again."""
    rooms = [Room(f"r{number}") for number in range(8)]
    peer, producer = Peer(Turnstile(), reads=False, max_messages=8), Producer("sink")
    for room in rooms:
        room.subscribe(peer, frames_of, name=room.name, producer=producer).start()

    def flood(first: int) -> None:
        for number in range(400):
            rooms[(first + number) % 8].message("ann", "x" * attempt)

    join(run(*[partial(flood, first) for first in range(2)]))
    assert all(room.fanout._behind for room in rooms)
    assert len(producers("sink")) == 1
    threads = run(*[partial(flood, first) for first in range(2)])
    peer.read()
    got = peer.wait_for(lambda items: len(items) == 1600)
    join(threads)
    for room in rooms:
        assert [item["id"] for item in got if item["chatroomId"] == room.name] == list(range(1, 201))
    join(producers("sink"))
    assert not any(room.fanout._behind for room in rooms)
    peer.hang_up()


# -- stops -------------------------------------------------------------------------------------------


def test_the_others_go_on_when_one_stops_while_it_is_served() -> None:
    hall = Hall(rooms=3, events=5)
    hall.hold()
    subscriptions = [hall.listen(room) for room in range(3)]
    assert hall.sink.feeding.acquire(timeout=PATIENCE)
    subscriptions[0].stop()
    hall.level()
    assert [offsets(hall.sink, room) for room in range(3)] == [[], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert [subscription.stopped for subscription in subscriptions] == [True, False, False]


def test_whoever_comes_and_goes_while_nothing_is_taken_leaves_nothing_behind() -> None:
    hall = Hall(rooms=2, events=5)
    hall.hold()
    hall.listen(0)
    assert hall.sink.feeding.acquire(timeout=PATIENCE)
    for _ in range(100):
        hall.listen(1).stop()
    assert not hall.producer._waiting
    hall.level()
    assert offsets(hall.sink, 1) == []


def test_a_sink_that_ended_ends_all_its_subscriptions() -> None:
    hall = Hall(rooms=3, events=5)
    hall.hold()
    subscriptions = [hall.listen(room) for room in range(3)]
    hall.sink.set(has_room=False, failure=ConnectionClosed(1006))
    join(producers("sink"))
    assert all(subscription.stopped for subscription in subscriptions)
    assert (hall.sink.got, hall.sink.fell_behind) == ([], 0)


def test_one_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    hall = Hall(rooms=2, events=5)

    def encode(items: Sequence[Record]) -> Any:
        raise ZeroDivisionError

    failing = hall.listen(0, start=False)
    failing.encode = encode
    failing.start()
    other = hall.listen(1)
    hall.level()
    assert "producer-sink failed in room r0" in caplog.text
    assert (failing.stopped, other.live) == (True, True)
    assert offsets(hall.sink, 1) == [1, 2, 3, 4, 5]


# -- no thread can be started ------------------------------------------------------------------------


def test_without_a_thread_it_ends_and_whoever_comes_later_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(rooms=2, events=5)
    with monkeypatch.context() as patch:
        no_threads(patch)
        lost = hall.listen(0)
    assert lost.stopped
    assert hall.sink.fell_behind == 1
    hall.hold()
    later = hall.listen(1)
    hall.level()
    assert later.live
    assert offsets(hall.sink, 1) == [1, 2, 3, 4, 5]


def test_without_a_thread_one_in_the_background_is_served_with_the_next_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall(rooms=1, events=5)
    with monkeypatch.context() as patch:
        no_threads(patch)
        subscription = hall.listen(0, background=True)
        put(hall.channels[0], *say("a"))
        put(hall.channels[0], *say(*["x"] * 600))  # so many that publishers wait for whoever is served
        assert hall.fanouts[0].gate is None
    assert not subscription.stopped
    assert [record.message for record in caplog.records] == [
        "producer-sink cannot start: can't start new thread"
    ]
    put(hall.channels[0], *say("b"))
    join(producers("sink"))
    assert offsets(hall.sink, 0) == list(range(1, 608))
    assert subscription.live
    assert hall.sink.fell_behind == 0


# -- another log begins while the sink is fed --------------------------------------------------------


@pytest.mark.parametrize(
    "head", [Position(0, "new"), Position(2, "new"), Position(40, "new"), Position(40, "old")]
)
def test_the_position_in_a_new_log_is_not_that_in_the_old_one(head: Position) -> None:
    fanout, sink = Fanout("r"), RecordingSink()
    fanout.begin(Position(0, "old"))
    fanout.deliver(records(1, 5))
    subscription = fanout.subscribe(
        sink, ids_of, since=Position(0, "old"), name="hub-listener", background=True, lasting=True
    )
    sink.has_room = False
    subscription.start()
    assert sink.feeding.acquire(timeout=PATIENCE)  # with the old log's events
    fanout.begin(head)
    fanout.deliver(records(head.offset + 1, head.offset + 9))
    sink.set(has_room=True)
    join(producers("hub-listener"))
    assert sink.got == [*range(1, 6), *range(head.offset + 1, head.offset + 10)]
    assert subscription.live
    assert sink.fell_behind == 0


# -- the budget of whom it serves --------------------------------------------------------------------


class Purse:
    """A budget that grants a thread, and time, when the test says so."""

    def __init__(self) -> None:
        self.threads = threading.Semaphore(0)
        self.put_off: list[Callable[[], object]] = []
        self.debt = 0.0
        self.asked = threading.Semaphore(0)
        self.spent: list[float] = []
        self.left = 0

    def enter(self, start: Callable[[], object]) -> bool:
        if self.threads.acquire(blocking=False):
            return True
        self.put_off.append(start)
        return False

    def spend(self, seconds: float) -> float:
        self.spent.append(seconds)
        if self.debt:
            self.asked.release()
        return self.debt

    def leave(self) -> None:
        self.left += 1


def poor_hall(**size: int) -> tuple[Hall, Purse]:
    hall, purse = Hall(**size), Purse()
    hall.producer = Producer("sink", purse)
    return hall, purse


def test_a_thread_starts_when_the_budget_has_one() -> None:
    hall, purse = poor_hall(rooms=2, events=3)
    for room in range(2):
        hall.listen(room)
    assert (producers("sink"), len(purse.put_off), hall.sink.got) == ([], 1, [])
    assert hall.producer.resting
    purse.put_off.pop()()
    join(producers("sink"))
    assert offsets(hall.sink, 0) == offsets(hall.sink, 1) == [1, 2, 3]
    assert (hall.producer.resting, purse.left) == (False, 1)
    assert all(seconds >= 0 for seconds in purse.spent)


def test_a_thread_that_was_put_off_finds_nobody_and_ends() -> None:
    hall, purse = poor_hall(rooms=1, events=3)
    hall.listen(0).stop()
    purse.put_off.pop()()
    join(producers("sink"))
    assert (hall.sink.got, purse.left) == ([], 1)


def test_publishers_do_not_wait_for_one_that_may_not_start() -> None:
    hall, _ = poor_hall(rooms=1, events=3)
    subscription = hall.listen(0)
    ticket = subscription.ticket()
    assert ticket.passed
    ticket.wait(PATIENCE)


def test_it_waits_until_there_is_time_again_and_publishers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "LONGEST_PAUSE", 0.001)
    hall, purse = poor_hall(rooms=1, events=3 * REPLAY_STEP)
    purse.threads.release()
    purse.debt = 1000.0
    subscription = hall.listen(0)
    assert purse.asked.acquire(timeout=PATIENCE)
    assert purse.asked.acquire(timeout=PATIENCE)
    assert len(hall.sink.got) == 1
    assert subscription.ticket().passed
    purse.debt = 0.0
    join(producers("sink"))
    assert len(hall.sink.got) == 3
    assert purse.left == 1


def test_one_that_waits_for_time_ends_with_the_last_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "LONGEST_PAUSE", 0.001)
    hall, purse = poor_hall(rooms=1, events=3 * REPLAY_STEP)
    purse.threads.release()
    purse.debt = 1000.0
    subscription = hall.listen(0)
    assert purse.asked.acquire(timeout=PATIENCE)
    subscription.stop()
    join(producers("sink"))
    assert purse.left == 1


def test_where_no_thread_starts_the_budget_has_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    hall, purse = poor_hall(rooms=1, events=3)
    purse.threads.release()
    with monkeypatch.context() as patch:
        no_threads(patch)
        hall.listen(0)
    assert (purse.left, hall.sink.got) == (1, [])
