"""The bounded queue of one connection; what its own threads do is in `test_writer.py`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from tests.wire.helpers import (
    PATIENCE,
    FakeClock,
    RecordingLine,
    finish,
    free_permits,
    run_all,
    split_frames,
    start,
    switching,
)
from threadchat.errors import Cancelled, ConnectionClosed, SendTimeout
from threadchat.wire.outbox import Answer, Outbox, State
from threadchat.wire.priority_queue import MAX_TAKE, MAX_TAKE_REFUSED
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Close, Echo, FlushingClose, Ping, Pong, Text
from threadchat.wire.turnstile import Turnstile


class SignallingOutbox(Outbox):
    """Tells when a put begins to wait, with the seconds that it is willing to."""

    def __init__(self, *args: int, clock: Callable[[], float] | None = None) -> None:
        super().__init__(RecordingLine(), *args, clock=clock or FakeClock())
        self.waits: queue.Queue[float | None] = queue.Queue()
        wait = self.not_full.wait

        def tell(timeout: float | None = None) -> bool:
            self.waits.put(timeout)  # the mutex is held: whoever notifies comes after the wait began
            return wait(PATIENCE)

        self.not_full.wait = tell  # type: ignore[method-assign]

    def patience(self) -> float | None:
        """Blocks until a put waits."""
        return self.waits.get(timeout=PATIENCE)


@pytest.fixture
def line() -> RecordingLine:
    return RecordingLine()


@pytest.fixture
def outbox(line: RecordingLine) -> Outbox:
    return Outbox(line, max_messages=100, max_bytes=10_000, clock=FakeClock())


def a_text(size: int = 10, messages: int = 1) -> Text:
    return Text(b"x" * size, messages)


def numbered(i: int) -> Text:
    return Text(frames.encode(frames.TEXT, b"%d" % i))


def fill(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        assert outbox.offer(a_text(), []) is not Answer.NO


def never() -> bool:
    return False


# -- offers --------------------------------------------------------------------------------------------


def test_offers_are_taken_until_the_outbox_is_full(outbox: Outbox) -> None:
    answers = [outbox.offer(a_text(), []) for _ in range(101)]
    assert answers == [Answer.YES] * 75 + [Answer.HIGH] * 25 + [Answer.NO]
    assert outbox.qsize() == 100


def test_the_limit_in_bytes_counts_too(outbox: Outbox) -> None:
    answers = [outbox.offer(a_text(1000), []) for _ in range(11)]
    assert answers == [Answer.YES] * 7 + [Answer.HIGH] * 3 + [Answer.NO]


def test_a_text_of_several_messages_counts_as_so_many(outbox: Outbox) -> None:
    fill(outbox, 70)
    assert outbox.offer(a_text(messages=31), []) is Answer.NO
    assert outbox.offer(a_text(messages=30), []) is Answer.HIGH
    assert outbox.qsize() == 100


def test_a_frame_above_the_limit_enters_an_empty_outbox_only(outbox: Outbox) -> None:
    monster = a_text(50_000)
    assert outbox.offer(monster, []) is Answer.HIGH
    assert outbox.offer(a_text(), []) is Answer.NO
    outbox.take()
    fill(outbox, 1)
    assert outbox.offer(monster, []) is Answer.NO


def test_the_response_of_the_handshake_takes_no_room(outbox: Outbox) -> None:
    outbox.put(a_text(9_000, messages=0))
    assert outbox.qsize() == 0
    assert outbox.offer(a_text(9_000), []) is Answer.HIGH
    assert outbox.take() == b"x" * 18_000


def test_only_an_offer_to_an_idle_outbox_lists_it(outbox: Outbox, line: RecordingLine) -> None:
    listed: list[Outbox] = []
    fill_one = a_text()
    outbox.offer(fill_one, listed)
    outbox.offer(fill_one, listed)
    assert listed == [outbox]
    assert outbox.state is State.LISTED
    outbox.take()
    outbox.offer(fill_one, listed)  # RUNNING: found when the turn is settled
    assert listed == [outbox]
    assert line.entered == [], "to enter is the publisher's"


def test_an_offer_to_a_slow_peer_is_never_high(outbox: Outbox) -> None:
    outbox.take()
    outbox.block()
    answers = [outbox.offer(a_text(), []) for _ in range(101)]
    assert answers == [Answer.YES] * 100 + [Answer.NO]


def test_a_closed_outbox_takes_no_offer(outbox: Outbox) -> None:
    outbox.close(FlushingClose(1000))
    assert outbox.offer(a_text(), []) is Answer.GONE
    assert outbox.offer_light(a_text(), []) is Answer.GONE


def test_light_offers_are_taken_up_to_half(outbox: Outbox) -> None:
    listed: list[Outbox] = []
    answers = [outbox.offer_light(a_text(), listed) for _ in range(51)]
    assert answers == [Answer.YES] * 50 + [Answer.NO]
    assert listed == [outbox]


# -- what is taken -------------------------------------------------------------------------------------


def test_a_take_is_all_that_waits(outbox: Outbox) -> None:
    for i in range(5):
        outbox.put(numbered(i))
    assert split_frames(outbox.take()) == [(frames.TEXT, b"%d" % i) for i in range(5)]
    assert outbox.take() == b""


def test_a_ping_behind_a_hundred_texts_is_the_next_thing_taken(outbox: Outbox) -> None:
    for i in range(100):
        outbox.put(numbered(i))
    outbox.put(Ping(b"!"))
    taken = split_frames(outbox.take())
    assert taken[0] == (frames.PING, b"!")
    assert taken[1:] == [(frames.TEXT, b"%d" % i) for i in range(100)]


def test_a_single_text_is_not_copied(outbox: Outbox) -> None:
    text = a_text()
    outbox.put(text)
    assert outbox.take() is text.frame


def test_takes_are_bounded_and_smaller_once_the_socket_refused_some(line: RecordingLine) -> None:
    outbox = Outbox(line, max_messages=1000)
    for _ in range(64):
        outbox.put(a_text(16 << 10))
    assert len(outbox.take()) == MAX_TAKE
    outbox.block()
    assert outbox.settle() is State.LISTED
    assert len(outbox.take()) == MAX_TAKE_REFUSED
    assert outbox.qsize() == 64 - 16 - 4


def test_a_big_frame_is_taken_whole(line: RecordingLine) -> None:
    outbox = Outbox(line)
    outbox.put(a_text(900_000))
    outbox.put(a_text(10))
    assert len(outbox.take()) == 900_000
    assert len(outbox.take()) == 10


def test_control_frames_ride_along_with_a_bounded_take(line: RecordingLine) -> None:
    outbox = Outbox(line)
    for _ in range(2):
        outbox.put(a_text(MAX_TAKE))
    outbox.put(Ping())
    assert outbox.take()[:2] == Ping().frame
    outbox.put(Pong())
    assert outbox.take()[:2] == Pong().frame


def test_get_answers_in_the_same_order_and_never_waits(outbox: Outbox) -> None:
    text, ping, close = a_text(), Ping(), FlushingClose(1000)
    outbox.put(text)
    outbox.put(ping)
    outbox.close(close)
    assert [outbox.get() for _ in range(3)] == [ping, text, close]
    with pytest.raises(queue.Empty):
        outbox.get()


# -- turns ---------------------------------------------------------------------------------------------


def test_a_put_on_an_idle_outbox_enters_the_line_once(outbox: Outbox, line: RecordingLine) -> None:
    outbox.put(a_text())
    outbox.put(a_text())
    assert line.entered == [outbox]
    assert line.urged == []


def test_a_control_frame_goes_to_the_front_of_the_line(outbox: Outbox, line: RecordingLine) -> None:
    outbox.put(Ping())
    assert (line.entered, line.urged) == ([outbox], [outbox])
    outbox.put(Pong())
    assert (line.entered, line.urged) == ([outbox], [outbox] * 2)
    outbox.take()
    outbox.put(Pong())
    assert len(line.urged) == 2, "RUNNING stands in no line"


def test_a_turn_settles_where_nothing_waits(outbox: Outbox) -> None:
    outbox.put(a_text())
    outbox.take()
    assert outbox.state is State.RUNNING
    assert outbox.settle() is State.IDLE


@pytest.mark.parametrize("item", [a_text(), Ping(), FlushingClose(1000)])
def test_what_came_during_a_turn_lists_the_outbox_again(
    outbox: Outbox, line: RecordingLine, item: Text | Ping | FlushingClose
) -> None:
    outbox.put(a_text())
    outbox.take()
    outbox.put(item)
    assert outbox.settle() is State.LISTED
    assert line.entered == [outbox], "the writer enters by itself"


def test_put_racing_settle_is_never_forgotten(line: RecordingLine) -> None:
    """Whoever comes second sees what the first one did: either settle lists, or the put does."""
    with switching():
        for _ in range(300):
            line.entered.clear()
            outbox = Outbox(line)
            outbox.take()
            settled: list[State] = []
            run_all([lambda: outbox.put(a_text()), lambda: settled.append(outbox.settle())])  # noqa: B023
            assert outbox.state is State.LISTED
            assert (settled == [State.LISTED]) != (line.entered == [outbox])


# -- puts that wait ------------------------------------------------------------------------------------


def test_put_does_not_wait_where_it_is_told_not_to(outbox: Outbox) -> None:
    fill(outbox, 100)
    with pytest.raises(queue.Full):
        outbox.put(a_text(), block=False)
    with pytest.raises(queue.Full):
        outbox.put_nowait(a_text())


def test_a_waiting_put_is_woken_by_a_take() -> None:
    outbox = SignallingOutbox(100, 10_000)
    fill(outbox, 100)
    putter = start(lambda: outbox.put(Text(b"late"), timeout=3))
    outbox.patience()
    outbox.take()
    finish(putter)
    assert outbox.take() == b"late"


@pytest.mark.parametrize("end", ["close", "end"])
def test_a_waiting_put_is_woken_by_a_close(end: str) -> None:
    outbox = SignallingOutbox(100, 10_000)
    fill(outbox, 100)
    closings: list[ConnectionClosed] = []

    def put() -> None:
        with pytest.raises(ConnectionClosed) as caught:
            outbox.put(a_text(), timeout=3)
        closings.append(caught.value)

    putter = start(put)
    outbox.patience()
    if end == "close":
        outbox.close(FlushingClose(3005, "expired"))
    else:
        outbox.end(ConnectionClosed(3005, "expired"))
    finish(putter)
    assert (closings[0].code, closings[0].reason) == (3005, "expired")


def test_a_waiting_feed_is_woken_by_its_cancellation_and_puts_nothing() -> None:
    outbox = SignallingOutbox(100, 10_000)
    fill(outbox, 50)
    cancelled = threading.Event()
    outcome: list[type] = []

    def feed() -> None:
        with pytest.raises(Cancelled) as caught:
            outbox.feed(a_text(), 3, cancelled.is_set)
        outcome.append(caught.type)

    feeder = start(feed)
    outbox.patience()
    outbox.nudge()
    outbox.patience()  # looked, was not cancelled, waits again
    cancelled.set()
    outbox.nudge()
    finish(feeder)
    assert outcome == [Cancelled]
    assert outbox.qsize() == 50


def test_a_cancelled_feed_puts_nothing_even_where_there_is_room(outbox: Outbox) -> None:
    with pytest.raises(Cancelled):
        outbox.feed(a_text(), 3, lambda: True)
    assert outbox.qsize() == 0


def test_nothing_is_put_once_a_nudge_after_a_cancellation_returned(line: RecordingLine) -> None:
    with switching():
        for _ in range(100):
            outbox = Outbox(line, 1_000_000, 1 << 30)
            cancelled = threading.Event()

            def feed(outbox: Outbox = outbox, cancelled: threading.Event = cancelled) -> None:
                try:
                    while True:
                        outbox.feed(a_text(), 3, cancelled.is_set)
                except Cancelled:
                    pass

            feeder = start(feed)
            cancelled.set()
            outbox.nudge()
            waiting = outbox.qsize()
            finish(feeder)
            assert outbox.qsize() == waiting


def test_feed_stops_at_half_and_put_goes_on() -> None:
    outbox = SignallingOutbox(100, 10_000)
    for _ in range(50):
        outbox.feed(a_text(), 3, never)
    feeder = start(lambda: outbox.feed(Text(b"fed"), 3, never))
    outbox.patience()
    fill(outbox, 50)
    outbox.take()
    finish(feeder)
    assert outbox.take() == b"fed"


def test_feed_stops_at_half_of_the_bytes() -> None:
    outbox = SignallingOutbox(100, 10_000)
    outbox.feed(a_text(5_000), 3, never)
    feeder = start(lambda: outbox.feed(Text(b"fed"), 3, never))
    outbox.patience()
    outbox.take()
    finish(feeder)


def test_put_waits_for_as_long_as_the_writer_waits_for_its_turn() -> None:
    """LISTED or RUNNING is no fault of the peer's, however long it lasts."""
    clock = FakeClock()
    outbox = SignallingOutbox(1, 1000, clock=clock)
    outbox.put(a_text())
    putter = start(lambda: outbox.put(Text(b"late"), timeout=3))
    for _ in range(5):
        assert outbox.patience() == 3
        clock.advance(1000)
        outbox.nudge()
    outbox.patience()
    outbox.take()
    finish(putter)


