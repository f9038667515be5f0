"""What `chat/eventlog/json_lines.py` writes, and what a full disk leaves of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chat.helpers import PATIENCE, records
from threadchat.chat.eventlog import json_lines as eventlog
from threadchat.chat.eventlog.files import LogFile
from threadchat.chat.eventlog.json_lines import JsonLines
from threadchat.chat.room import Room


class Disk:
    """Takes as many bytes as a test allows, counted over all writes; then it is full."""

    def __init__(self, write: Callable[[int, bytes], int]) -> None:
        self._write = write
        self.room = 1 << 30
        self.at_once = 1 << 30  # bytes that one call takes
        self.calls = 0

    def write(self, file: int, data: bytes) -> int:
        self.calls += 1
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(file, data[: min(self.room, self.at_once)])
        self.room -= count
        return count


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(os.write)
    monkeypatch.setattr(eventlog.os, "write", disk.write)
    return disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


@pytest.fixture
def lines(path: Path) -> Iterator[JsonLines]:
    lines = JsonLines(path)
    yield lines
    lines.close()


def note(lines: JsonLines, first: int, last: int, message: str = "hi") -> None:
    for item in records(first, last, message):
        lines(item.event)


def ids(path: Path) -> list[int]:
    """What a reader finds: every line has to be whole."""
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["id"] for line in text.splitlines()]


def size_of(first: int, last: int, message: str = "hi") -> int:
    return sum(len(item.json) + 1 for item in records(first, last, message))


# -- files -------------------------------------------------------------------------------------------


def test_one_line_an_event_in_the_shape_that_clients_get(lines: JsonLines, path: Path) -> None:
    note(lines, 1, 2, "smörgås\nbord")
    lines.flush()
    assert path.read_bytes() == b"".join(item.json + b"\n" for item in records(1, 2, "smörgås\nbord"))


def test_one_write_a_batch_and_none_for_an_empty_one(lines: JsonLines, path: Path, disk: Disk) -> None:
    note(lines, 1, 100)
    assert ids(path) == []
    lines.flush()
    lines.flush()
    assert disk.calls == 1
    assert ids(path) == list(range(1, 101))


def test_a_large_batch_is_written_before_it_takes_much_memory(
    lines: JsonLines, path: Path, disk: Disk
) -> None:
    note(lines, 1, 5, "x" * (eventlog.MAX_PENDING // 2))
    assert disk.calls == 2
    assert ids(path) == [1, 2, 3, 4]
    lines.flush()
    assert ids(path) == [1, 2, 3, 4, 5]


def test_an_existing_file_is_appended_to(path: Path) -> None:
    for first in (1, 3):
        lines = JsonLines(str(path))
        note(lines, first, first + 1)
        lines.close()
    assert ids(path) == [1, 2, 3, 4]


def test_a_line_that_an_earlier_run_left_torn_stands_alone(path: Path) -> None:
    path.write_bytes(b'{"id":1}\n{"id":')
    lines = JsonLines(path)
    note(lines, 7, 8)
    lines.close()
    torn = path.read_bytes().split(b"\n")
    assert torn[1] == b'{"id":'
    assert [json.loads(line)["id"] for line in torn[2:-1]] == [7, 8]


def test_a_torn_line_gets_nothing_where_nothing_follows(path: Path) -> None:
    path.write_bytes(b'{"id":')
    JsonLines(path).close()
    assert path.read_bytes() == b'{"id":'


def test_the_descriptor_appends_and_is_not_inherited(lines: JsonLines, path: Path) -> None:
    number = lines._log.descriptor
    assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
    assert not os.get_inheritable(number)
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert os.path.samestat(os.fstat(number), path.stat())


def test_another_writer_of_the_file_is_not_written_over(lines: JsonLines, path: Path) -> None:
    note(lines, 1, 1)
    lines.flush()
    with path.open("ab") as other:
        other.write(b'{"id":2}\n')
    note(lines, 3, 3)
    lines.flush()
    assert ids(path) == [1, 2, 3]


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        JsonLines(tmp_path / "file" / "events.log")
    with pytest.raises(IsADirectoryError):
        JsonLines(tmp_path)


def test_a_file_that_cannot_be_looked_at_leaks_no_descriptor(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bool:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(LogFile, "ends_torn", fail)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        JsonLines(path)
    assert set(os.listdir("/proc/self/fd")) <= before


# -- the end -----------------------------------------------------------------------------------------


def test_close_writes_what_is_left_once(lines: JsonLines, path: Path) -> None:
    note(lines, 1, 3)
    lines.close()
    lines.close()
    note(lines, 4, 4)
    lines.flush()
    assert ids(path) == [1, 2, 3]
    assert "closed" in repr(lines)


def test_a_failing_close_is_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = JsonLines(path)
    close = os.close

    def fail(file: int) -> None:
        close(file)
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(eventlog.os, "close", fail)
    lines.close()
    assert "quota" in caplog.text


# -- a bad disk --------------------------------------------------------------------------------------


def test_short_writes_are_continued(lines: JsonLines, path: Path, disk: Disk) -> None:
    disk.at_once = 7
    note(lines, 1, 20)
    lines.flush()
    assert ids(path) == list(range(1, 21))


def test_a_full_disk_is_reported_once_and_what_was_lost_when_it_works_again(
    lines: JsonLines, path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.room = size_of(1, 2)  # the third event of the first batch does not fit
    for first in (1, 4, 7):
        note(lines, first, first + 2)
        lines.flush()
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
    assert "No space left" in caplog.text
    assert str(path) in caplog.text
    assert "7 lost" in repr(lines)

    disk.room = 1 << 30
    note(lines, 10, 11)
    lines.flush()
    assert "7 events were lost" in caplog.records[-1].getMessage()
    assert ids(path) == [1, 2, 10, 11]

    lines.flush()
    note(lines, 12, 12)
    lines.flush()
    assert len(caplog.records) == 2, "it is reported once an episode"
    disk.room = 0
    note(lines, 13, 13)
    lines.flush()
    assert len(caplog.records) == 3, "a new episode"


@pytest.mark.parametrize("fits", range(size_of(1, 3) + 1))
def test_wherever_a_disk_gets_full_a_begun_line_is_finished_first(
    lines: JsonLines, path: Path, disk: Disk, caplog: pytest.LogCaptureFixture, fits: int
) -> None:
    disk.room = fits
    disk.at_once = 50
    note(lines, 1, 3)
    lines.flush()
    note(lines, 4, 5)  # as long as the disk is full they are lost
    lines.flush()
    disk.room = 1 << 30
    note(lines, 6, 7)
    lines.flush()
    begun = sum(size_of(1, last) < fits for last in (0, 1, 2))
    expected = [*range(1, begun + 1), 6, 7]
    assert ids(path) == expected
    lost = 7 - len(expected)
    assert f"{lost} events were lost" in caplog.records[-1].getMessage()


def test_a_line_may_take_several_attempts(lines: JsonLines, path: Path, disk: Disk) -> None:
    for _ in range(size_of(1, 1)):
        disk.room = 1
        note(lines, 1, 1)
        lines.flush()
    disk.room = 1 << 30
    note(lines, 2, 2)
    lines.flush()
    assert ids(path) == [1, 2]


def test_closing_finishes_a_begun_line(path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    lines = JsonLines(path)
    disk.room = 5
    note(lines, 1, 2)
    lines.flush()
    disk.room = 1 << 30
    lines.close()
    assert ids(path) == [1]
    assert "1 events were lost" in caplog.text


def test_closing_on_a_full_disk_reports_what_was_lost(
    path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    lines = JsonLines(path)
    disk.room = 5
    note(lines, 1, 3)
    lines.flush()
    note(lines, 4, 4)
    lines.close()
    assert "4 events were lost" in caplog.text


def test_a_disk_that_takes_nothing_and_says_nothing(
    lines: JsonLines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eventlog.os, "write", lambda file, data: 0)
    note(lines, 1, 1)
    lines.flush()
    assert "no bytes were written" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_dev_full_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    room = Room("r")
    thread = room.attach_listener(JsonLines("/dev/full"))
    stream = room.add("ann", "laptop")
    for number in range(50):
        room.message("ann", str(number))
    room.close()
    assert len(list(stream)) == 52
    thread.thread.join(PATIENCE)
    assert not thread.thread.is_alive()
    assert caplog.text.count("No space left") == 1
    assert "52 events were lost" in caplog.text


def test_a_room_keeps_its_log(path: Path) -> None:
    room = Room("GoChat")
    thread = room.attach_listener(JsonLines(path))
    room.add("ann", "laptop")
    for number in range(500):
        room.message("ann", str(number))
    room.close()
    thread.thread.join(PATIENCE)
    assert ids(path) == list(range(1, 503))


def test_its_folder_is_made(tmp_path: Path) -> None:
    JsonLines(tmp_path / "log" / "today" / "events.log").close()
    assert (tmp_path / "log" / "today" / "events.log").exists()


def test_a_pipe_that_nobody_reads_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eventlog, "PATIENCE", 0.0)
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    lines = JsonLines(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for number in range(1, 4001):
        note(lines, number, number)
        lines.flush()
    assert caplog.text.count("events are lost until it works again") == 1
    got = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            got += os.read(reader, 65536)
    note(lines, 4001, 4001)
    lines.flush()
    got += os.read(reader, 65536)
    lines.close()
    os.close(reader)
    numbers = [json.loads(line)["id"] for line in got.splitlines()]
    assert numbers[-1] == 4001, "and no line is torn"
    assert numbers[:-1] == list(range(1, len(numbers)))
    assert f"works again; {4000 - len(numbers) + 1} events were lost" in caplog.text


def test_a_reader_that_pauses_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    lines = JsonLines(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    got: list[bytes] = []

    def read(file: int) -> bool:
        got.append(os.read(reader, 1 << 20))
        return True

    monkeypatch.setattr(eventlog, "_takes_more", read)
    for number in range(1, 4001):
        note(lines, number, number)
        lines.flush()
    got.append(os.read(reader, 1 << 20))
    lines.close()
    os.close(reader)
    assert [json.loads(line)["id"] for line in b"".join(got).splitlines()] == list(range(1, 4001))
