"""What waits on an outbox, and in which order it leaves."""

from __future__ import annotations

import queue

import pytest

from tests.wire.helpers import split_frames
from threadchat.wire.priority_queue import MAX_PONGS, ControlQueue, PriorityQueue
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.requests import Close, FlushingClose, Ping, Pong, Request, Text


def a_text(size: int = 10, messages: int = 1) -> Text:
    return Text(b"x" * size, messages)


def in_order(lanes: PriorityQueue) -> list[Request]:
    found = []
    while True:
        try:
            found.append(lanes._get())
        except queue.Empty:
            return found


@pytest.fixture
def lanes() -> PriorityQueue:
    return PriorityQueue(max_messages=10, max_bytes=1000)


# -- the control lane ----------------------------------------------------------------------------------


def test_one_unwritten_ping_is_enough() -> None:
    lane = ControlQueue()
    first = Ping(b"1")
    for item in (first, Pong(), Ping(b"2")):
        lane.add(item)
    assert [item.frame for item in lane] == [first.frame, Pong().frame]


def test_the_oldest_of_too_many_pongs_goes() -> None:
    lane = ControlQueue()
    lane.add(Ping())
    for i in range(MAX_PONGS + 3):
        lane.add(Pong(b"%d" % i))
    payloads = [split_frames(item.frame)[0] for item in lane]
    assert payloads == [(frames.PING, b""), *((frames.PONG, b"%d" % i) for i in range(3, MAX_PONGS + 3))]


def test_a_close_takes_the_place_of_all_else() -> None:
    lane = ControlQueue()
    assert not lane.closes
    for item in (Ping(), Pong()):
        lane.add(item)
    assert not lane.closes
    lane.add(Close(1000))
    assert [item.frame for item in lane] == [Close(1000).frame]
    assert lane.closes


# -- the order -----------------------------------------------------------------------------------------


def test_control_frames_come_before_text_that_was_there_first(lanes: PriorityQueue) -> None:
    texts = [a_text() for _ in range(3)]
    controls: list[Request] = [Ping(), Pong()]
    for item in [*texts, *controls]:
        lanes._put(item)
    assert in_order(lanes) == [*controls, *texts]


def test_a_flushing_close_comes_last(lanes: PriorityQueue) -> None:
    close, text, ping = FlushingClose(1001), a_text(), Ping()
    for item in (close, text, ping):
        lanes._put(item)
    assert in_order(lanes) == [ping, text, close]


def test_any_other_close_comes_alone(lanes: PriorityQueue) -> None:
    close = Close(1001)
    for item in (a_text(), Ping(), FlushingClose(1000), close):
        lanes._put(item)
    assert in_order(lanes) == [close]
    assert (lanes._messages, lanes._bytes) == (0, 0)


# -- the books -----------------------------------------------------------------------------------------


def test_messages_and_bytes_are_counted_control_frames_are_not(lanes: PriorityQueue) -> None:
    for item in (a_text(10), a_text(20, messages=3), a_text(5, messages=0), Ping()):
        lanes._put(item)
    assert lanes.qsize() == 4
    assert lanes._bytes == 35
    in_order(lanes)
    assert lanes.qsize() == 0
    assert lanes._bytes == 0


def test_room_is_limited_in_messages(lanes: PriorityQueue) -> None:
    lanes._put(a_text(1, messages=8))
    assert lanes._room_locked(a_text(1, messages=2))
    assert not lanes._room_locked(a_text(1, messages=3))


def test_room_is_limited_in_bytes(lanes: PriorityQueue) -> None:
    lanes._put(a_text(900))
    assert lanes._room_locked(a_text(100))
    assert not lanes._room_locked(a_text(101))


def test_half_is_half_of_both(lanes: PriorityQueue) -> None:
    lanes._put(a_text(1, messages=4))
    assert lanes._half_empty_locked(a_text(1, messages=1))
    assert not lanes._half_empty_locked(a_text(1, messages=2))
    assert lanes._half_empty_locked(a_text(499))
    assert not lanes._half_empty_locked(a_text(500))


def test_what_is_too_big_for_any_lane_fits_into_an_empty_one(lanes: PriorityQueue) -> None:
    monster = a_text(5000, messages=50)
    assert lanes._room_locked(monster)
    assert lanes._half_empty_locked(monster)
    lanes._put(a_text(300, messages=0))  # the handshake's response: no message waits
    assert lanes._room_locked(monster)
    lanes._put(a_text(1))
    assert not lanes._room_locked(monster)
    assert not lanes._half_empty_locked(monster)


def test_texts_are_taken_up_to_a_number_of_bytes_but_one_at_least(lanes: PriorityQueue) -> None:
    for size in (50, 30, 20, 10):
        lanes._put(a_text(size))
    parts: list[bytes] = []
    lanes._take_texts_locked(parts, 40)
    assert [len(part) for part in parts] == [50]
    lanes._take_texts_locked(parts, 50)
    assert [len(part) for part in parts] == [50, 30, 20]
    assert (lanes.qsize(), lanes._bytes) == (1, 10)
