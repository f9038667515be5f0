"""Events of the application for many are offered in batches: in order, each once, before what follows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chat.helpers import (
    PATIENCE,
    PUBLICATION,
    RecordingSink,
    Ticket,
    Tickets,
    ids_of,
    join,
    producers,
    put,
    run,
    say,
)
from tests.wire.interrupts import interrupted_everywhere
from threadchat.chat.delivery import live_delivery
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.live_delivery import MANY, Batching
from threadchat.chat.delivery.subscription import Filter, Subscription
from threadchat.chat.emitting import draft_event
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.log.tail import HISTORY_BYTES
from threadchat.chat.room import Room
from threadchat.errors import RoomClosed
from threadchat.wire.listing import DEFERRED, entering
from threadchat.wire.outbox import Answer


class Later:
    """A pinger whose thread is the test's."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def __call__(self, seconds: float, action: Callable[[], None]) -> None:
        assert seconds == 0
        self.due.append(action)

    def run(self) -> None:
        while self.due:
            self.due.pop(0)()


def event(number: int = 0, **fields: Any) -> Draft:
    return draft_event("tick", number, **fields)


class Hall:
    """A room of many, in which at most four events are put together."""

    def __init__(
        self,
        members: int = MANY,
        name: str = "hall",
        *,
        history_size: int = 1024,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        self.later = Later()
        self.channel, self.fanout = Sequencer(name), Fanout(name, history_size, history_bytes)
        self.channel.attach(self.fanout)
        self.fanout.batching = Batching(self.later, 4, 200)
        self.batches: list[list[int]] = []
        self.sinks = [RecordingSink() for _ in range(members)]
        self.subscriptions = [self.listen(sink) for sink in self.sinks]

    def listen(self, sink: Any, **options: Any) -> Subscription:
        def encode(items: Any) -> list[int]:
            self.batches.append(ids_of(items))
            return self.batches[-1]

        self.encode = getattr(self, "encode", encode)
        subscription = self.fanout.subscribe(sink, self.encode, name=self.fanout._name, **options)
        subscription.start()
        return subscription

    def emit(self, count: int = 1, **fields: Any) -> None:
        for number in range(count):
            put(self.channel, event(number, **fields))

    @property
    def got(self) -> list[int]:
        """What everybody has been offered, which is the same for all."""
        assert all(sink.got == self.sinks[0].got for sink in self.sinks)
        return self.sinks[0].got


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert DEFERRED.owner is None


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.fanout.flush()


# -- batches -----------------------------------------------------------------------------------------


def test_events_are_in_the_log_at_once_and_offered_in_batches(hall: Hall) -> None:
    hall.emit(3)
    assert hall.got == []
    assert hall.fanout.head.offset == hall.fanout.newest == 3
    page = hall.channel.history(None, 10, False)
    assert [each.data for each in page] == [0, 1, 2]
    assert hall.channel._lock.locked() is hall.fanout._lock.locked() is False
    hall.emit()
    assert hall.got == [1, 2, 3, 4]
    hall.emit(9)
    assert hall.got == list(range(1, 13))
    assert hall.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_a_single_event_is_offered_by_the_other_thread(hall: Hall) -> None:
    hall.emit(2)
    assert len(hall.later.due) == 1
    hall.later.run()
    assert hall.got == [1, 2]
    hall.emit(4)  # whose batch is complete before the thread comes to it
    hall.later.run()
    assert hall.got == [1, 2, 3, 4, 5, 6]


def test_few_get_every_event_at_once() -> None:
    hall = Hall(MANY - 1)
    hall.emit()
    assert hall.got == [1]
    hall.sinks.append(RecordingSink())
    hall.sinks[-1].got = [1]
    last = hall.listen(hall.sinks[-1])
    hall.emit()
    assert hall.got == [1]
    last.stop()
    hall.emit()
    assert hall.sinks[0].got == [1, 2, 3]
    assert hall.sinks[-1].got == [1, 2]


def test_messages_and_long_events_are_offered_at_once_after_what_waits(hall: Hall) -> None:
    hall.emit()
    put(hall.channel, *say("a"))
    assert hall.got == [1, 2]
    hall.emit()
    put(hall.channel, draft_event("long", "x" * 200))
    assert hall.got == [1, 2, 3, 4]


def test_a_short_log_defers_little_and_a_room_of_its_own_nothing() -> None:
    hall = Hall(history_size=16)
    hall.emit()
    assert hall.got == []
    hall.emit()
    assert hall.got == [1, 2]
    hall = Hall(history_size=8)
    hall.emit()
    assert hall.got == [1]
    room = Room("alone")
    streams = [room.add(number, "s") for number in range(1, MANY + 2)]
    room.emit("tick")
    assert streams[-1].take()[-1].name == "tick"
    assert room.fanout.batching is None


def test_errors_and_keys_belong_to_the_caller(hall: Hall) -> None:
    hall.emit()
    assert put(hall.channel, event(key="k")) == put(hall.channel, event(key="k")) == [2]
    hall.channel._closed = True
    with pytest.raises(RoomClosed):
        hall.channel.publish([event()])
    hall.later.run()
    assert hall.got == [1, 2]


def test_whoever_is_skipped_gets_the_rest_of_the_batch(hall: Hall) -> None:
    sink = RecordingSink()
    hall.listen(sink, session="mine")
    hall.emit()
    hall.emit(skip="mine")
    hall.emit(2)
    assert hall.got == [1, 2, 3, 4]
    assert sink.got == [1, 3, 4]


def test_filters_choose_from_a_batch(hall: Hall) -> None:
    sink = RecordingSink()
    hall.listen(sink, wanted=Filter(names=["other"]))
    hall.emit()
    put(hall.channel, draft_event("other", 1))
    hall.emit(2)
    assert sink.got == [2]


# -- order -------------------------------------------------------------------------------------------


def test_what_is_in_no_log_follows_what_is(hall: Hall) -> None:
    before: list[list[int]] = []
    hall.emit()
    hall.fanout.tell(lambda subscriptions, listed: before.append(hall.got[:]))
    hall.emit()
    hall.fanout.whisper("typing", [hall.encode], but=None)
    assert before == [[1]]
    assert hall.got == [1, 2]


def test_nothing_is_offered_to_anybody_before_what_waits(hall: Hall) -> None:
    hall.emit()
    seen = entering(lambda listed: hall.got[:])
    assert seen == [1]


def test_only_one_room_at_a_time_defers_so_the_rooms_keep_their_order() -> None:
    first, second = Hall(name="first"), Hall(name="second")
    both = RecordingSink()
    first.listen(both)
    second.listen(both)
    second.channel._head = second.fanout._tail.head = 100
    first.emit(2)
    second.emit()
    assert both.got == [1, 2, 101]
    second.emit()
    assert both.got == [1, 2, 101]
    first.emit()
    assert both.got == [1, 2, 101, 102, 3]
    first.emit()
    put(second.channel, *say("a"))
    assert both.got == [1, 2, 101, 102, 3, 4, 103]


def test_whoever_comes_meanwhile_gets_each_event_once(hall: Hall) -> None:
    early, late = RecordingSink(), RecordingSink()
    before = hall.fanout.subscribe(early, ids_of, name="early")
    hall.emit(2)
    before.start()
    join(producers("early"))
    assert hall.got == early.got == [1, 2]
    hall.emit()
    hall.listen(late)
    assert hall.got == [1, 2, 3]
    hall.emit(4)
    assert hall.got == early.got == [*range(1, 8)]
    assert late.got == [4, 5, 6, 7]


def test_whoever_goes_live_while_somebody_emits_gets_each_event_once(hall: Hall) -> None:
    """The event is put off after the one who comes has looked for such, and before it has the room's lock."""
    sink, lock = RecordingSink(), hall.fanout._lock
    subscription = hall.fanout.subscribe(sink, ids_of, name="race")
    emitted = 0

    class Slow:
        def __enter__(self) -> None:
            nonlocal emitted
            hall.fanout._lock = lock
            if not emitted:
                emitted += 1
                hall.emit()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    hall.fanout._lock = Slow()  # type: ignore[assignment]
    subscription.start()
    join(producers("race"))
    assert emitted
    assert subscription.live
    hall.emit(4)
    hall.fanout.flush()
    assert hall.got == sink.got == [1, 2, 3, 4, 5]


def test_whoever_leaves_gets_what_was_published_before(hall: Hall) -> None:
    hall.emit()
    hall.subscriptions[0].stop()
    hall.emit()
    hall.later.run()
    assert hall.sinks[0].got == [1]
    assert hall.sinks[1].got == [1, 2]


def test_the_last_event_follows_what_waits(hall: Hall) -> None:
    hall.emit()
    hall.channel.close()
    assert hall.got == [1, 2]


def test_a_room_that_is_forgotten_and_a_log_that_begins_anew_take_nothing_along(hall: Hall) -> None:
    hall.emit()
    hall.fanout.begin(Position(7, "new"))
    assert hall.got == [1]
    hall = Hall(0)
    for _ in range(MANY):
        hall.sinks.append(RecordingSink())
        hall.listen(hall.sinks[-1], background=True)
    hall.emit()
    assert hall.fanout.close(0.0)
    assert hall.got == [1]


def test_eight_who_emit_and_two_who_write_agree_on_one_order(hall: Hall) -> None:
    together = threading.Barrier(10)

    def emit() -> None:
        together.wait(PATIENCE)
        hall.emit(50)

    def write() -> None:
        together.wait(PATIENCE)
        for _ in range(20):
            put(hall.channel, *say("a", "b"))
            hall.later.run()

    join(run(*[emit] * 8, *[write] * 2))
    hall.fanout.flush()
    assert hall.got == list(range(1, 481))


# -- sinks that are full -----------------------------------------------------------------------------


def test_whoever_has_no_room_for_a_batch_reads_it_from_the_log(hall: Hall) -> None:
    told: list[int] = []
    hall.fanout.fell_behind = told.append
    hall.sinks[0].answer = Answer.NO
    hall.emit(2)
    put(hall.channel, *say("a"))
    hall.sinks[0].answer = Answer.YES
    join(producers("hall"))
    assert hall.got == [1, 2, 3]
    assert told == [1]


def test_who_falls_behind_in_a_flush_is_served_and_not_by_the_thread_that_flushes(hall: Hall) -> None:
    served: list[str] = []
    done = threading.Event()

    def fell_behind(count: int) -> None:
        served.append(threading.current_thread().name)
        done.set()

    hall.fanout.fell_behind = fell_behind
    hall.sinks[0].answer = Answer.NO
    hall.emit(2)
    hall.later.run()
    assert done.wait(PATIENCE)
    hall.sinks[0].wait_for(lambda sink: sink.got == [1, 2])
    assert served == ["fan-out"]


def test_without_another_thread_those_who_emit_do_it_themselves(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    hall.fanout.batching = Batching(no_thread, 4, 200)
    hall.emit()
    assert hall.got == [1]
    told: list[int] = []
    hall.fanout.fell_behind = told.append
    hall.fanout.batching = Batching(hall.later, 4, 200)
    hall.sinks[0].answer = Answer.NO
    hall.emit()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    hall.later.run()
    assert told == [1]
    assert hall.sinks[0].fell_behind == 1  # no producer either


def test_a_flush_shuts_the_gate_and_one_that_passes_meanwhile_does_not_open_it(hall: Hall) -> None:
    def shut() -> Any:
        hall.emit()
        hall.sinks[0].answer = Answer.HIGH
        hall.later.run()
        hall.sinks[0].answer = Answer.YES
        gate = hall.channel.publish([event()])
        assert isinstance(gate, Gate)
        assert isinstance(hall.channel.publish(say("a")), Gate)
        return hall.sinks[0].line.given[-1]

    first = shut()

    class Flushed(Gate):
        @property
        def passed(self) -> bool:
            hall.fanout._gate = second
            return True

    first.let_pass()
    second = Gate([type(first)()])
    hall.fanout._gate = Flushed([])
    assert hall.channel.publish([event()]) is second
    hall.fanout._gate = None
    shut().let_pass()
    hall.emit()


def test_whoever_writes_looks_at_the_gate_after_what_waits() -> None:
    """A batch of messages and one of events together may be more than there is room for."""
    room = Room("r")
    hall = Hall()
    room.fanout, room.channel = hall.fanout, hall.channel
    hall.sinks[0].answer = Answer.HIGH
    hall.emit()
    assert isinstance(room.try_publish(say("a")), Gate)
    assert hall.got == [1]
    hall.sinks[0].line.given[0].let_pass()
    hall.sinks[0].answer = Answer.YES
    assert room.try_publish([]) == []
    assert not isinstance(room.try_publish(say("a")), Gate)
    assert hall.got == [1, 2]


def test_whoever_emits_waits_for_those_who_catch_up_also_if_another_thread_makes_the_offers() -> None:
    """Otherwise the log would outrun them, because no batch is ever completed by who emits."""
    hall, slow = Hall(history_size=32), RecordingSink()
    slow.has_room = False
    subscription = hall.fanout.subscribe(slow, ids_of, name="slow")
    hall.emit()
    subscription.start()
    assert slow.feeding.acquire(timeout=PATIENCE)
    answer: Any = None
    emitted = 1
    while not isinstance(answer, Gate) and emitted < 40:
        answer = hall.channel.publish([event()])
        hall.later.run()
        emitted += not isinstance(answer, Gate)
    assert emitted < 24, "half of the log is left"
    slow.set()
    join(producers("slow"))
    assert subscription.live
    assert slow.fell_behind == 0
    hall.fanout.flush()
    assert hall.got == slow.got == list(range(1, emitted + 1))


@pytest.mark.parametrize("history_bytes", [1, 200, 800, 1600])
def test_whoever_has_no_room_finds_the_whole_batch_in_a_log_of_few_bytes(history_bytes: int) -> None:
    hall = Hall(history_bytes=history_bytes)
    hall.sinks[0].answer = Answer.NO
    for _ in range(4):
        put(hall.channel, draft_event("long", "x" * 60))
        hall.sinks[0].answer = Answer.NO if hall.fanout._deferred else Answer.YES
        if not hall.fanout._deferred:
            join(producers("hall"))
    hall.fanout.flush()
    join(producers("hall"))
    assert hall.sinks[0].fell_behind == 0
    assert hall.got == [1, 2, 3, 4]


def test_no_batch_is_completed_between_the_offers_of_another_thread_and_its_gate(hall: Hall) -> None:
    """Those who are nearly full have no room for it: all of them would read it from the log."""
    lock, come = hall.fanout._lock, threading.Semaphore(0)
    emitters: list[threading.Thread] = []

    class Watched:
        def __enter__(self) -> None:
            if not lock.acquire(blocking=False):
                come.release()
                lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    class Line(Tickets):
        def ticket(self) -> Ticket:
            hall.sinks[0].line = Tickets()
            emitters.extend(run(emit))
            assert come.acquire(timeout=PATIENCE)
            return super().ticket()

    answers: list[Any] = []

    def emit() -> None:
        while len(answers) < 4 and not isinstance((answers or [None])[-1], Gate):
            answers.append(hall.channel.publish([event()]))
        come.release()

    hall.fanout._lock = Watched()  # type: ignore[assignment]
    hall.emit()
    hall.sinks[0].line, hall.sinks[0].answer = Line(), Answer.HIGH
    hall.later.run()
    join(emitters)
    assert isinstance(answers[-1], Gate)
    assert hall.got == [1]
    hall.sinks[0].answer = Answer.YES


# -- interrupts and forks ----------------------------------------------------------------------------

FILES = (*PUBLICATION, "wire/listing.py")


@pytest.mark.parametrize("waiting", [0, 2, 3])
@pytest.mark.parametrize("flushes", [False, True])
def test_an_interrupt_anywhere_loses_no_event(
    waiting: int, flushes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_delivery, "MANY", 2)

    def prepare() -> tuple[Callable[[], object], Callable[[str], None]]:
        hall = Hall(2)
        full = RecordingSink()
        hall.listen(full)
        full.answer = Answer.NO
        hall.emit(waiting)

        def action() -> None:
            if flushes:
                hall.fanout.flush()
            else:
                hall.emit(key="k")

        def check(place: str) -> None:
            full.answer = Answer.YES
            newest = waiting + (not flushes)
            if not flushes:
                assert put(hall.channel, event(key="k")) == [newest], place
            hall.later.run()
            assert DEFERRED.owner is None, place
            for sink in (*hall.sinks, full):
                sink.wait_for(lambda sink: set(sink.got) == set(range(1, newest + 1)))
            put(hall.channel, *say("z"))
            for sink in (*hall.sinks, full):
                sink.wait_for(lambda sink: set(sink.got) == set(range(1, newest + 2)))
            page = hall.channel.history(Position(0, hall.channel.epoch), 100, False)
            assert ids_of(page.records) == list(range(1, newest + 2)), place
            assert hall.fanout._tail._bytes == sum(len(item.json) for item in page.records), place
            assert not hall.fanout._lock.locked(), place

        return action, check

    places = list(interrupted_everywhere(prepare, *FILES))
    if not flushes:
        assert any(" _defer:" in place for place in places)
    assert len(places) > 30 or (flushes and not waiting)


def test_a_forked_process_waits_for_no_lock_of_its_parent() -> None:
    """The parent's thread holds the room's lock, and something is put off, when the process forks."""
    code = """
import os
from tests.chat.delivery.test_live_delivery import Hall
from threadchat.wire.listing import DEFERRED, entering
hall = Hall()
hall.emit()
hall.fanout._lock.acquire()
DEFERRED._lock.acquire()
child = os.fork()
if child == 0:
    entering(lambda listed: None)
    os._exit(0 if DEFERRED.owner is None and DEFERRED.claim(hall.fanout) else 1)
DEFERRED._lock.release()
hall.fanout._lock.release()
hall.later.run()
assert hall.got == [1]
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], env=environ, timeout=PATIENCE, check=True)


def test_what_is_put_off_is_forgotten_before_anything_else_starts_from_scratch() -> None:
    from threadchat.wire.threads import forking

    assert DEFERRED in forking._first
    assert DEFERRED not in forking._known
