"""What is left of rooms, streams and hubs in a forked process, whichever locks were held at the fork."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.chat.helpers import PATIENCE, say
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.chat.room import Room
from threadchat.errors import RoomClosed


def in_a_child(work: Callable[[], None]) -> int:
    """What a forked process that does `work` ends with; it is killed where it is stuck."""
    pid = os.fork()
    if not pid:
        signal.alarm(int(PATIENCE))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_hub_of_a_program_begins_anew_and_its_parents_rooms_are_closed() -> None:
    hub = Hub(MemoryBroker())
    room = hub.room("r")
    stream = room.add("ann", "laptop")
    room.publish(say("a"))

    def work() -> None:
        assert room.closed
        assert room.message("ann", "b") is None
        with pytest.raises(RoomClosed):
            room.publish(say("b"))
        assert [event.type for event in stream] == ["join", "message"]
        assert hub.room("r") is not room
        assert hub.publish("r", say("c"))[0].offset == 1

    locks = [hub._rooms._lock, room._lock, room._announcing, room.fanout._lock, room.channel._lock]  # type: ignore[attr-defined]
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        for lock in (*locks, stream._changed):
            lock.acquire()
        held.set()
        done.wait(PATIENCE)
        for lock in (*locks, stream._changed):
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    code = in_a_child(work)
    done.set()
    holder.join()
    assert code == 0
    assert room.message("ann", "d") is not None, "the parent's goes on"
    hub.close()


def test_a_room_of_its_own_ends_its_parents_streams() -> None:
    room = Room("r")
    stream = room.add("ann", "laptop")

    def work() -> None:
        assert [event.type for event in stream] == ["join"]
        assert room.message("ann", "b") is not None

    assert in_a_child(work) == 0
    room.close()
