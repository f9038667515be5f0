"""Tests of the broker in memory: channels, user ids and the resume key."""

from __future__ import annotations

import threading

import pytest

from tests.chat.helpers import Clock, join, put, run, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.events import Position
from threadchat.chat.sequencer import KEY_TTL
from threadchat.errors import CommandError


def test_each_room_counts_from_one_in_an_epoch_of_its_own() -> None:
    broker = MemoryBroker()
    first, second = broker.open("r"), broker.open("s")
    assert put(first, *say("a", "b")) == [1, 2]
    assert put(second, *say("c")) == [1]
    assert first.epoch != second.epoch
    assert broker.open("r").epoch != first.epoch, "a room that was forgotten begins anew"


def test_a_channel_has_the_brokers_limits() -> None:
    channel = MemoryBroker(history_size=3).open("r")
    put(channel, *say("1", "2", "3", "4", "5"))
    assert [item.event.id for item in channel.history(None, 100, False).records] == [3, 4, 5]
    with pytest.raises(CommandError):
        channel.history(Position(1, channel.epoch), 100, False)
    small = MemoryBroker(history_bytes=1).open("r")
    put(small, *say("1", "2"))
    assert [item.event.id for item in small.history(None, 100, False).records] == [2]


def test_message_keys_run_on_the_brokers_clock() -> None:
    clock = Clock()
    channel = MemoryBroker(clock=clock).open("r")
    assert put(channel, *say("a", key="k")) == put(channel, *say("b", key="k")) == [1]
    clock.now += KEY_TTL
    assert put(channel, *say("c", key="k")) == [2]


def test_user_ids_count_from_one_each_once() -> None:
    broker = MemoryBroker()
    barrier = threading.Barrier(8)
    taken: list[int] = []

    def take() -> None:
        barrier.wait()
        ids = [broker.new_user() for _ in range(500)]
        assert ids == sorted(ids)
        taken.extend(ids)

    join(run(*[take] * 8))
    assert sorted(taken) == list(range(1, 4001))


def test_each_process_has_a_resume_key_of_its_own() -> None:
    key = MemoryBroker().resume_key
    assert len(key) == 32
    assert key != MemoryBroker().resume_key
