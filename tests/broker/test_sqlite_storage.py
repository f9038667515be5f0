"""The SQLite file stays within `storage_bytes`, and what was deleted is in none of its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.brokers import Opened, opened
from tests.broker.sqlite_files import Make, Nothing, rows
from tests.chat.helpers import Clock, say
from tests.server.session_helpers import until
from threadchat.broker.sqlite import SqliteBroker, checkpoint
from threadchat.broker.sqlite.eviction import stored_bytes
from threadchat.chat.log.events import DELETE, EDIT, Draft, Position, inbox_of
from threadchat.errors import CommandError, ErrorCode

MOST = 1 << 20
TEXT = "x" * 2_000


@pytest.fixture
def make(make_sqlite: Make) -> Make:
    return make_sqlite


def fill(broker: SqliteBroker, name: str, count: int) -> Opened:
    room = opened(broker, name)
    for _ in range(count):
        room.put(*say(TEXT))
    return room


def left(broker: SqliteBroker) -> set[str]:
    return {name for (name,) in rows(broker, "SELECT name FROM rooms WHERE id IN (SELECT room FROM events)")}


def settle(broker: SqliteBroker) -> None:
    """Has the writer come to an end of what it drops."""

    def is_calm() -> bool:
        broker.writer.do(Nothing())
        return broker.writer._upkeep_in > 0

    until(is_calm)


# -- the limit -----------------------------------------------------------------------------------------


def test_rooms_that_nobody_has_open_go_first_and_the_most_silent_of_them(make: Make) -> None:
    clock = Clock()
    broker = make(storage_bytes=MOST, clock=clock)
    held = fill(broker, "open", 5)
    for number in range(30):
        clock.now += 60
        fill(broker, f"r{number}", 50).channel.retire(lambda: True)
    settle(broker)
    names = left(broker)
    assert "open" in names
    assert "r29" in names
    assert names == {"open", *(f"r{number}" for number in range(31 - len(names), 30))}, "the oldest have gone"
    assert stored_bytes(broker.writer.database) <= MOST
    assert held.page() == [1, 2, 3, 4, 5]
    assert broker.path.stat().st_size < MOST * 5 // 4


def test_where_all_rooms_are_open_the_largest_lose_their_oldest_events(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make(storage_bytes=MOST)
    small = fill(broker, "small", 3)
    large = [fill(broker, f"large {number}", 200) for number in range(5)]
    settle(broker)
    assert small.page() == [1, 2, 3]
    for room in large:
        assert room.page(limit=1000)[-1] == 200
    assert any(room.page(limit=1000)[0] > 1 for room in large)
    assert small.put(*say("still")) == [4]
    assert "storage_bytes" in caplog.text
    for room in large:  # what the writer remembers of a room agrees with the file
        room.put(*say("more"))
    again = [opened(make(storage_bytes=MOST), room.channel.room).page(limit=1000) for room in large]
    assert [page[-1] for page in again] == [201] * 5


@pytest.mark.parametrize("name", ["r", inbox_of(7)])
def test_what_is_promised_is_not_dropped_but_new_messages_are_refused(make: Make, name: str) -> None:
    clock = Clock()
    broker = make(storage_bytes=MOST, history_age=1000, inbox_age=1000, inbox_size=10_000, clock=clock)
    kept = 0

    def flood() -> None:
        nonlocal kept
        while True:
            room = opened(broker, f"r{kept}" if name == "r" else inbox_of(kept))
            room.put(*say(TEXT))
            kept += 1
            room.channel.retire(lambda: True)

    with pytest.raises(CommandError) as refused:
        flood()
    assert (refused.value.code, refused.value.temporary) == (ErrorCode.LIMIT_EXCEEDED, True)
    assert "storage_bytes" in str(refused.value)
    settle(broker)
    assert rows(broker, "SELECT count(*) FROM events") == [(kept,)]
    assert stored_bytes(broker.writer.database) <= MOST
    clock.now += 2000
    late = opened(broker, "late")
    until(lambda: accepts(late))
    settle(broker)
    assert rows(broker, "SELECT count(*) FROM events") < [(kept,)]


def accepts(room: Opened) -> bool:
    try:
        return bool(room.put(*say(TEXT)))
    except CommandError:
        return False


def test_a_small_message_has_its_place_where_a_flood_is_refused(make: Make) -> None:
    clock = Clock()
    broker = make(storage_bytes=MOST, history_age=1000, clock=clock)
    flood = opened(broker, "flood")
    until(lambda: not accepts(flood))
    person = opened(broker, "person")
    assert [person.put(*say("hello")) for _ in range(20)] == [[number] for number in range(1, 21)]


def test_a_moderator_can_delete_and_close_where_nothing_else_fits(make: Make) -> None:
    clock = Clock()
    broker = make(storage_bytes=MOST, history_age=1000, clock=clock)
    room = opened(broker)
    room.put(*say("bad"))
    broker.writer.do(Nothing())
    broker.writer._upkeep = ()
    broker.writer.do(Nothing())  # it does nothing any more behind the test's back
    broker._budget.measured(MOST)
    with pytest.raises(CommandError):
        room.put(*say("x"))
    broker._budget.measured(MOST)
    assert room.put(Draft(DELETE, 1, "m", target=Position(1, room.epoch))) == [2]
    room.channel.close()
    assert rows(broker, "SELECT closed FROM rooms") == [(1,)]


def test_a_file_that_is_too_large_when_it_is_opened_shrinks_with_the_first_message(make: Make) -> None:
    broker = make(storage_bytes=8 * MOST)
    for number in range(30):
        fill(broker, f"r{number}", 50).channel.retire(lambda: True)
    assert stored_bytes(broker.writer.database) > 2 * MOST
    broker = make(storage_bytes=MOST)
    room = opened(broker, "new")
    until(lambda: accepts(room))
    settle(broker)
    assert stored_bytes(broker.writer.database) <= MOST


def test_a_slice_that_cannot_be_written_loses_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    broker = make(storage_bytes=MOST)
    room = fill(broker, "r", 300)
    broker._budget.refused = broker._budget.due = True
    broker.writer.database.execute("PRAGMA query_only = 1")
    with pytest.raises(CommandError):
        broker.writer.do(Nothing())
    until(lambda: "cannot be kept within its limits" in caplog.text)
    broker.writer.database.execute("PRAGMA query_only = 0")
    assert room.put(*say("y")) == [301]
    assert room.page()[-1] == 301


# -- erasure -------------------------------------------------------------------------------------------


def files(path: Path) -> Iterator[bytes]:
    for each in path.parent.iterdir():
        yield each.read_bytes()


@pytest.mark.parametrize("size", [20, 300, 3000, 100_000])
def test_a_deleted_text_is_in_no_file(make: Make, size: int) -> None:
    broker = make()
    rooms = [opened(broker, f"r{number}") for number in range(3)]
    secrets = []
    for number in range(300):
        room = rooms[number % 3]
        if number % 10:
            room.put(*say("x" * (number * 37 % 1500)))
            continue
        secret = f"secret {number:05}"
        [offset] = room.put(*say((secret * (size // len(secret) + 1))[:size]))
        secrets.append((room, offset, secret.encode()))
    assert all(any(secret in data for data in files(broker.path)) for *_, secret in secrets)
    for room, offset, _ in secrets:
        room.put(Draft(DELETE, 1, "m", target=Position(offset, room.epoch)))
    until(lambda: not any(secret in data for *_, secret in secrets for data in files(broker.path)))
    for room in rooms:
        assert len(room.page(limit=200)) == len(rows(broker, "SELECT 1 FROM events")) // 3


def test_what_a_deleted_message_said_before_it_was_edited_is_gone_too(make: Make) -> None:
    broker = make()
    room = opened(broker)
    [said] = room.put(*say("secret one"))
    target = Position(said, room.epoch)
    for text in ("secret two", "secret three"):
        room.put(Draft(EDIT, "ann", "ann", text, target=target))
    assert any(b"secret three" in data for data in files(broker.path))
    room.put(Draft(DELETE, "ann", "ann", target=target))
    until(lambda: not any(b"secret" in data for data in files(broker.path)))


def test_many_deletions_are_erased_some_rooms_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROOMS", 2)
    monkeypatch.setattr(checkpoint, "PAUSE", 0.0)
    broker = make()
    for number in range(7):
        room = opened(broker, f"r{number}")
        room.put(*say(f"secret {number}"))
        room.put(Draft(DELETE, 1, "m", target=Position(1, room.epoch)))
    until(lambda: not any(b"secret" in data for data in files(broker.path)))
    until(lambda: not broker.checkpoint._deleted)


def test_what_a_process_that_was_killed_left_in_the_log_is_erased_by_the_next(make: Make) -> None:
    broker = make()
    broker.writer._upkeep = ()  # as if it were killed before it came to that
    room = opened(broker)
    room.put(*say("secret"))
    room.put(Draft(DELETE, 1, "m", target=Position(1, room.epoch)))
    log = Path(f"{broker.path}-wal")
    assert b"secret" in log.read_bytes()
    left_behind = log.read_bytes(), broker.path.read_bytes()
    broker.close()
    log.write_bytes(left_behind[0])
    broker.path.write_bytes(left_behind[1])
    again = opened(make())
    again.put(*say("x"))
    until(lambda: not any(b"secret" in data for data in files(broker.path)))


def test_a_reader_in_the_way_only_delays_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "RETRY", 0.05)
    monkeypatch.setattr(checkpoint, "WAIT", 0.0)
    broker = make()
    room = opened(broker)
    room.put(*say("secret"))
    with broker.reader._snapshot() as database:
        database.execute("SELECT count(*) FROM events").fetchone()
        room.put(Draft(DELETE, 1, "m", target=Position(1, room.epoch)))
        assert any(b"secret" in data for data in files(broker.path))
    until(lambda: not any(b"secret" in data for data in files(broker.path)))