def blocked(clock: FakeClock) -> SignallingOutbox:
    """An outbox whose socket just refused some bytes, and which is full again."""
    outbox = SignallingOutbox(1, 1000, clock=clock)
    outbox.put(a_text())
    outbox.take()
    outbox.block()
    outbox.put(a_text())
    return outbox


def test_put_gives_up_on_a_peer_that_takes_no_byte() -> None:
    clock = FakeClock()
    outbox = blocked(clock)
    failures: list[SendTimeout] = []

    def put() -> None:
        with pytest.raises(SendTimeout, match="no byte for 3 s") as caught:
            outbox.put(a_text(), timeout=3)
        failures.append(caught.value)

    putter = start(put)
    assert outbox.patience() == 3
    clock.advance(2.5)
    outbox.nudge()
    assert outbox.patience() == 0.5
    clock.advance(0.5)
    outbox.nudge()
    finish(putter)
    assert failures
    assert outbox.qsize() == 1


def test_time_in_which_the_process_was_stopped_does_not_count_against_the_peer() -> None:
    clock = FakeClock()
    outbox = blocked(clock)
    putter = start(lambda: outbox.put(a_text(), timeout=3))
    assert outbox.patience() == 3
    clock.advance(60)
    outbox.nudge()
    assert outbox.patience() == 3, "its time begins anew"
    outbox.take()
    finish(putter)


