"""Tests of the inbox: order, when it is full, and what its end does to those who wait."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from tests.plain.helpers import together
from threadchat.plain.inbox import Inbox


def test_messages_come_out_in_order() -> None:
    inbox = Inbox()
    inbox.put(["a", b"b"])
    inbox.put(["c"])
    assert [inbox.get(0) for _ in range(3)] == ["a", b"b", "c"]


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_nothing_there_is_a_timeout(timeout: float) -> None:
    with pytest.raises(TimeoutError, match="no message came within"):
        Inbox().get(timeout)


def test_a_message_that_is_there_needs_no_time() -> None:
    inbox = Inbox()
    inbox.put(["a"])
    assert inbox.get(-1) == "a"


def test_full_by_messages_until_half_of_them_are_taken() -> None:
    inbox = Inbox(max_messages=4)
    inbox.put(["a", "b", "c"])
    assert inbox.wait_for_room(0)
    inbox.put(["d"])
    assert not inbox.wait_for_room(0)
    inbox.get(0)
    assert not inbox.wait_for_room(0)
    inbox.get(0)
    assert inbox.wait_for_room(0)


def test_full_by_bytes_until_half_of_them_are_taken() -> None:
    inbox = Inbox(max_bytes=10)
    inbox.put([b"12345", "12345"])
    assert not inbox.wait_for_room(0)
    inbox.get(0)
    assert inbox.wait_for_room(0)


def test_what_one_read_gave_is_kept_whole() -> None:
    inbox = Inbox(max_messages=1)
    inbox.put(["a", "b", "c"])
    assert [inbox.get(0) for _ in range(3)] == ["a", "b", "c"]
    assert inbox.wait_for_room(0)


def test_after_the_end_what_is_there_can_be_taken() -> None:
    inbox = Inbox(max_messages=1)
    inbox.put(["a"])
    inbox.end()
    assert inbox.wait_for_room(0)
    assert inbox.get() == "a"
    with pytest.raises(EOFError):
        inbox.get()


@pytest.mark.parametrize("act", ["put", "end"])
def test_who_waits_for_a_message_is_woken(act: str) -> None:
    inbox = Inbox()
    got: deque[object] = deque()

    def receive() -> None:
        try:
            got.append(inbox.get())
        except EOFError as error:
            got.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    inbox.put(["a"]) if act == "put" else inbox.end()
    thread.join(60)
    assert got[0] == "a" if act == "put" else isinstance(got[0], EOFError)


@pytest.mark.parametrize("act", ["get", "end"])
def test_a_reader_that_waits_for_room_is_woken(act: str) -> None:
    inbox = Inbox(max_messages=1)
    inbox.put(["a"])
    thread = threading.Thread(target=inbox.wait_for_room)
    thread.start()
    inbox.get() if act == "get" else inbox.end()
    thread.join(60)
    assert not thread.is_alive()


def test_every_message_goes_to_one_receiver() -> None:
    inbox = Inbox(max_messages=4)
    got: list[list[object]] = [[] for _ in range(4)]

    def receive(mine: list[object]) -> None:
        try:
            while True:
                mine.append(inbox.get())
        except EOFError:
            pass

    def fill() -> None:
        for first in range(0, 1000, 5):
            inbox.put([str(number) for number in range(first, first + 5)])
            inbox.wait_for_room()
        inbox.end()

    together(fill, *[lambda mine=mine: receive(mine) for mine in got])  # type: ignore[misc]
    assert sorted(int(str(message)) for mine in got for message in mine) == list(range(1000))
    for mine in got:
        assert mine == sorted(mine, key=lambda message: int(str(message)))
