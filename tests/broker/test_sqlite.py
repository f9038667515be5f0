"""What only `broker/sqlite/` does: restarts, retention by age, sweeping, failing commits, one writer."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.brokers import Opened, Outlet, opened
from tests.broker.sqlite_files import Make, Nothing, refusing, rows, sweep
from tests.chat.helpers import PATIENCE, Clock, ids_of, join, run, say
from tests.wire.helpers import short_of_threads
from threadchat.broker.sqlite import SqliteBroker, retention, room_store
from threadchat.broker.sqlite.channel import Publication
from threadchat.broker.sqlite.writer import PLACES, Writer
from threadchat.chat.delivery.stream import EventStream, events_of
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import CLOSE, DELETE, Draft, Position
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.errors import CommandError, ErrorCode, RoomClosed


@pytest.fixture
def make(make_sqlite: Make) -> Make:
    """Opens the file of this test."""
    return make_sqlite


# -- restarts ------------------------------------------------------------------------------------------


def test_a_restart_goes_on_where_it_was(make: Make) -> None:
    clock = Clock()
    before = opened(make(clock=clock))
    before.put(*say("a", "b"), *say("c", key="k"))
    after = opened(make(clock=clock))
    assert after.epoch == before.epoch
    assert after.outlet.records == before.outlet.records
    assert after.page(1) == [2, 3]
    assert after.put(*say("again", key="k")) == [3]
    assert after.put(*say("d")) == [4]
    clock.now += KEY_TTL
    late = opened(make(clock=clock))
    assert late.put(*say("again", key="k")) == [5]


def test_what_was_deleted_stays_so(make: Make) -> None:
    before = opened(make())
    before.put(*say("a", "secret"))
    before.put(Draft(DELETE, "mod", target=Position(2, before.epoch)))
    kept = before.channel.history(None, 9, False).records
    after = opened(make())
    assert after.outlet.records == kept
    assert [(item.event.message, item.event.deleted) for item in after.outlet.records] == [
        ("a", False),
        ("", True),
        ("", False),
    ]


def test_positions_from_before_a_restart_recover(make: Make) -> None:
    hub = Hub(make())
    epoch = hub.publish("lobby", say("a", "b", "c"))[0].epoch
    hub.close()
    hub = Hub(make())
    stream = EventStream()
    room = hub.find("lobby")
    subscription = room.subscribe(stream, events_of, since=Position(1, epoch))
    assert subscription.recovered
    subscription.start()
    room.message("ann", "d")
    hub.close()
    assert [(event.id, event.message) for event in stream] == [(2, "b"), (3, "c"), (4, "d"), (5, "")]
    assert opened(make()).outlet.head is not None
    with pytest.raises(CommandError, match="unknown room"):
        Hub(make()).find("elsewhere")


def test_an_outlet_gets_as_much_of_the_log_as_is_kept(make: Make) -> None:
    opened(make(history_size=10)).put(*say(*"abcdefghijkl"))
    fewer = opened(make(history_size=3))
    assert fewer.outlet.head == Position(9, fewer.epoch)
    assert fewer.outlet.got == [10, 11, 12]
    fewer.put(*say("m"))
    assert fewer.page() == [11, 12, 13]
    small = opened(make(history_bytes=1))
    assert small.outlet.got == [13]


def test_a_channel_may_be_attached_late(make: Make) -> None:
    channel, outlet = make().open("r"), Outlet()
    channel.publish(say("a", "b"))
    channel.attach(outlet)
    channel.publish(say("c"))
    assert outlet.got == [1, 2, 3]


def test_a_killed_process_uses_up_some_user_ids(make: Make, tmp_path: Path) -> None:
    broker = make()
    assert [broker.new_user() for _ in range(3)] == [1, 2, 3]
    [(kept,)] = rows(broker, "SELECT value FROM meta WHERE name = 'next_user'")
    assert kept > 3, "what a kill would leave behind"
    assert make().new_user() == 4, "a clean end gives them back"


def test_no_user_id_comes_after_the_end(make: Make) -> None:
    broker = make()
    broker.new_user()
    broker.close()
    with pytest.raises(RoomClosed):
        broker.new_user()
    with pytest.raises(CommandError, match="the log is closed"):
        broker.open("r")


# -- the end of a room ---------------------------------------------------------------------------------


def test_a_room_that_is_asked_for_while_it_is_closed_begins_anew(make: Make) -> None:
    broker = make()
    first = opened(broker)
    first.put(*say("a"))
    second = opened(broker)  # as the hub does it between the room's end and its channel's
    assert second.outlet.head == Position(0, second.epoch)
    assert second.put(*say("b")) == [1]
    first.channel.close()
    assert first.outlet.got == [1, 2]
    assert second.outlet.got == [1]
    third = opened(make())
    assert (third.epoch, third.page()) == (second.epoch, [1])


def test_a_close_that_cannot_be_written_ends_the_room_here(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make()
    room = opened(broker)
    room.put(*say("a"))
    with refusing(broker):
        room.channel.close()
    assert room.outlet.got == [1, 2]
    assert room.outlet.records[-1].event.type == CLOSE
    assert "room r is closed, but its log does not say so" in caplog.text
    assert opened(broker).outlet.got == [1]


def test_nothing_follows_the_last_event_in_one_commit(make: Make) -> None:
    broker = make()
    room = opened(broker)
    works = [Publication(room.channel, drafts) for drafts in (say("a"), [Draft(CLOSE)], say("b"))]  # type: ignore[arg-type]
    works[1] = Publication(room.channel, [Draft(CLOSE)], ending=True)  # type: ignore[arg-type]
    broker.writer.commit(works)
    assert [work.error is None for work in works] == [True, True, False]
    assert isinstance(works[2].error, RoomClosed)


# -- retention -----------------------------------------------------------------------------------------


def test_events_go_when_they_are_too_old(make: Make) -> None:
    clock = Clock()
    broker = make(history_age=100, clock=clock)
    room = opened(broker)
    room.put(*say("a"))
    clock.now += 60
    room.put(*say("b", "c"))
    clock.now += 50
    assert room.page() == [2, 3]
    with pytest.raises(CommandError) as caught:
        room.page(0)
    assert caught.value.code == ErrorCode.UNRECOVERABLE_POSITION
    assert rows(broker, "SELECT count(*) FROM events") == [(3,)], "not looked at yet"
    sweep(broker)
    assert rows(broker, "SELECT offset FROM events") == [(2,), (3,)]
    room.put(*say("d"))
    clock.now += 60
    room.put(*say("e"))
    assert room.page() == [4, 5]
    clock.now += 1000
    assert room.page() == []
    assert room.page(5) == []
    assert room.put(*say("f")) == [6]


def test_what_is_too_much_is_dropped_in_portions(make: Make) -> None:
    broker = make(history_size=5)
    room = opened(broker)
    for number in range(200):
        room.put(*say("x"))
        assert room.page(limit=99)[0] == max(1, number - 3)
        assert len(rows(broker, "SELECT 1 FROM events")) < 5 + room_store.SPARE
    large = opened(make(history_bytes=10_000), "large")
    for _ in range(50):
        large.put(*say("x" * 900))
    [(size,)] = rows(broker, "SELECT sum(length(json)) FROM events WHERE room = 2")
    assert size < 12_500


def test_more_drafts_than_a_statement_takes(make: Make) -> None:
    room = opened(make())
    drafts = [draft for number in range(500) for draft in say("x", key=str(number))]
    assert room.put(*drafts) == list(range(1, 501))
    assert room.put(*drafts, *say("y")) == list(range(1, 502))


def test_a_room_goes_with_its_last_event_unless_it_is_open(make: Make) -> None:
    clock = Clock()
    broker = make(history_age=100, clock=clock)
    room = opened(broker)
    room.put(*say("a"))
    clock.now += 1000
    sweep(broker)
    assert room.put(*say("b")) == [2]
    clock.now += 1000
    room.channel.retire(lambda: True)
    assert broker.exists("r")
    sweep(broker)
    assert not broker.exists("r")
    assert rows(broker, "SELECT * FROM events UNION ALL SELECT * FROM keys") == []
    again = opened(broker)
    assert again.epoch != room.epoch
    assert again.put(*say("c")) == [1]


def test_a_room_that_went_while_it_was_opened_keeps_its_place(make: Make) -> None:
    clock = Clock()
    broker = make(history_age=100, clock=clock)
    first = opened(broker)
    first.put(*say("a"))
    first.channel.retire(lambda: True)
    channel = broker.open("r")
    clock.now += 1000
    sweep(broker)
    assert channel.publish(say("b")) == [Position(2, first.epoch)]
    assert opened(make()).epoch == first.epoch


def test_without_an_age_everything_stays(make: Make) -> None:
    clock = Clock()
    broker = make(clock=clock)
    room = opened(broker)
    room.put(*say("a"))
    room.channel.retire(lambda: True)
    clock.now += 1e9
    sweep(broker)
    assert opened(broker).page() == [1]


def test_closed_rooms_and_spent_keys_are_swept_away(make: Make) -> None:
    clock = Clock()
    broker = make(clock=clock)
    room, other = opened(broker, "r"), opened(broker, "s")
    room.put(*say("a", key="k"))
    room.channel.close()
    other.put(*say("b", key="k"))
    sweep(broker)
    assert rows(broker, "SELECT name FROM rooms") == [("s",)]
    assert rows(broker, "SELECT count(*) FROM events") == rows(broker, "SELECT count(*) FROM keys") == [(1,)]
    clock.now += KEY_TTL
    sweep(broker)
    assert rows(broker, "SELECT count(*) FROM keys") == [(0,)]


def test_a_flood_of_keys_has_a_bound(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_KEYS", 10)
    broker = make()
    room = opened(broker)
    for number in range(30):
        room.put(*say("a", key=str(number)))
    sweep(broker)
    assert rows(broker, "SELECT min(offset), count(*) FROM keys") == [(21, 10)]


def test_a_clock_that_is_set_back_makes_no_event_older(make: Make) -> None:
    clock = Clock()
    room = opened(make(clock=clock))
    room.put(*say("a"))
    clock.now -= 500
    room.put(*say("b"))
    assert [item.event.time for item in room.outlet.records] == [1000, 1000]


def test_sweeping_comes_by_itself(make: Make) -> None:
    swept = threading.Semaphore(0)
    broker = make()

    def steps(database: sqlite3.Connection) -> Iterator[None]:
        swept.release()
        yield

    writer = Writer(broker.path, steps, sweep_interval=0.0)
    writer.do(Nothing())
    assert swept.acquire(timeout=PATIENCE)
    assert swept.acquire(timeout=PATIENCE), "again and again, though nobody writes"
    writer.close(Nothing())


# -- commits -------------------------------------------------------------------------------------------


def test_a_commit_that_fails_is_a_temporary_error_and_nothing_else(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = make()
    room, new = opened(broker), opened(broker, "new")
    room.put(*say("a", key="a"))
    with refusing(broker):
        for _ in range(2):
            for each in (room, new):
                with pytest.raises(
                    CommandError, match="nothing can be written just now: attempt to"
                ) as caught:
                    each.put(*say("b", key="b"))
                assert (caught.value.code, caught.value.temporary) == (ErrorCode.INTERNAL, True)
        assert room.page() == [1], "reading goes on"
        with pytest.raises(CommandError):
            broker.new_user()
    assert room.put(*say("b", key="b"), *say("again", key="a")) == [2, 1]
    assert new.put(*say("b", key="b")) == [1]
    assert room.outlet.got == [1, 2]
    assert broker.new_user() == 1
    assert len([1 for line in caplog.messages if "publishing is refused" in line]) == 1, "said once"
    assert len([1 for line in caplog.messages if "can be written again" in line]) == 1


def test_a_full_disk_refuses_and_takes_again(make: Make) -> None:
    broker = make()
    room = opened(broker)
    room.put(*say("a"))
    database = broker.writer.database
    [pages] = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CommandError, match="database or disk is full"):
        room.put(*say("x" * 50_000))
    database.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert room.put(*say("x" * 50_000)) == [2]
    assert room.outlet.got == room.page() == [1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("not allowed to mount")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(100_000))
        broker = SqliteBroker(disk / "chat.db")
        room = opened(broker)
        accepted = []
        with pytest.raises(CommandError, match="nothing can be written just now") as caught:  # noqa: PT012
            while True:
                accepted += room.put(*say("x" * 5_000))
        assert caught.value.temporary
        assert room.page(0, 999) == accepted == list(range(1, len(accepted) + 1))
        filler.unlink()
        assert room.put(*say("after")) == [len(accepted) + 1]
        broker.close()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)  # to start takes some room
        again = SqliteBroker(disk / "chat.db")
        assert opened(again).page(0, 999) == list(range(1, len(accepted) + 2))
        again.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_works_that_wait_are_committed_together(make: Make) -> None:
    broker = make()
    rooms = [opened(broker, name) for name in "rs"]
    statements: list[str] = []
    broker.writer.database.set_trace_callback(statements.append)
    drafts = [say("a"), say("b", "c"), say("\ud800"), say("d", key="k"), say("e", key="k")]
    works = [Publication(room.channel, said) for said in drafts for room in rooms]  # type: ignore[arg-type]
    broker.writer.commit(works)
    broker.writer.database.set_trace_callback(None)
    assert [line for line in statements if line in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert [[position.offset for position in work.positions] for work in works[::2]] == [
        [1],
        [2, 3],
        [],
        [4],
        [4],
    ]
    assert [isinstance(work.error, UnicodeEncodeError) for work in works[::2]] == [
        False,
        False,
        True,
        False,
        False,
    ]
    for room in rooms:
        assert room.outlet.got == [], "nobody hands on what its publisher will"
        room.channel.hand_on()  # type: ignore[attr-defined]
        assert room.outlet.calls == [1, 2, 1]


def test_what_an_interrupted_publisher_said_is_handed_on(make: Make) -> None:
    broker = make()
    room = opened(broker)
    work = Publication(room.channel, say("a"))  # type: ignore[arg-type]
    work.awaited = False
    broker.writer.commit([work])
    assert room.outlet.got == [1]


def test_a_work_that_fails_by_a_mistake_does_not_end_the_writer(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Mistaken(Nothing):
        def committed(self) -> None:
            raise ZeroDivisionError

    broker = make()
    room = opened(broker)
    broker.writer.do(Mistaken())
    assert room.put(*say("a")) == [1]
    assert "could not be delivered" in caplog.text


def test_a_publication_under_way_keeps_the_room(make: Make) -> None:
    broker = make()
    room = opened(broker)
    answers: list[bool] = []
    applied = Publication.apply

    class Curious(Publication):
        def apply(self, database: sqlite3.Connection) -> None:
            answers.append(room.channel.retire(lambda: True))
            applied(self, database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("threadchat.broker.sqlite.channel.Publication", Curious)
        assert room.put(*say("a")) == [1]
    assert answers == [False]
    assert room.channel.retire(lambda: True)


def test_whoever_finds_no_place_is_refused(make: Make) -> None:
    writer = Writer(make().path, lambda database: iter(()), patience=0.0)
    held, go = threading.Event(), threading.Event()

    class Slow(Nothing):
        def apply(self, database: sqlite3.Connection) -> None:
            held.set()
            assert go.wait(PATIENCE)

    threads = run(lambda: writer.do(Slow()))
    assert held.wait(PATIENCE)
    threads += run(*[lambda: writer.do(Nothing())] * 3)
    for _ in range(PLACES - 4):
        writer._places.acquire()
    while writer._places.acquire(blocking=False):  # those three may not be there yet
        writer._places.release()
    with pytest.raises(CommandError, match="too many messages wait for the disk") as caught:
        writer.do(Nothing())
    assert caught.value.code == ErrorCode.TOO_MANY_REQUESTS
    go.set()
    join(threads)
    writer.close(Nothing())


def test_what_waits_at_the_end_is_still_written(make: Make) -> None:
    broker = make()
    room = opened(broker)
    held, go = threading.Event(), threading.Event()

    class Slow(Nothing):
        def apply(self, database: sqlite3.Connection) -> None:
            held.set()
            assert go.wait(PATIENCE)

    offsets: list[int] = []
    threads = run(lambda: broker.writer.do(Slow()))
    assert held.wait(PATIENCE)
    threads += run(lambda: offsets.extend(room.put(*say("a"))))
    while broker.writer._works.empty():
        pass
    threads += run(broker.close)
    go.set()
    join(threads)
    assert offsets == [1]
    assert opened(make()).page() == [1]


def test_a_forked_process_gets_a_clear_no(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = make()
    room = opened(broker)
    broker.new_user()
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)
        broker.reader._lock.acquire()  # another thread read when this one forked
        uses = (lambda: room.put(*say("a")), room.page, lambda: broker.open("s"), broker.new_user)
        for use in (*uses, lambda: broker.exists("s")):
            with pytest.raises(CommandError, match="before this one forked from it") as caught:
                use()
            assert not caught.value.temporary
        broker.reader._lock.release()
    assert room.put(*say("a")) == [1]


def test_readers_take_turns_when_there_are_many(make: Make) -> None:
    room: Opened = opened(make())
    room.put(*say(*["x"] * 50))
    together = threading.Barrier(12)
    pages: list[list[int]] = []

    def read() -> None:
        together.wait(PATIENCE)
        pages.extend(ids_of(room.channel.history(None, 50, False).records) for _ in range(20))

    join(run(*[read] * 12))
    assert pages == [list(range(1, 51))] * 240


def test_a_writer_that_could_not_start_starts_with_the_next_publication(make: Make) -> None:
    channel = make().open("r")
    with short_of_threads("sqlite-writer"):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            channel.publish(say("lost"))
        positions = channel.publish(say("a"))
    assert isinstance(positions, list)
    assert [position.offset for position in positions] == [1]
