"""What every broker does alike with read positions, and what a hub counts from there."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.broker import sqlite_files
from tests.broker.brokers import Kind, Make
from tests.chat.helpers import Clock, say
from threadchat.broker.sqlite.schema import SCHEMA
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import MESSAGE, Details, Draft, Position
from threadchat.chat.log.read_positions import MAX_READ_ROOMS, ReadPositions
from threadchat.chat.reading import MOST_COUNTED, MOST_LISTED, Unread
from threadchat.errors import CommandError, ErrorCode


def every(room: str) -> bool:
    return True


def test_positions_only_advance_and_begin_anew_in_a_new_log(make: Make) -> None:
    reads = make().reads
    assert reads.of(7) == {}
    assert reads.advance(7, "lobby", Position(5, "a"))
    assert not reads.advance(7, "lobby", Position(5, "a"))
    assert not reads.advance(7, "lobby", Position(4, "a"))
    assert reads.advance(7, "lobby", Position(6, "a"))
    assert reads.advance(7, "a room, \x1f{too}", Position(2**53 - 1, "a"))
    assert reads.advance("7", "lobby", Position(1, "a"))
    assert reads.advance(7, "lobby", Position(2, "b")), "another log"
    assert reads.of(7) == {"lobby": Position(2, "b"), "a room, \x1f{too}": Position(2**53 - 1, "a")}
    assert reads.of("7") == {"lobby": Position(1, "a")}


def test_so_many_rooms_are_kept_for_a_person(make: Make) -> None:
    reads = make().reads
    for number in range(MAX_READ_ROOMS):
        assert reads.advance(7, str(number), Position(1, "a"))
    assert reads.advance(7, "0", Position(2, "a"))
    for number in range(20):
        assert reads.advance(7, f"more {number}", Position(1, "a"))
    kept = reads.of(7)
    assert len(kept) <= MAX_READ_ROOMS + 20
    assert kept["more 19"] == Position(1, "a")


def test_in_memory_so_many_people_are_kept() -> None:
    reads = ReadPositions(2)
    for user in (1, 2, 1, 3):
        reads.advance(user, "r", Position(len(reads.of(user)) + user * 10 + (user == 1), "a"))
        reads.advance(user, "s", Position(1, "a"))
    reads = ReadPositions(2)
    reads.advance(1, "r", Position(1, "a"))
    reads.advance(2, "r", Position(1, "a"))
    reads.advance(1, "r", Position(2, "a"))
    reads.advance(3, "r", Position(1, "a"))
    assert [bool(reads.of(user)) for user in (1, 2, 3)] == [True, False, True]


def test_where_logs_last_positions_do(make: Make, kind: Kind) -> None:
    if not kind.lasting:
        pytest.skip("it forgets everything")
    broker = make()
    for number in range(MAX_READ_ROOMS + 7):
        broker.reads.advance(7, str(number), Position(number, "a"))
    broker.close()
    later = make().reads
    kept = later.of(7)
    assert len(kept) == MAX_READ_ROOMS
    assert all(position == Position(int(room), "a") for room, position in kept.items())
    newest = max(kept, key=int)
    assert later.advance(7, newest, Position(1000, "a"))
    assert not later.advance(7, newest, Position(1, "a"))


# -- what is counted ---------------------------------------------------------------------------------


def test_messages_of_others_are_counted_and_mentions_apart(make: Make) -> None:
    hub = Hub(make())
    first = hub.publish("lobby", say("a"))[0]
    assert hub.unread(7, every) == {}
    assert hub.note_read(7, "lobby", first)
    assert hub.unread(7, every) == {"lobby": Unread(first, 0, 0, False)}
    head = hub.publish(
        "lobby",
        [
            Draft(MESSAGE, 7, "me", "mine"),
            *say("b", "c"),
            Draft(MESSAGE, 8, "ann", "@me", details=Details(mentions=(7,))),
            Draft(MESSAGE, 8, "ann", "@room", details=Details(everybody=True)),
            Draft(MESSAGE, 8, "ann", "@7", details=Details(mentions=("7",))),
            Draft("join", 9, "bob"),
        ],
    )[-1]
    hub.delete("lobby", first.offset + 2)
    assert hub.unread(7, every) == {"lobby": Unread(first, 4, 2, False)}
    assert hub.unread(7, lambda room: False) == {}
    assert hub.note_read(7, "lobby", Position(head.offset + 99, head.epoch)), "as far as the log goes"
    assert hub.unread(7, every)["lobby"].messages == 0
    hub.close()


def test_a_long_absence_is_counted_up_to_a_number(make: Make) -> None:
    hub = Hub(make(history_size=300), history_size=300)
    place = hub.publish("lobby", say("a"))[0]
    hub.note_read(7, "lobby", place)
    for _ in range(2):
        hub.publish("lobby", say(*["x"] * 140))
    assert hub.unread(7, every) == {"lobby": Unread(place, MOST_COUNTED, 0, True)}
    hub.publish("lobby", say(*["x"] * 140))  # the log no longer reaches back
    assert hub.unread(7, every) == {"lobby": Unread(place, MOST_COUNTED, 0, True)}
    hub.close()


def test_a_new_log_is_unread(make: Make) -> None:
    hub = Hub(make())
    old = hub.publish("lobby", say("a", "b"))[-1]
    hub.note_read(7, "lobby", old)
    hub.close_room("lobby")
    new = hub.publish("lobby", say("c"))[0]
    assert hub.unread(7, every) == {"lobby": Unread(old, 1, 0, False)}
    with pytest.raises(CommandError) as refused:
        hub.note_read(7, "lobby", old)
    assert refused.value.code == ErrorCode.UNRECOVERABLE_POSITION
    assert hub.note_read(7, "lobby", new)
    with pytest.raises(CommandError) as unknown:
        hub.note_read(7, "nowhere", new)
    assert unknown.value.code == ErrorCode.UNKNOWN_ROOM
    hub.close()


def test_rooms_that_nobody_has_open_are_counted_too(make: Make, kind: Kind) -> None:
    hub = Hub(make())
    place = hub.publish("lobby", say("a"))[0]
    hub.publish("gone", say("a"))
    hub.note_read(7, "lobby", place)
    hub.publish("lobby", say("b"))
    hub.note_read(7, "gone", hub.room("gone").fanout.head)
    hub.close_room("gone")
    hub.room("lobby").retire(0)
    del hub._rooms._rooms["lobby"]
    expected = {"lobby": Unread(place, 1, 0, False)} if kind.lasting else {}
    assert hub.unread(7, every) == expected
    assert [room.name for room in hub.rooms()] == [], "asking opens none"
    hub.close()


def test_the_rooms_read_last_are_listed(make: Make) -> None:
    hub = Hub(make())
    places = [hub.publish(str(number), say("a"))[0] for number in range(MOST_LISTED + 5)]
    for number, place in enumerate(places):
        hub.note_read(7, str(number), place)
    assert len(hub.unread(7, every)) == MOST_LISTED
    hub.close()


# -- SQLite ------------------------------------------------------------------------------------------


def test_positions_that_nobody_asked_for_expire(make_sqlite: sqlite_files.Make) -> None:
    clock = Clock(1_800_000_000.0)
    broker = make_sqlite(clock=clock, inbox_age=1000)
    broker.reads.advance(7, "old", Position(1, "a"))
    broker = make_sqlite(clock=clock, inbox_age=1000)
    clock.now += 999
    broker.reads.advance(7, "new", Position(1, "a"))
    broker = make_sqlite(clock=clock, inbox_age=1000)
    clock.now += 2
    sqlite_files.sweep(broker)
    assert list(broker.reads.of(7)) == ["new"]


def test_what_could_not_be_written_is_written_the_next_time(make_sqlite: sqlite_files.Make) -> None:
    broker = make_sqlite()
    with sqlite_files.refusing(broker):
        assert broker.reads.advance(7, "a", Position(1, "e"))
        with pytest.raises(CommandError):
            broker.new_user()  # which waits for the writer
        assert broker.reads.of(7) == {"a": Position(1, "e")}
    assert broker.reads.advance(7, "b", Position(1, "e"))
    assert set(make_sqlite().reads.of(7)) == {"a", "b"}


def test_a_file_of_the_second_schema_is_brought_up_to_date(
    make_sqlite: sqlite_files.Make, tmp_path: Any
) -> None:
    make_sqlite().close()
    with sqlite3.connect(tmp_path / "chat.db") as database:
        for table in ("reads", "revocations", "blocks"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 2")
    database.close()
    broker = make_sqlite()
    assert broker.reads.advance(7, "a", Position(1, "e"))
    assert sqlite_files.rows(broker, "PRAGMA user_version") == [(SCHEMA,)]
    assert SCHEMA >= 3
