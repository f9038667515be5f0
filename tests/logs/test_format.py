"""Covers threadchat/logs/format.py: one line an event, whatever is logged, for people and as JSON."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.wire.helpers import Served
from threadchat.logs.format import AsJson, configure_logging

log = logging.getLogger("threadchat.x")


@pytest.fixture(autouse=True)
def same_logging_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("nickname %s", "a\r\nINFO fake\x1b[2J\x00\x85\u2028é")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert r" ERROR threadchat.x: nickname a\r\nINFO fake\x1b[2J\x00\x85\u2028é\nTraceback" in err
    assert r"ValueError: first\nsecond" in err


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("level", "logged"), [("debug", 5), ("info", 4), ("warning", 3), ("critical", 1)])
def test_the_log_level_holds(level: str, logged: int, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level, form)
    for severity in (10, 20, 30, 40, 50):
        log.log(severity, "event")
    assert len(capsys.readouterr().err.splitlines()) == logged


# -- JSON ----------------------------------------------------------------------------------------------


class Label:
    """What JSON needs of a connection that it looks up."""

    def __init__(self, number: int, label: str) -> None:
        self.number = number
        self.label = label


def logged(act: Callable[[], object], *connections: Any) -> dict[str, Any]:
    """The line that becomes of what `act` logs."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.setFormatter(AsJson(lambda: connections))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False  # pytest's own handlers fail on purpose where a line cannot be made
    try:
        act()
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        log.propagate = True
    [line] = lines
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, Any] = json.loads(line)
    return found


def on_thread(name: str, act: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        thread = threading.Thread(target=act, name=name, daemon=True)
        thread.start()
        thread.join()

    return run


def test_a_line_tells_when_where_and_what() -> None:
    before = datetime.now(UTC)
    line = logged(lambda: log.warning("room %s\nis full", "lobby\x1b é"))
    assert list(line) == ["time", "level", "logger", "message", "thread"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs((datetime.fromisoformat(line["time"]) - before).total_seconds()) < 60
    assert (line["level"], line["logger"]) == ("warning", "threadchat.x")
    assert (line["message"], line["thread"]) == ("room lobby\x1b é\nis full", "MainThread")


@pytest.mark.parametrize(
    ("label", "user"), [("user 3 'ann (x)'", 3), ("user -4", -4), ("nobody", None), ("", None)]
)
def test_an_event_that_names_a_connection(label: str, user: int | None) -> None:
    line = logged(lambda: log.info("connection %d (%s) closed: %s", 17, label, "3008 slow"))
    assert line["connection"] == 17
    assert line.get("user") == user
    assert ("user" in line) == (user is not None)
    assert line["message"] == f"connection 17 ({label}) closed: 3008 slow"


def test_an_event_that_names_a_number_only_is_looked_up() -> None:
    line = logged(
        lambda: log.error("connection %d: on_pong failed", 17), Label(3, "user 9"), Label(17, "user 5 'eve'")
    )
    assert (line["connection"], line["user"]) == (17, 5)


def test_an_event_that_shows_a_connection() -> None:
    with Served() as served:
        served.connection.label = "user 6 'bob'"
        line = logged(lambda: log.warning("%r did not end in time", served.connection))
    assert (line["connection"], line["user"]) == (7, 6)
    assert "<Connection 7 user 6 'bob'" in line["message"]


@pytest.mark.parametrize("name", ["reader-17", "writer-17", "http-17", "handler-17", "producer-17-lobby\n1"])
def test_an_event_on_a_connections_thread(name: str) -> None:
    line = logged(on_thread(name, lambda: log.error("a hook failed")), Label(17, "user 5 'eve'"))
    assert (line["connection"], line["user"], line["thread"]) == (17, 5, name)
    assert "connection" in logged(on_thread(name, lambda: log.error("nobody is known")))


@pytest.mark.parametrize("name", ["pinger", "accept-8080", "redis-heartbeat", "writer-x"])
def test_an_event_on_another_thread(name: str) -> None:
    assert "connection" not in logged(on_thread(name, lambda: log.error("odd")), Label(8080, "user 5"))


def test_what_a_peer_says_is_not_taken_for_a_connection() -> None:
    line = logged(lambda: log.info("%s", "connection 9 (user 1) closed"), Label(9, "user 1"))
    assert "connection" not in line
    assert "user" not in line


def test_an_exception_is_a_text() -> None:
    def fail() -> None:
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            log.exception("connection %d (%s) failed", 4, "user 2")

    line = logged(fail)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: first\nsecond")
    assert (line["connection"], line["user"]) == (4, 2)


def test_no_exception_though_one_was_asked_for() -> None:
    assert "exception" not in logged(lambda: log.error("odd", exc_info=True))
    assert "test_logs.py" in logged(lambda: log.error("odd", stack_info=True))["exception"]


class Unspeakable:
    """Cannot be shown in any way."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments", "start"),
    [
        ("%d people", ("many",), "%d people (its arguments cannot be formatted"),
        ("%s and %s", ("one",), "%s and %s (its arguments cannot be formatted"),
        ("connection %d", (), "connection %d"),
        ("connection %d (%s)", ("x", "y"), "connection %d (%s) (its arguments cannot be formatted"),
        ("connection %d (%s)", (True,), "connection %d (%s) (its arguments cannot be formatted"),
        ("%(name)s", ({"name": "ann"},), "ann"),
        ("%r", (Unspeakable(),), "%r (its arguments cannot be formatted"),
        (Unspeakable(), (), "Unspeakable (its arguments cannot be formatted"),
        (ValueError("odd"), (), "odd"),
        ("\ud800", (), "\ud800"),
    ],
)
def test_whatever_is_logged_becomes_a_line(message: Any, arguments: tuple[Any, ...], start: str) -> None:
    assert logged(lambda: log.error(message, *arguments))["message"].startswith(start)


def test_a_record_of_somebody_elses_making() -> None:
    record = logging.makeLogRecord({"msg": "odd", "args": None, "threadName": None})
    assert json.loads(AsJson().format(record))["message"] == "odd"
    failing = logging.makeLogRecord({"msg": "x", "exc_info": (None, None, None)})
    assert "exception" not in json.loads(AsJson().format(failing))


def test_json_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", lambda: [Label(17, "user 5")])  # type: ignore[list-item]
    on_thread("reader-17", lambda: log.info("hi"))()
    assert json.loads(capsys.readouterr().err)["user"] == 5
