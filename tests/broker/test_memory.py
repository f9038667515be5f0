"""Tests of the broker in memory: channels, user ids and the resume key."""

from __future__ import annotations

import pytest

from tests.chat.helpers import put, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.log.events import Position
from threadchat.errors import CommandError


def test_a_channel_has_the_brokers_limits() -> None:
    channel = MemoryBroker(history_size=3).open("r")
    put(channel, *say("1", "2", "3", "4", "5"))
    assert [item.event.id for item in channel.history(None, 100, False).records] == [3, 4, 5]
    with pytest.raises(CommandError):
        channel.history(Position(1, channel.epoch), 100, False)
    small = MemoryBroker(history_bytes=1).open("r")
    put(small, *say("1", "2"))
    assert [item.event.id for item in small.history(None, 100, False).records] == [2]


def test_each_process_has_a_resume_key_of_its_own() -> None:
    key = MemoryBroker().resume_key
    assert len(key) == 32
    assert key != MemoryBroker().resume_key
