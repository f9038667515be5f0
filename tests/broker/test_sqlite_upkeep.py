"""What `broker/sqlite/` does beside writing: it sweeps in slices, bounds rooms, and keeps the WAL short."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from tests.broker.brokers import opened
from tests.broker.sqlite_files import Make, Nothing, refusing, rows, sweep
from tests.chat.helpers import PATIENCE, Clock, join, run, say
from threadchat.broker.sqlite import SqliteBroker, checkpoint, retention
from threadchat.broker.sqlite.checkpoint import RETRY, Checkpoint
from threadchat.broker.sqlite.reader import CONNECTIONS, Reader
from threadchat.broker.sqlite.writer import SWEEP_SLICE, Writer
from threadchat.chat.log.sequencer import KEY_TTL


@pytest.fixture
def make(make_sqlite: Make) -> Make:
    """Opens the file of this test."""
    return make_sqlite


# -- the order of rooms of one name --------------------------------------------------------------------


def test_a_room_that_was_never_used_and_closes_while_it_begins_anew_leaves_nothing_behind(
    make: Make,
) -> None:
    broker = make()
    unused = opened(broker)
    anew = opened(broker)  # as the hub does it between the room's end and its channel's
    assert anew.put(*say("a", "b", "c")) == [1, 2, 3]
    unused.channel.close()
    again = opened(make())
    assert (again.epoch, again.page()) == (anew.epoch, [1, 2, 3])


def test_what_is_said_late_in_a_room_that_is_being_closed_does_not_hide_its_successor(
    make: Make,
) -> None:
    broker = make()
    closing = opened(broker)
    anew = opened(broker)
    assert anew.put(*say("a")) == [1]
    assert closing.put(*say("late")) == [1], "it had passed the gate"
    again = opened(make())  # killed before the end of the first was written
    assert (again.epoch, again.page()) == (anew.epoch, [1])
    sweep(again.channel._broker)  # type: ignore[attr-defined]
    assert opened(make()).page() == [1]


def test_a_room_number_is_never_given_twice(make: Make) -> None:
    clock = Clock()
    broker = make(history_age=100, clock=clock)
    opened(broker).put(*say("a"))
    broker = make(history_age=100, clock=clock)
    clock.now += 1000
    sweep(broker)
    assert rows(broker, "SELECT * FROM rooms") == []
    broker = make(history_age=100, clock=clock)
    opened(broker).put(*say("b"))
    assert rows(broker, "SELECT id FROM rooms") == [(2,)]


# -- sweeping ------------------------------------------------------------------------------------------


def test_works_come_between_the_slices_of_a_sweep(make: Make) -> None:
    path, clock = make().path, Clock()
    said: list[str] = []
    writer: Writer

    class Said(Nothing):
        def apply(self, database: sqlite3.Connection) -> None:
            said.append("work")

    def steps(database: sqlite3.Connection) -> Iterator[None]:
        for _ in range(3):
            said.append("step")
            writer._works.put(Said())
            clock.now += SWEEP_SLICE
            yield
        writer._works.put(None)

    writer = Writer(path, steps, clock=clock)
    writer.run()  # on this thread, until it takes the None
    writer.database.close()
    assert said == ["step", "work"] * 3


def test_a_slice_holds_as_many_steps_as_there_is_time_for(make: Make) -> None:
    path, clock = make().path, Clock()

    def steps(database: sqlite3.Connection) -> Iterator[None]:
        for _ in range(5):
            clock.now += SWEEP_SLICE / 2
            yield

    writer = Writer(path, steps, clock=clock)
    assert [writer.sweep() for _ in range(3)] == [True, True, False]
    writer.database.close()


def test_a_sweep_whose_slice_cannot_be_written_begins_again(
    make: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, clock, begun = make().path, Clock(), []

    def steps(database: sqlite3.Connection) -> Iterator[None]:
        begun.append(1)
        clock.now += SWEEP_SLICE
        yield
        database.execute("INSERT INTO meta VALUES ('x', 1)")
        yield

    writer = Writer(path, steps, clock=clock)
    assert writer.sweep()
    writer.database.execute("PRAGMA query_only = 1")
    assert not writer.sweep()
    assert "could not be dropped" in caplog.text
    writer.database.execute("PRAGMA query_only = 0")
    assert writer.sweep()
    assert len(begun) == 2
    writer.database.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 3)


def longest_step(broker: SqliteBroker) -> int:
    """Rows that were changed in the longest step of a sweep."""
    changes = []
    database = broker.writer.database
    before = database.total_changes
    for _ in broker._sweep(database):
        changes.append(database.total_changes - before)
        before = database.total_changes
    return max(changes)


@pytest.mark.usefixtures("small_steps")
def test_no_step_drops_more_rows_than_it_may(make: Make) -> None:
    clock = Clock()
    broker = make(history_age=100, clock=clock)
    for number in range(10):
        room = opened(broker, f"r{number}")
        for item in range(10):
            room.put(*say("x", key=str(item)))
        if number % 2:
            room.channel.retire(lambda: True)
    closed = opened(broker, "closed")
    closed.put(*say(*"abcdefgh"))
    closed.channel.close()
    kept = opened(broker, "kept")
    clock.now += 1000
    kept.put(*say("new", key="k"))
    broker.writer.do(Nothing())
    for _ in range(3):  # the writer's own first look may be under way
        broker.writer.do(Nothing())
    assert longest_step(broker) <= retention.STEP + 2, "and a room's own row"
    assert rows(broker, "SELECT count(*) FROM rooms") == [(6,)]
    assert rows(broker, "SELECT count(*) FROM keys") == [(1,)]
    assert rows(broker, "SELECT count(*) FROM events") == [(1,)]


@pytest.mark.usefixtures("small_steps")
def test_without_an_age_rooms_have_a_bound_and_the_most_silent_go(make: Make) -> None:
    clock = Clock()
    broker = make(max_rooms=5, clock=clock)
    for number in range(12):
        room = opened(broker, f"r{number}")
        room.put(*say("x", key="k"))
        if number:
            room.channel.retire(lambda: True)  # r0 stays open
        clock.now += 20  # three a minute
    sweep(broker)
    left = [name for (name,) in rows(broker, "SELECT name FROM rooms ORDER BY id")]
    assert left == ["r0", "r7", "r8", "r9", "r10", "r11"], "an open one comes on top"
    assert rows(broker, "SELECT count(*) FROM events") == [(6,)]
    clock.now += KEY_TTL
    sweep(broker)
    assert len(rows(broker, "SELECT name FROM rooms")) == 6, "not one too many"


@pytest.mark.usefixtures("small_steps")
def test_a_room_that_is_opened_while_it_is_dropped_goes_on(make: Make) -> None:
    clock = Clock()
    broker = make(max_rooms=1, clock=clock)
    first = opened(broker)
    first.put(*say(*"abcdefgh"))
    first.channel.retire(lambda: True)
    clock.now += 100
    opened(broker, "other").put(*say("x"))
    database = broker.writer.database
    for _ in broker._sweep(database):
        if rows(broker, "SELECT min(offset) FROM events WHERE room = 1") == [(4,)]:
            break
    else:
        pytest.fail("it went in one step")
    again = opened(broker)
    assert (again.epoch, again.page()) == (first.epoch, [4, 5, 6, 7, 8])
    for _ in broker._sweep(database):
        pass
    assert again.put(*say("i")) == [9]
    assert again.page() == [4, 5, 6, 7, 8, 9]


# -- the write-ahead log -------------------------------------------------------------------------------


def reading(reader: Reader) -> contextlib.AbstractContextManager[sqlite3.Connection]:
    return reader._snapshot()


def test_the_log_is_emptied_though_somebody_always_reads(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "WAL_BYTES", 1)
    broker = make()
    room = opened(broker)
    emptied = threading.Event()
    log = Path(f"{broker.path}-wal")
    truncate = checkpoint._truncate

    def tell(database: sqlite3.Connection) -> bool:
        done = truncate(database)
        assert log.stat().st_size == 0
        emptied.set()
        return done

    monkeypatch.setattr(checkpoint, "_truncate", tell)
    broker.writer._upkeep = (Checkpoint(broker.path, broker.reader.paused, most=64 << 10),)

    def read() -> None:  # two that overlap, so that there is a reader at any time
        while not emptied.is_set():
            with reading(broker.reader) as database:
                database.execute("SELECT count(*) FROM events").fetchone()
                turns.acquire(timeout=0.05)

    turns = threading.Semaphore(0)
    threads = run(read, read)
    try:
        for _ in range(500):
            room.put(*say("x" * 1000))
            turns.release()
            if emptied.is_set():
                break
        assert emptied.wait(PATIENCE)
    finally:
        emptied.set()
        join(threads)
    assert room.put(*say("after")) == [room.page()[-1]]


def test_readers_are_held_back_until_those_who_read_have_finished(tmp_path: Path, make: Make) -> None:
    reader = Reader(make().path)
    with reading(reader), reader.paused(0.0) as alone:
        assert not alone
    begun, order = threading.Event(), []

    def late() -> None:
        begun.set()
        with reading(reader):
            order.append("read")

    with reader.paused(PATIENCE) as alone:
        assert alone
        threads = run(*[late] * (CONNECTIONS + 1))
        assert begun.wait(PATIENCE)
        order.append("alone")
    join(threads)
    assert order == ["alone", *["read"] * (CONNECTIONS + 1)]
    reader.close()


def test_somebody_in_the_way_is_not_waited_for_again_and_again(make: Make) -> None:
    broker, clock = make(), Clock()
    opened(broker).put(*say("x" * 100_000))
    asked: list[float] = []

    @contextlib.contextmanager
    def paused(timeout: float) -> Iterator[bool]:
        asked.append(clock.now)
        yield False

    look: Callable[[sqlite3.Connection], float] = Checkpoint(broker.path, paused, most=1, clock=clock)
    for _ in range(3):
        look(broker.writer.database)
    assert asked == [1000]
    clock.now += RETRY
    look(broker.writer.database)
    assert len(asked) == 2


def test_another_program_that_reads_keeps_its_log(make: Make) -> None:
    broker = make()
    room = opened(broker)
    found: queue.SimpleQueue[tuple[bool, int, int]] = queue.SimpleQueue()

    def empty(
        database: sqlite3.Connection,
    ) -> float:  # after each transaction of the writer
        emptied = checkpoint._truncate(database)
        [timeout] = database.execute("PRAGMA busy_timeout").fetchone()
        found.put((emptied, Path(f"{broker.path}-wal").stat().st_size, timeout))
        return inf

    with contextlib.closing(sqlite3.connect(broker.path)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM events").fetchone()
        broker.writer._upkeep = (empty,)
        room.put(*say("x"))
        emptied, size, timeout = found.get(timeout=PATIENCE)
        assert (emptied, size > 0, timeout) == (False, True, 5000)
        assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
    room.put(*say("y"))
    while not emptied:
        emptied, size, _ = found.get(timeout=PATIENCE)
    assert size == 0
    assert room.page() == [1, 2]


def test_a_checkpoint_that_fails_ends_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    broker = make()
    room = opened(broker)

    def fail(database: sqlite3.Connection) -> float:
        raise sqlite3.OperationalError("disk I/O error")

    broker.writer._upkeep = (fail,)
    with refusing(broker), contextlib.suppress(Exception):
        room.put(*say("a"))
    assert room.put(*say("a"))
    assert "cannot be kept within its limits: disk I/O error" in caplog.text


def test_a_key_is_known_in_its_own_log_only(make: Make) -> None:
    broker = make()
    closing = opened(broker)
    assert closing.put(*say("a", "b", key="k")) == [1, 1]
    anew = opened(broker)  # while the other is being closed
    assert anew.put(*say("x", "y")) == [1, 2]
    assert anew.put(*say("c", key="k")) == [3]
    assert closing.put(*say("again", key="k")) == [1]
    assert anew.put(*say("again", key="k")) == [3]
