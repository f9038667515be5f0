"""Tests of the receive queue: order, when it is full, and what its end does to those who wait."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from tests.plain.helpers import together
from threadchat.plain.receive_queue import ReceiveQueue


def test_messages_come_out_in_order() -> None:
    receive_queue = ReceiveQueue()
    receive_queue.put(["a", b"b"])
    receive_queue.put(["c"])
    assert [receive_queue.get(0) for _ in range(3)] == ["a", b"b", "c"]


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_nothing_there_is_a_timeout(timeout: float) -> None:
    with pytest.raises(TimeoutError, match="no message came within"):
        ReceiveQueue().get(timeout)


def test_a_message_that_is_there_needs_no_time() -> None:
    receive_queue = ReceiveQueue()
    receive_queue.put(["a"])
    assert receive_queue.get(-1) == "a"


def test_full_by_messages_until_half_of_them_are_taken() -> None:
    receive_queue = ReceiveQueue(max_messages=4)
    receive_queue.put(["a", "b", "c"])
    assert receive_queue.wait_for_room(0)
    receive_queue.put(["d"])
    assert not receive_queue.wait_for_room(0)
    receive_queue.get(0)
    assert not receive_queue.wait_for_room(0)
    receive_queue.get(0)
    assert receive_queue.wait_for_room(0)


def test_full_by_bytes_until_half_of_them_are_taken() -> None:
    receive_queue = ReceiveQueue(max_bytes=10)
    receive_queue.put([b"12345", "12345"])
    assert not receive_queue.wait_for_room(0)
    receive_queue.get(0)
    assert receive_queue.wait_for_room(0)


def test_what_one_read_gave_is_kept_whole() -> None:
    receive_queue = ReceiveQueue(max_messages=1)
    receive_queue.put(["a", "b", "c"])
    assert [receive_queue.get(0) for _ in range(3)] == ["a", "b", "c"]
    assert receive_queue.wait_for_room(0)


def test_after_the_end_what_is_there_can_be_taken() -> None:
    receive_queue = ReceiveQueue(max_messages=1)
    receive_queue.put(["a"])
    receive_queue.end()
    assert receive_queue.wait_for_room(0)
    assert receive_queue.get() == "a"
    with pytest.raises(EOFError):
        receive_queue.get()


@pytest.mark.parametrize("act", ["put", "end"])
def test_who_waits_for_a_message_is_woken(act: str) -> None:
    receive_queue = ReceiveQueue()
    got: deque[object] = deque()

    def receive() -> None:
        try:
            got.append(receive_queue.get())
        except EOFError as error:
            got.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    receive_queue.put(["a"]) if act == "put" else receive_queue.end()
    thread.join(60)
    assert got[0] == "a" if act == "put" else isinstance(got[0], EOFError)


@pytest.mark.parametrize("act", ["get", "end"])
def test_a_reader_that_waits_for_room_is_woken(act: str) -> None:
    receive_queue = ReceiveQueue(max_messages=1)
    receive_queue.put(["a"])
    thread = threading.Thread(target=receive_queue.wait_for_room)
    thread.start()
    receive_queue.get() if act == "get" else receive_queue.end()
    thread.join(60)
    assert not thread.is_alive()


def test_every_message_goes_to_one_receiver() -> None:
    receive_queue = ReceiveQueue(max_messages=4)
    got: list[list[object]] = [[] for _ in range(4)]

    def receive(mine: list[object]) -> None:
        try:
            while True:
                mine.append(receive_queue.get())
        except EOFError:
            pass

    def fill() -> None:
        for first in range(0, 1000, 5):
            receive_queue.put([str(number) for number in range(first, first + 5)])
            receive_queue.wait_for_room()
        receive_queue.end()

    together(fill, *[lambda mine=mine: receive(mine) for mine in got])  # type: ignore[misc]
    assert sorted(int(str(message)) for mine in got for message in mine) == list(range(1000))
    for mine in got:
        assert mine == sorted(mine, key=lambda message: int(str(message)))
