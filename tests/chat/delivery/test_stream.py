"""How `chat/delivery/stream.py` holds events, and publishers, and how long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from tests.chat.helpers import PATIENCE, Clock, Watched, join, records, run
from threadchat.chat.delivery.listener import ListenerThread
from threadchat.chat.delivery.stream import EventStream, SharedStream, events_of
from threadchat.chat.log.events import Draft, Event, record
from threadchat.errors import Cancelled, SlowConsumer
from threadchat.wire.outbox import Answer


def never() -> bool:
    return False


def payload(first: int, last: int) -> tuple[Event, ...]:
    return events_of(records(first, last))


def close_event(offset: int) -> tuple[Event, ...]:
    return (record(Draft("close"), offset, "r", 7).event,)


def ids(events: list[Event]) -> list[int]:
    return [event.id for event in events]


def watched(stream: EventStream) -> Watched:
    """Tells when somebody waits in the stream."""
    stream._changed = condition = Watched()
    return condition


class Consumer:
    """Takes from a stream on a thread, once."""

    def __init__(self, take: Callable[[], object]) -> None:
        self.result: object = None
        self._take = take
        self.threads = run(self._run)

    def _run(self) -> None:
        try:
            self.result = self._take()
        except Exception as error:
            self.result = error

    def end(self) -> object:
        join(self.threads)
        return self.result


# -- the consumer ------------------------------------------------------------------------------------


def test_events_come_out_in_order() -> None:
    stream = EventStream()
    assert stream.offer(payload(1, 3), []) is Answer.YES
    assert stream.offer(payload(4, 4), []) is Answer.YES
    assert ids(stream.take(2)) == [1, 2]
    assert stream.get(0).id == 3  # type: ignore[union-attr]
    assert ids(stream.take()) == [4]


def test_a_consumer_waits_for_events() -> None:
    stream = EventStream()
    waiting = watched(stream).waiting
    consumer = Consumer(stream.take)
    assert waiting.acquire(timeout=PATIENCE)
    stream.offer(payload(1, 2), [])
    assert consumer.end() == list(payload(1, 2))


def test_a_consumer_may_wait_for_so_long_only() -> None:
    stream = EventStream()
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        stream.get(timeout=0.01)
    with pytest.raises(TimeoutError):
        stream.take(timeout=0)
    stream.offer(payload(1, 1), [])
    assert ids(stream.take(timeout=0)) == [1]


def test_the_close_event_ends_the_stream() -> None:
    stream = EventStream()
    stream.offer(payload(1, 1), [])
    stream.offer(close_event(2), [])
    stream.offer(payload(3, 3), [])
    assert [event.type for event in stream] == ["message", "close"]
    assert list(stream) == []
    assert stream.get() is None
    assert stream.take() == []


def test_close_wakes_a_consumer_and_lets_it_have_the_rest() -> None:
    stream = EventStream()
    waiting = watched(stream).waiting
    consumer = Consumer(stream.take)
    assert waiting.acquire(timeout=PATIENCE)
    stream.close()
    assert consumer.end() == []

    stream = EventStream()
    stream.offer(payload(1, 2), [])
    stream.close()
    assert ids(list(stream)) == [1, 2]


def test_a_loop_that_is_left_can_be_taken_up_again() -> None:
    stream = EventStream()
    stream.offer(payload(1, 5), [])
    for event in stream:
        if event.id == 2:
            break
    assert stream.get(0).id == 3  # type: ignore[union-attr]
    assert next(iter(stream)).id == 4
    stream.offer(payload(6, 6), [])
    stream.close()
    assert ids(list(stream)) == [5, 6]


def test_close_ends_what_feeds_the_stream() -> None:
    stream, ended = EventStream(), []
    stream.on_close = lambda: ended.append(1)
    stream.close()
    assert ended


def test_a_stream_that_fails_ends_what_feeds_it() -> None:
    stream, ended = EventStream(), []
    stream.on_close = lambda: ended.append(1)
    stream.fall_behind()
    assert ended


# -- offers ------------------------------------------------------------------------------------------


def test_answers_tell_how_full_the_stream_is() -> None:
    stream = EventStream(request_buffer=8)
    answers = [stream.offer(payload(number, number), []) for number in range(1, 10)]
    assert answers == [Answer.YES] * 6 + [Answer.HIGH] * 2 + [Answer.NO]
    assert ids(stream.take()) == list(range(1, 9)), "a refused event is not half taken"


def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    stream = EventStream(request_buffer=8)
    assert stream.offer(payload(1, 5), []) is Answer.YES
    assert stream.offer(payload(6, 9), []) is Answer.NO
    assert stream.offer(payload(6, 8), []) is Answer.HIGH
    assert ids(stream.take()) == list(range(1, 9))


def test_an_ended_stream_takes_everything_and_keeps_nothing() -> None:
    stream = EventStream(request_buffer=8)
    stream.close()
    assert stream.offer(payload(1, 20), []) is Answer.YES
    assert stream.take() == []


def test_nothing_is_listed_anywhere() -> None:
    listed: list[object] = []
    stream = EventStream()
    stream.offer(payload(1, 1), listed)
    stream.offer_light(payload(2, 2), listed)
    assert listed == []
    assert stream.line is stream


# -- producers ---------------------------------------------------------------------------------------


def test_a_producer_leaves_a_quarter_free() -> None:
    stream = EventStream(request_buffer=8)
    waiting = watched(stream).waiting
    stream.feed(payload(1, 4), never)
    producer = Consumer(lambda: stream.feed(payload(5, 7), never))
    assert waiting.acquire(timeout=PATIENCE)
    assert ids(stream.take(1)) == [1]
    assert producer.end() is None
    assert ids(stream.take()) == [2, 3, 4, 5, 6, 7]


def test_a_small_stream_takes_a_large_step_when_it_is_empty() -> None:
    stream = EventStream(request_buffer=4)
    waiting = watched(stream).waiting
    stream.feed(payload(1, 16), never)
    producer = Consumer(lambda: stream.feed(payload(17, 32), never))
    assert waiting.acquire(timeout=PATIENCE)
    assert ids(stream.take()) == list(range(1, 17))
    assert producer.end() is None
    assert ids(stream.take()) == list(range(17, 33))


def test_a_producer_that_is_called_off_puts_nothing() -> None:
    stream = EventStream(request_buffer=8)
    waiting = watched(stream).waiting
    stream.feed(payload(1, 6), never)
    cancelled = threading.Event()
    producer = Consumer(lambda: stream.feed(payload(7, 8), cancelled.is_set))
    assert waiting.acquire(timeout=PATIENCE)
    cancelled.set()
    stream.nudge()
    assert isinstance(producer.end(), Cancelled)
    assert ids(stream.take()) == list(range(1, 7))
    with pytest.raises(Cancelled):
        stream.feed(payload(7, 8), cancelled.is_set)


def test_a_producer_of_an_ended_stream_is_called_off() -> None:
    stream = EventStream(request_buffer=8)
    waiting = watched(stream).waiting
    stream.feed(payload(1, 6), never)
    producer = Consumer(lambda: stream.feed(payload(7, 8), never))
    assert waiting.acquire(timeout=PATIENCE)
    stream.close()
    assert isinstance(producer.end(), Cancelled)


def test_a_consumer_that_takes_nothing_ends_the_stream_for_its_producer() -> None:
    stream = EventStream(request_buffer=8, send_timeout=0)
    stream.feed(payload(1, 6), never)
    with pytest.raises(SlowConsumer):
        stream.feed(payload(7, 8), never)
    assert ids(stream.take()) == list(range(1, 7)), "what it has is still given out"
    for _ in range(2):
        with pytest.raises(SlowConsumer):
            stream.take()


# -- holding publishers ------------------------------------------------------------------------------


def fill(stream: EventStream) -> None:
    """Brings a stream of 8 to HIGH."""
    while stream.offer(payload(1, 1), []) is Answer.YES:
        pass


def test_a_ticket_of_a_stream_with_room_has_passed() -> None:
    stream = EventStream(request_buffer=8)
    ticket = stream.ticket()
    assert ticket.passed
    ticket.wait(PATIENCE)


def test_publishers_are_held_until_the_stream_is_half_empty() -> None:
    stream = EventStream(request_buffer=8)
    fill(stream)
    ticket = stream.ticket()
    waiting = watched(stream).waiting
    publishers = run(lambda: ticket.wait(PATIENCE), lambda: ticket.wait(PATIENCE))
    for _ in publishers:
        assert waiting.acquire(timeout=PATIENCE)
    stream.take(2)  # five are left
    assert not ticket.passed
    stream.take(1)
    assert ticket.passed
    join(publishers)
    assert ids(stream.take()) == [1] * 4
    stream.close()
    assert stream.take() == []


def test_an_ended_stream_holds_nobody() -> None:
    stream = EventStream(request_buffer=8)
    fill(stream)
    waiting = watched(stream).waiting
    publishers = run(lambda: stream.ticket().wait(PATIENCE))
    assert waiting.acquire(timeout=PATIENCE)
    stream.close()
    join(publishers)
    assert stream.ticket().passed


def test_patience_ends_and_the_stream_with_it() -> None:
    stream = EventStream(request_buffer=8, send_timeout=0)
    fill(stream)
    ticket = stream.ticket()
    assert not ticket.passed
    ticket.wait(PATIENCE)
    assert ticket.passed
    stream.take()
    with pytest.raises(SlowConsumer):
        stream.take()


def test_a_publisher_with_less_patience_leaves_the_stream_alone() -> None:
    stream = EventStream(request_buffer=8, send_timeout=PATIENCE)
    fill(stream)
    ticket = stream.ticket()
    ticket.wait(0)
    assert not ticket.passed
    stream.take()
    stream.offer(payload(1, 1), [])
    assert ids(stream.take()) == [1]


def hold_for(stream: EventStream, clock: Clock, seconds: float) -> None:
    """A publisher comes to a full stream and is held for so long; then the consumer takes half."""
    waiting = watched(stream).waiting
    publishers = run(lambda: stream.ticket().wait(PATIENCE))
    assert waiting.acquire(timeout=PATIENCE)
    clock.now += seconds
    stream.take(4)
    join(publishers)


def test_patience_is_for_all_holds_until_the_stream_is_empty() -> None:
    clock = Clock()
    stream = EventStream(request_buffer=8, send_timeout=PATIENCE, clock=clock)
    fill(stream)
    hold_for(stream, clock, PATIENCE - 1)
    assert len(stream.take()) == 3
    fill(stream)
    hold_for(stream, clock, PATIENCE - 1)  # it was empty: patience began anew
    fill(stream)
    hold_for(stream, clock, 1)
    fill(stream)
    stream.ticket().wait(0)  # nothing is left of it
    stream.take()
    with pytest.raises(SlowConsumer):
        stream.take(timeout=0)


def test_time_in_which_nobody_was_held_does_not_count() -> None:
    clock = Clock()
    stream = EventStream(request_buffer=8, send_timeout=PATIENCE, clock=clock)
    fill(stream)
    clock.now += 10 * PATIENCE
    hold_for(stream, clock, 1)
    stream.close()
    assert len(list(stream)) == 3


# -- listeners ---------------------------------------------------------------------------------------


class Note:
    """A listener that notes everything, and fails when it is told to."""

    def __init__(self, fails_at: int = 0) -> None:
        self.calls: list[object] = []
        self._fails_at = fails_at

    def __call__(self, event: Event) -> None:
        self.calls.append(event.id)
        if event.id == self._fails_at:
            raise ZeroDivisionError

    def flush(self) -> None:
        self.calls.append("flush")
        if self._fails_at:
            raise ZeroDivisionError

    def close(self) -> None:
        self.calls.append("close")
        if self._fails_at:
            raise ZeroDivisionError


def test_a_listener_sees_events_then_flush_then_close() -> None:
    stream, note = EventStream(), Note()
    stream.offer(payload(1, 3), [])
    stream.close()
    ListenerThread(note, stream, "r").run()
    assert note.calls == [1, 2, 3, "flush", "close"]


def test_a_listeners_exceptions_are_logged_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stream, note = EventStream(), Note(fails_at=2)
    stream.offer(payload(1, 3), [])
    stream.close()
    ListenerThread(note, stream, "r").run()
    assert note.calls == [1, 2, 3, "flush", "close"]
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR] * 3
    assert "ZeroDivisionError" in caplog.text


def test_any_function_is_a_listener() -> None:
    stream, seen = EventStream(), []
    stream.offer(payload(1, 2), [])
    stream.close()
    listener = ListenerThread(seen.append, stream, "r")
    listener.thread.start()
    join([listener.thread])
    assert seen == list(payload(1, 2))
    assert listener.thread.name == "listener-r"
    assert listener.thread.daemon


def test_a_slow_listener_ends_with_a_warning_and_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    stream, note = EventStream(), Note()
    stream.offer(payload(1, 1), [])
    stream.fall_behind()
    ListenerThread(note, stream, "r").run()
    assert note.calls == [1, "flush", "close"]
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    assert "did not keep up" in caplog.text


def test_a_shared_stream_outlives_its_rooms() -> None:
    stream = SharedStream()
    stream.offer(close_event(1), [])
    stream.offer(payload(1, 1), [])
    stream.close()
    assert [event.type for event in stream] == ["close", "message"]


def test_one_consumer_many_publishers_nothing_lost() -> None:
    stream = SharedStream(request_buffer=64, send_timeout=PATIENCE)
    together = threading.Barrier(4)

    def publish() -> None:
        together.wait(PATIENCE)
        for number in range(300):
            while stream.offer(payload(number, number), []) is Answer.NO:
                stream.ticket().wait(PATIENCE)

    publishers = run(*[publish] * 4)
    consumer = Consumer(lambda: ids(list(stream)))
    join(publishers)
    stream.close()
    got = consumer.end()
    assert isinstance(got, list)
    assert sorted(got) == sorted(list(range(300)) * 4)


def test_streams_that_are_full_together_lose_their_patience_together() -> None:
    """A publisher is held for `send_timeout` in all, not once for each of them."""
    clock = Clock()
    streams = [EventStream(request_buffer=8, send_timeout=PATIENCE, clock=clock) for _ in range(3)]
    for stream in streams:
        fill(stream)
    tickets = [stream.ticket() for stream in streams]
    for ticket in tickets:
        ticket.begin()
    assert not any(ticket.passed for ticket in tickets)
    clock.now += PATIENCE
    for ticket in tickets:
        ticket.wait(0)
    assert all(ticket.passed for ticket in tickets)
    for stream in streams:
        stream.take()
        with pytest.raises(SlowConsumer):
            stream.take()
