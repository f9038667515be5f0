"""Tests of what the logs of all rooms may take together: which get shorter, how much, and what that harms."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.helpers import Clock, RecordingSink, ids_of, join, run, say
from tests.chat.test_hub import Schedule, make_hub
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat import memory_budget as module
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position, Record
from threadchat.chat.log.sequencer import Sequencer
from threadchat.chat.memory_budget import SHARE, level_of, weight_of
from threadchat.chat.room import Room
from threadchat.chat.room_shares import Opener
from threadchat.errors import CommandError, ErrorCode
from threadchat.wire.threads import periodic
from threadchat.wire.threads.periodic import CALM, TENSE
from threadchat.wire.threads.reports import REPORTS

MOST = 4 << 20
LARGE = "x" * 100_000


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Schedule:
    schedule = Schedule(Clock())
    monkeypatch.setattr(module, "monotonic", schedule.clock)
    monkeypatch.setattr(periodic, "monotonic", schedule.clock)
    return schedule


@pytest.fixture
def hub(schedule: Schedule) -> Iterator[Hub]:
    hub = make_hub(schedule, logs_bytes=MOST)
    yield hub
    hub.close()


def occupy(hub: Hub, name: str, *texts: str, count: int = 1) -> Room:
    """A room that somebody is in, in which was said so much."""
    room = hub.room(name)
    if not room.people:
        room.enter(1, f"session in {name}", "ann")
    for _ in range(count):
        hub.publish(name, say(*texts))
    return room


def leave(hub: Hub, name: str, *texts: str, count: int = 1) -> Room:
    """A room that nobody is in."""
    for _ in range(count):
        hub.publish(name, say(*texts))
    return hub.room(name)


def kept(room: Room) -> list[Record]:
    """What a room has in memory."""
    log = list(room.fanout._tail)
    assert log[-1:] == room.history(limit=1).records
    head = room.fanout.head.offset
    assert ids_of(log) == list(range(head - len(log) + 1, head + 1)), "without holes"
    return log


def taken(hub: Hub) -> int:
    return sum(weight_of(room) for room in hub.rooms())


# -- the bound ---------------------------------------------------------------------------------------


def test_many_rooms_full_of_large_messages_stay_below_the_bound(hub: Hub, schedule: Schedule) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(50):
            for turn in range(4):
                occupy(hub, f"r{number}", f"{number} {turn} {LARGE}")  # a text of its own
        full = tracemalloc.get_traced_memory()[0] - before
        assert full > MOST * 8
        schedule.advance(CALM)
        real = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert MOST * 0.7 < taken(hub) <= MOST, "and no more goes than has to"
    assert real < MOST + (1 << 20), "which is what memory they take"
    assert sum(len(item.json) + len(item.event.message) for room in hub.rooms() for item in kept(room)) < MOST


def test_even_a_single_message_for_each_room_is_not_too_little_to_go(hub: Hub, schedule: Schedule) -> None:
    rooms = [occupy(hub, f"r{number}", LARGE) for number in range(100)]
    schedule.advance(CALM)
    assert taken(hub) <= MOST
    lengths = [sum(item.event.message == LARGE for item in kept(room)) for room in rooms]
    assert set(lengths) == {0, 1}
    assert hub.publish(rooms[0].name, say("on it goes"))[0].offset == 3


def test_rooms_with_small_messages_keep_their_history(hub: Hub, schedule: Schedule) -> None:
    small = occupy(hub, "small", "hi", count=500)
    for number in range(30):
        occupy(hub, f"r{number}", LARGE, count=3)
    schedule.advance(CALM)
    assert taken(hub) <= MOST
    assert len(kept(small)) == 501
    assert len(small.history(limit=1000).records) == 501


def test_rooms_that_nobody_is_in_go_first_and_of_those_the_largest(hub: Hub, schedule: Schedule) -> None:
    used = occupy(hub, "used", LARGE, count=10)
    small = leave(hub, "small", "hi", count=10)
    large = leave(hub, "large", LARGE, count=10)
    schedule.advance(CALM)
    assert taken(hub) <= MOST
    assert len(kept(used)) == 11
    assert len(kept(small)) == 10
    assert 0 < len(kept(large)) < 10
    occupy(hub, "used", LARGE, count=6)
    schedule.advance(CALM)
    assert taken(hub) <= MOST
    assert (len(kept(small)), len(kept(large))) == (0, 0), "those in use have not even room enough"
    assert len(kept(used)) > 10


def test_a_log_may_grow_again_once_there_is_room(hub: Hub, schedule: Schedule) -> None:
    first, second = occupy(hub, "a", LARGE, count=10), occupy(hub, "b", LARGE, count=10)
    schedule.advance(CALM)
    assert len(kept(first)) < 8
    hub.close_room("b")
    occupy(hub, "a", LARGE, count=12)
    schedule.advance(CALM)
    assert len(kept(first)) > 10
    assert second.closed


def test_below_the_bound_nothing_goes(hub: Hub, schedule: Schedule, caplog: pytest.LogCaptureFixture) -> None:
    room = occupy(hub, "a", LARGE, count=13)
    schedule.advance(CALM)
    assert len(kept(room)) == 14
    assert REPORTS.flush(60)
    assert not caplog.records


def test_the_log_tells_once_a_minute(hub: Hub, schedule: Schedule, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        occupy(hub, "a", LARGE, count=30)
        schedule.advance(CALM)
    assert REPORTS.flush(60)
    [message] = caplog.messages
    assert "1 rooms took more than 4194304 bytes of memory (logs_bytes): 1 were shortened" in message
    occupy(hub, "a", LARGE, count=30)
    schedule.advance(61)
    assert REPORTS.flush(60)
    assert len(caplog.messages) == 2


@given(weights=st.lists(st.integers(0, 1000), max_size=20), most=st.integers(0, 3000))
def test_the_level_is_the_highest_at_which_all_fit(weights: list[int], most: int) -> None:
    weights.sort(reverse=True)
    level = level_of(weights, most)
    assert level >= 0
    if sum(weights) > most:
        assert sum(min(weight, level) for weight in weights) <= most
        assert sum(min(weight, level + 1) for weight in weights) > most


# -- what it harms -----------------------------------------------------------------------------------


def test_whoever_has_not_had_what_went_has_fallen_behind(hub: Hub, schedule: Schedule) -> None:
    room = occupy(hub, "a", "hi", count=3)
    position = room.fanout.head
    level, behind = RecordingSink(), RecordingSink()
    room.subscribe(level, ids_of).start()
    late = room.subscribe(behind, ids_of)
    occupy(hub, "a", LARGE, count=30)
    schedule.advance(CALM)
    assert level.got == list(range(5, 35))
    late.start()
    assert (behind.fell_behind, level.fell_behind) == (1, 0)
    assert not room.subscribe(RecordingSink(), ids_of, since=position).recovered
    with pytest.raises(CommandError) as raised:
        room.history(position)
    assert raised.value.code is ErrorCode.UNRECOVERABLE_POSITION
    floor = kept(room)[0].event.id - 1
    assert room.subscribe(RecordingSink(), ids_of, since=position._replace(offset=floor)).recovered
    assert ids_of(room.history(position._replace(offset=floor), limit=1).records) == [floor + 1]


def test_message_keys_count_and_those_of_events_that_went_are_forgotten(hub: Hub, schedule: Schedule) -> None:
    room = occupy(hub, "a")
    for number in range(6_000):
        hub.publish("a", say("hi", key=f"key {number}"))
    assert isinstance(room.channel, Sequencer)
    schedule.advance(CALM)
    assert taken(hub) <= MOST
    assert len(room.channel._keys) == len(kept(room)) > 100
    assert hub.publish("a", say("hi", key="key 5999"))[0].offset == 6_001, "the newest is still known"
    assert hub.publish("a", say("hi", key="key 0"))[0].offset == 6_002


def test_where_few_events_have_many_keys_both_go_until_it_fits(hub: Hub) -> None:
    room = occupy(hub, "a", count=0)
    for number in range(40):
        hub.publish("a", say("hi", key=f"key {number}"))
    module.shorten(room, 10_000)
    assert 0 < weight_of(room) <= 10_000
    module.shorten(room, 0)
    assert weight_of(room) == 0
    assert kept(room) == []
    assert hub.publish("a", say("hi"))[0].offset == 42


def test_writers_and_looks_do_not_disturb_each_other(hub: Hub) -> None:
    rooms = [occupy(hub, name) for name in "abc"]

    def write(room: Room) -> None:
        for _ in range(100):
            hub.publish(room.name, say("x" * 1000, "x" * 1000))

    def cut() -> None:
        for step in range(300):
            module.shorten(rooms[step % 3], 20_000)

    join(run(*[lambda room=room: write(room) for room in rooms], cut))  # type: ignore[misc]
    for room in rooms:
        assert room.fanout.head.offset == 201
        kept(room)
        module.shorten(room, 20_000)
        assert 0 < weight_of(room) <= 20_000


def test_a_log_that_lasts_is_shorter_in_memory_only(tmp_path: Path, schedule: Schedule) -> None:
    hub = Hub(SqliteBroker(tmp_path / "chat.db"), schedule=schedule, clock=schedule.clock, logs_bytes=1 << 20)
    room = occupy(hub, "a", LARGE, count=10)
    schedule.advance(CALM)
    assert 0 < weight_of(room) <= 1 << 20
    assert not room.fanout._tail.reaches(1)
    assert ids_of(room.history(Position(1, room.fanout.head.epoch)).records) == [2, 3, 4, 5, 6]
    assert hub.publish("a", say("hi"))[0].offset == 12
    hub.close()


# -- when it looks -----------------------------------------------------------------------------------


def next_look(schedule: Schedule) -> list[float]:
    """Seconds until each look that is due; a room's own timer is not one."""
    return [when - schedule.clock.now for when, action in schedule._due if action.__name__ == "run"]


