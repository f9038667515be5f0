"""Tests of the broker in memory: channels, user ids and the resume key."""

from __future__ import annotations

import gc
from types import FrameType

import pytest

from tests.chat.helpers import ids_of, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position
from threadchat.errors import CommandError


def test_an_event_is_in_one_log_only() -> None:
    room = Hub(MemoryBroker(), history_size=3).room("r")
    room.publish(say("1", "2", "3", "4", "5"))
    records = room.history().records
    assert ids_of(records) == [3, 4, 5]
    with pytest.raises(CommandError):
        room.history(Position(1, room.fanout.head.epoch))
    for record in records:
        holders = [
            it for it in gc.get_referrers(record) if it is not records and not isinstance(it, FrameType)
        ]
        assert len(holders) == 1, holders


def test_each_process_has_a_resume_key_of_its_own() -> None:
    key = MemoryBroker().resume_key
    assert len(key) == 32
    assert key != MemoryBroker().resume_key
