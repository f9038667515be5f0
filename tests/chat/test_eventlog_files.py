"""The event log in several files: when a new one begins, what is kept, and what a bad disk does to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chat.helpers import Clock
from tests.chat.test_eventlog import ids, note, size_of
from threadchat.chat.eventlog import files as eventlog_file
from threadchat.chat.eventlog.files import LogFile, closed_files
from threadchat.chat.eventlog.json_lines import JsonLines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    init = LogFile.__init__
    monkeypatch.setattr(LogFile, "__init__", lambda *args: init(*args, clock=clock))
    return clock


def batch(lines: JsonLines, first: int, last: int) -> None:
    note(lines, first, last)
    lines.flush()


def closed(path: Path) -> list[Path]:
    return closed_files(str(path))


def test_a_new_file_begins_before_the_old_one_is_too_large(path: Path, clock: Clock) -> None:
    lines = JsonLines(path, max_bytes=size_of(1, 3))
    for number in range(1, 8):
        batch(lines, number, number)
        clock.now += 1
    lines.close()
    assert [ids(each) for each in (*closed(path), path)] == [[1, 2, 3], [4, 5, 6], [7]]
    assert closed(path)[0].name == "events.log.19700101T001643Z"


def test_a_batch_that_is_larger_than_a_file_is_written_whole(path: Path) -> None:
    lines = JsonLines(path, max_bytes=size_of(1, 3))
    batch(lines, 1, 9)
    batch(lines, 10, 10)
    lines.close()
    assert [ids(each) for each in (*closed(path), path)] == [[*range(1, 10)], [10]]


def test_two_files_of_one_second_have_two_names(path: Path, clock: Clock) -> None:
    lines = JsonLines(path, max_bytes=1)
    for number in range(1, 5):
        batch(lines, number, number)
    lines.close()
    assert [ids(each) for each in (*closed(path), path)] == [[1], [2], [3], [4]]


def test_a_new_file_begins_once_the_old_one_is_too_old(path: Path, clock: Clock) -> None:
    lines = JsonLines(path, max_age=100)
    clock.now += 1000  # an empty file does not become old
    batch(lines, 1, 1)
    assert closed(path) == []
    clock.now += 99
    batch(lines, 2, 2)
    clock.now += 1
    lines.flush()
    assert closed(path) == []  # without events there is nothing to do
    batch(lines, 3, 3)
    lines.close()
    assert [ids(each) for each in (*closed(path), path)] == [[], [1, 2], [3]][1:]


def test_a_file_of_an_earlier_process_is_as_old_as_its_last_line(path: Path, clock: Clock) -> None:
    path.write_text('{"id":1}\n')
    os.utime(path, (clock.now - 500, clock.now - 500))
    lines = JsonLines(path, max_age=400)
    batch(lines, 2, 2)
    lines.close()
    assert [ids(each) for each in (*closed(path), path)] == [[1], [2]]


@pytest.mark.parametrize("sized", [True, False])
def test_the_oldest_go_so_that_all_together_are_no_more_than_a_total(
    path: Path, clock: Clock, sized: bool
) -> None:
    total = size_of(1, 6)
    other = path.with_name("events.log.bak")
    other.write_text("not ours")
    lines = JsonLines(path, max_bytes=size_of(1, 2) if sized else 0, total_bytes=total)
    for number in range(1, 40):
        batch(lines, number % 9 + 1, number % 9 + 1)
        clock.now += 1
        assert sum(each.stat().st_size for each in (*closed(path), path)) <= total
    lines.close()
    assert len(closed(path)) == (2 if sized else 1)
    assert other.exists()


def test_an_empty_log_begins_no_new_file_and_without_limits_there_is_one(path: Path) -> None:
    lines = JsonLines(path)
    for number in range(1, 50):
        batch(lines, number, number)
    lines.close()
    assert closed(path) == []
    assert len(ids(path)) == 49


def test_a_file_that_was_renamed_is_opened_anew_when_asked(path: Path) -> None:
    lines = JsonLines(path)
    batch(lines, 1, 1)
    moved = path.rename(path.with_name("moved"))
    batch(lines, 2, 2)
    lines.reload()
    batch(lines, 3, 3)
    lines.close()
    assert (ids(moved), ids(path)) == ([1, 2], [3])


def test_a_pipe_is_never_rotated(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = JsonLines(pipe, max_bytes=1, max_age=0.001, total_bytes=2)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for number in range(1, 4):
        batch(lines, number, number)
    lines.close()
    assert os.read(reader, 1 << 16).count(b"\n") == 3
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("failing", ["rename", "open"])
def test_where_no_new_file_can_be_begun_the_old_one_goes_on(
    path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failing: str,
) -> None:
    lines = JsonLines(path, max_bytes=size_of(1, 1))
    batch(lines, 1, 1)

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(eventlog_file.os, failing, fail)
        batch(lines, 2, 2)
        batch(lines, 3, 3)
    assert caplog.text.count("no new file can be begun") == 1
    clock.now += eventlog_file.RETRY
    batch(lines, 4, 4)
    lines.close()
    written = [ids(each) for each in (*closed(path), path)]
    assert written == [[1, 2, 3], [4]]


def test_a_line_that_was_begun_ends_in_the_file_where_it_began(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = JsonLines(path, max_bytes=size_of(1, 1))
    write: Callable[[int, bytes], int] = os.write
    room = size_of(1, 1) // 2

    def full(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "no space")
        count = write(file, data[:room])
        room -= count
        return count

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        batch(lines, 1, 1)
    lines.reload()
    batch(lines, 2, 2)
    batch(lines, 3, 3)
    lines.close()
    written = [ids(each) for each in (*closed(path), path)]
    assert [number for numbers in written for number in numbers] == [1, 2, 3]


def test_descriptors_do_not_pile_up(path: Path) -> None:
    lines = JsonLines(path, max_bytes=1)
    batch(lines, 1, 1)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(2, 20):
        batch(lines, number, number)
        lines.reload()
    assert len(os.listdir("/proc/self/fd")) == before
    lines.close()
