"""A log that somebody overfills costs no disk: lines are rationed in all, and a shortage is one line."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator

import pytest

from tests.abuse.doors import UPGRADE, head, port_of
from tests.wire.helpers import short_of_threads
from threadchat import Chat, Config
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.logs.volume import BURST, RATE, RESERVE, BoundedHandler
from threadchat.testing import FakeClock

LINE = "x" * 999


class Log:
    """A log of its own, with a clock of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stream = io.StringIO()
        self.log = logging.Logger("flood")
        self.log.addHandler(BoundedHandler(self.stream, clock=self.clock))

    def fill(self, level: int = logging.INFO, lines: int = 2 * BURST // 1000) -> int:
        """Bytes that the log grew by."""
        before = self.stream.tell()
        for _ in range(lines):
            self.log.log(level, LINE)
        return self.stream.tell() - before


def test_the_log_grows_by_so_much_and_no_more() -> None:
    log = Log()
    assert BURST - RESERVE - 1000 < log.fill() <= BURST - RESERVE
    assert log.fill() == 0
    assert RESERVE - 1000 < log.fill(logging.ERROR) <= RESERVE + 1000
    log.clock.advance(86_400)
    day = log.fill() + log.fill(logging.ERROR)
    assert day <= BURST + 1000  # not what a day without a flood has saved


def test_what_was_left_out_is_told_with_the_next_line() -> None:
    log = Log()
    lines = 2 * BURST // 1000
    left_out = lines - log.fill(lines=lines) // 1000
    log.clock.advance(1001 / RATE)
    log.log.info("back")
    told = log.stream.getvalue().splitlines()[-2:]
    assert told == [f"{left_out} lines were left out here: the log has grown too fast", "back"]


def test_who_asks_for_debugging_gets_it() -> None:
    log = Log()
    log.fill()
    log.fill(logging.DEBUG, lines=10)
    assert log.stream.getvalue().endswith(f"{LINE}\n" * 10)


def test_a_shortage_of_threads_is_one_line() -> None:
    log = Log()
    try:
        raise RuntimeError("can't start new thread")
    except RuntimeError:
        log.log.exception("connection %d: a message failed", 7)
    told = log.stream.getvalue()
    assert told == "connection 7: a message failed (the system has no more threads)\n"


def test_every_other_failure_has_its_traceback() -> None:
    log = Log()
    try:
        raise RuntimeError("something else")
    except RuntimeError:
        log.log.exception("failed")
    assert "Traceback" in log.stream.getvalue()


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(port=0)) as chat:
        chat.listen()
        yield chat


@pytest.mark.parametrize("name", ["writer-", "http-"])
def test_a_connection_that_gets_no_thread_is_one_line(
    chat: Chat, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with short_of_threads(name) as failed:
        with socket.create_connection(("127.0.0.1", port_of(chat)), timeout=10) as sock:
            sock.sendall(head("GET", "/chat", *UPGRADE))
            while True:
                try:
                    if not sock.recv(4096):
                        break
                except ConnectionResetError:
                    break
        assert failed
    with socket.create_connection(("127.0.0.1", port_of(chat)), timeout=10) as sock:
        sock.sendall(head("GET", "/chat", *UPGRADE))
        assert b" 101 " in sock.recv(4096)
    chat.close()  # every thread has ended, and has logged what it had to
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is None
    assert "can't start new thread" in record.getMessage()


def test_a_ration_makes_one_line_of_it_too() -> None:
    record = logging.LogRecord("a", logging.ERROR, "a", 1, "failed", (), None)
    error = RuntimeError("can't start new thread")
    record.exc_info = (RuntimeError, error, None)
    assert LogRateLimit().filter(record)
    assert (record.exc_info, record.getMessage()) == (None, "failed (the system has no more threads)")
