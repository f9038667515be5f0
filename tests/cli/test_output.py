"""Covers threadchat/cli/output.py: whoever writes never waits for whoever reads."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import TextIO

import pytest

from tests.chat.helpers import PATIENCE
from tests.e2e.process import until
from threadchat.cli import output
from threadchat.cli.output import BackgroundStream, unblocked, unblocked_stderr

LINE = "x" * 99 + "\n"


class Pipe:
    """A pipe that is read only when a test says so."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream: TextIO = open(writing, "w", encoding="utf-8")  # noqa: SIM115

    def read_until(self, end: str) -> str:
        text = b""
        while not text.endswith(end.encode()):
            assert select.select([self.reading], [], [], PATIENCE)[0], text[-200:]
            data = os.read(self.reading, 65536)
            assert data, text[-200:]
            text += data
        return text.decode()

    def fill(self) -> int:
        """As much as it takes; returns how many bytes that is."""
        os.set_blocking(self.stream.fileno(), False)
        size = 0
        for portion in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    size += os.write(self.stream.fileno(), b"." * portion)
        os.set_blocking(self.stream.fileno(), True)
        return size

    def empty(self, size: int) -> None:
        while size:
            size -= len(os.read(self.reading, size))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    with contextlib.suppress(OSError):
        os.close(made.reading)
    made.stream.close()


def test_what_is_written_comes_out_in_order(pipe: Pipe) -> None:
    stream = BackgroundStream(pipe.stream)
    for number in range(1000):
        print(number, "grüße \ud800", file=stream, flush=True)
    assert pipe.read_until("999 grüße \\ud800\n").split("\n")[:2] == ["0 grüße \\ud800", "1 grüße \\ud800"]
    stream.end()
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("output-")]


def test_a_reader_that_stops_holds_nobody_up_and_is_told_what_it_missed(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    size = pipe.fill()
    stream = BackgroundStream(pipe.stream, max_waiting=1000)
    stream.write("begun\n")
    until(lambda: stream._writing, "the thread to be stuck")
    for _ in range(25):
        stream.write(LINE)
    assert not stream.settle(0.0)
    pipe.empty(size)
    assert pipe.read_until(10 * LINE) == "begun\n" + 10 * LINE
    stream.end(PATIENCE)
    assert [record.getMessage() for record in caplog.records] == [
        f"15 lines of {pipe.stream.name} were lost: nobody read them in time"
    ]
    stream.write("later\n")  # after the end, too
    assert pipe.read_until("later\n").endswith("later\n")
    stream.end(PATIENCE)


def test_the_end_does_not_wait_for_a_reader_that_stopped(pipe: Pipe) -> None:
    size = pipe.fill()
    stream = BackgroundStream(pipe.stream)
    stream.write("said\n")
    stream.end(0.0)
    pipe.empty(size)
    assert pipe.read_until("said\n") == "said\n"
    for thread in threading.enumerate():
        if thread.name.startswith("output-"):
            thread.join(PATIENCE)
    assert threads() == []


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    stream = BackgroundStream(pipe.stream)
    os.close(pipe.reading)
    stream.write("said\n")
    assert stream.settle(PATIENCE)
    stream.end(PATIENCE)


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    size = pipe.fill()
    os.set_blocking(pipe.stream.fileno(), False)
    stream = BackgroundStream(pipe.stream)
    stream.write("said\n")
    assert not stream.settle(0.0)
    pipe.empty(size)
    assert pipe.read_until("said\n") == "said\n"
    stream.end(PATIENCE)


def test_a_thread_that_cannot_be_started_is_tried_again(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BackgroundStream(pipe.stream)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", fail)
        stream.write("first\n")
    stream.write("second\n")
    assert pipe.read_until("second\n") == "first\nsecond\n"
    stream.end(PATIENCE)


def test_a_forked_process_has_a_thread_of_its_own(pipe: Pipe) -> None:
    size = pipe.fill()
    stream = BackgroundStream(pipe.stream)
    stream.write("parent\n")
    until(lambda: stream._writing, "the thread to be stuck")
    with stream._changed, warnings.catch_warnings():  # the lock is held, too
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        stream.write("child\n")
        stream.settle(PATIENCE)
        os._exit(0)
    pipe.empty(size)
    assert os.waitpid(pid, 0)[1] == 0
    assert stream.settle(PATIENCE)
    assert sorted(os.read(pipe.reading, 99).splitlines()) == [b"child", b"parent"]
    stream.end(PATIENCE)


def test_a_stream_without_a_descriptor_is_left_alone() -> None:
    text = io.StringIO()
    with unblocked(text) as stream:
        assert stream is text


def test_log_warnings_and_tracebacks_go_through_it(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    size = pipe.fill()
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    monkeypatch.setattr(output, "PATIENCE", 0.0)
    monkeypatch.setattr(BackgroundStream.end, "__defaults__", (0.0,))

    def fail() -> None:
        raise ZeroDivisionError

    with unblocked_stderr():
        handler = logging.StreamHandler()
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
        sys.excepthook(ZeroDivisionError, ZeroDivisionError("a traceback"), None)
        sys.stderr.write("a warning\n")
        with unblocked(sys.stderr) as same:
            assert same is sys.stderr
    assert sys.stderr is pipe.stream
    pipe.empty(size)
    text = pipe.read_until("a warning\n")
    assert "a line\n" in text
    assert "a traceback\n" in text