def test_silence_from_before_a_put_does_not_count_against_it() -> None:
    clock = FakeClock()
    outbox = blocked(clock)
    clock.advance(9)
    putter = start(lambda: outbox.put(a_text(), timeout=3))
    assert outbox.patience() == 3
    outbox.take()
    finish(putter)


def test_a_peer_that_reads_slowly_but_steadily_is_waited_for() -> None:
    clock = FakeClock()
    outbox = blocked(clock)
    putter = start(lambda: outbox.put(Text(b"late"), timeout=3))
    assert outbox.patience() == 3
    for _ in range(20):
        clock.advance(2)
        outbox.progress()
        outbox.nudge()
        assert outbox.patience() == 3
    outbox.take()
    finish(putter)


def test_a_put_that_waits_learns_of_the_block() -> None:
    clock = FakeClock()
    outbox = SignallingOutbox(1, 1000, clock=clock)
    outbox.take()
    outbox.put(a_text())
    putter = start(lambda: outbox.put(a_text(), timeout=3))
    assert outbox.patience() == 3
    clock.advance(2)
    outbox.block()
    assert outbox.patience() == 3, "the socket took bytes just now"
    outbox.take()
    finish(putter)


def test_control_frames_never_wait(outbox: Outbox) -> None:
    fill(outbox, 100)
    for item in (Ping(), Pong(), FlushingClose(1000)):
        outbox.put(item, timeout=0)
    assert [opcode for opcode, _ in split_frames(outbox.take()[:4])] == [frames.PING, frames.PONG]