def test_it_looks_once_a_second_and_more_often_when_much_is_kept(hub: Hub, schedule: Schedule) -> None:
    assert next_look(schedule) == []
    occupy(hub, "a")
    occupy(hub, "b")
    assert next_look(schedule) == [CALM], "one chain of looks, however many rooms"
    schedule.advance(CALM)
    assert next_look(schedule) == [CALM]
    occupy(hub, "a", LARGE, count=10)
    schedule.advance(CALM)
    assert next_look(schedule) == [pytest.approx(TENSE)]


def test_nobody_looks_where_no_rooms_are(hub: Hub, schedule: Schedule) -> None:
    hub.publish("a", say("hi"))
    hub.close_room("a")
    schedule.advance(CALM)
    assert next_look(schedule) == []
    hub.publish("a", say("hi"))
    assert next_look(schedule) == [CALM]


def test_without_a_bound_nobody_looks_at_all(schedule: Schedule) -> None:
    hub = make_hub(schedule)
    hub.publish("a", say("hi"))
    assert next_look(schedule) == []
    hub.close()


def test_logs_of_whoever_created_the_most_are_shortened_first(hub: Hub, schedule: Schedule) -> None:
    eve = (Opener("eve", 100, "you", "rooms_per_address"),)
    for number in range(2):
        hub.publish(f"bob's {number}", say(*[LARGE] * 4))
    for number in range(20):
        hub.publish(f"eve's {number}", say(*["x" * 10_000] * 8), eve)
    schedule.advance(CALM)
    eves = [room for room in hub.rooms() if room.name.startswith("eve")]
    assert sum(map(weight_of, eves)) <= MOST // SHARE
    assert all(len(kept(room)) == 4 for room in hub.rooms() if room.name.startswith("bob"))