# -- the end -------------------------------------------------------------------------------------------


def test_a_flushing_close_leaves_after_all_that_waits(outbox: Outbox) -> None:
    outbox.put(numbered(1))
    outbox.close(FlushingClose(1001, "bye"))
    assert not outbox.ended
    assert [opcode for opcode, _ in split_frames(outbox.take())] == [frames.TEXT, frames.CLOSE]
    assert outbox.ended


def test_a_flushing_close_waits_for_more_than_one_take(line: RecordingLine) -> None:
    outbox = Outbox(line)
    for _ in range(3):
        outbox.put(a_text(MAX_TAKE))
    outbox.close(FlushingClose(1000))
    for _ in range(2):
        assert outbox.take() == b"x" * MAX_TAKE
        assert not outbox.ended
        assert outbox.settle() is State.LISTED
    assert outbox.take() == b"x" * MAX_TAKE + FlushingClose(1000).frame
    assert outbox.ended


def test_any_other_close_leaves_at_once_and_alone(outbox: Outbox) -> None:
    fill(outbox, 100)
    outbox.put(Ping())
    outbox.close(Close(3503))
    assert outbox.take() == Close(3503).frame
    assert outbox.ended
    assert outbox.qsize() == 0


@pytest.mark.parametrize("close", [FlushingClose(1000), Close(1000), Echo()])
@pytest.mark.parametrize("way", ["close", "put"])
def test_after_a_close_nothing_follows(outbox: Outbox, close: Close, way: str) -> None:
    getattr(outbox, way)(close)
    with pytest.raises(ConnectionClosed):
        outbox.put(a_text())
    with pytest.raises(ConnectionClosed):
        outbox.feed(a_text(), 3, never)
    outbox.put(Ping())
    outbox.put(Pong())
    outbox.close(Close(3503))
    assert outbox.take() == close.frame
    for item in (Ping(), Close(3503)):
        outbox.put(item)
    assert outbox.take() == b""


@pytest.mark.parametrize("state", list(State))
def test_an_end_lists_an_idle_outbox_only(outbox: Outbox, line: RecordingLine, state: State) -> None:
    """The others meet their writer anyway: in its turn, or at the end of its poll."""
    outbox.state = state
    outbox.end(ConnectionClosed(1006))
    assert outbox.ended
    assert line.entered == ([outbox] if state is State.IDLE else [])
    outbox.end(ConnectionClosed(1006))
    assert len(line.entered) <= 1


@pytest.mark.parametrize("state", [State.RUNNING, State.BLOCKED])
def test_an_ended_outbox_stays_where_it_is(outbox: Outbox, line: RecordingLine, state: State) -> None:
    outbox.state = state
    outbox.end(ConnectionClosed(1006))
    assert outbox.settle() is state
    outbox.end(ConnectionClosed(1006))
    outbox.put(Ping())
    assert line.entered == []


def test_an_end_drops_what_waits(outbox: Outbox) -> None:
    fill(outbox, 10)
    outbox.put(Ping())
    outbox.close(FlushingClose(1000))
    outbox.end(ConnectionClosed(1006))
    assert outbox.qsize() == 0
    assert outbox.take() == b""


# -- many producers ------------------------------------------------------------------------------------


def test_64_producers_keep_their_order_and_lose_nothing() -> None:
    """Offers and puts mixed, a turnstile of two, a consumer that takes whenever it has a permit."""
    producers, each = 64, 200
    turnstile = Turnstile()
    outbox = Outbox(turnstile, max_messages=20)
    taken: list[tuple[int, bytes]] = []

    def consume() -> None:
        while len(taken) < producers * each:
            outbox.wait_for_permit()
            again = True
            while again:
                taken.extend(split_frames(outbox.take()))
                again = turnstile.leave(outbox, outbox.settle() is State.LISTED)

    def produce(who: int) -> None:
        for i in range(each):
            text = Text(frames.encode(frames.TEXT, b"%d %d" % (who, i)))
            listed: list[Outbox] = []
            if (who + i) % 2 and outbox.offer(text, listed) is not Answer.NO:
                turnstile.enter(listed)
            else:
                outbox.put(text, timeout=PATIENCE)

    with switching(1e-5):
        consumer = start(consume)
        run_all([lambda who=who: produce(who) for who in range(producers)])  # type: ignore[misc]
        finish(consumer)
    by_producer: dict[int, list[int]] = {}
    for _, payload in taken:
        who, i = map(int, payload.split())
        by_producer.setdefault(who, []).append(i)
    assert by_producer == {who: list(range(each)) for who in range(producers)}
    assert free_permits(turnstile) == turnstile.permits
    assert outbox.state is State.IDLE
