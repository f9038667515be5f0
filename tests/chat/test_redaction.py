"""What `redact` removes from an event log, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from threadchat import Room
from threadchat.chat.eventlog.json_lines import JsonLines
from threadchat.chat.eventlog.redaction import redact
from threadchat.chat.log.events import DELETE, MESSAGE, Draft, Position, record
from threadchat.cli.main import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


def said(offset: int, text: str = "secret", room: str = "r") -> bytes:
    return record(Draft(MESSAGE, 7, "ann", text), offset, room, 1000).json + b"\n"


def deleted(offset: int, target: int, room: str = "r") -> bytes:
    return record(Draft(DELETE, 1, "m", target=Position(target, "e")), offset, room, 1001).json + b"\n"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(path: Path) -> list[str | None]:
    return [line.get("message") for line in read(path)]


def test_the_text_is_gone_and_everything_else_stays(path: Path) -> None:
    path.write_bytes(said(1, "a") + said(2) + said(3, "b") + deleted(4, 2))
    size = path.stat().st_size
    assert redact([path]) == (1, 1)
    assert texts(path) == ["a", None, "b", None]
    assert read(path)[1] == {
        "id": 2,
        "chatroomId": "r",
        "type": "message",
        "userId": 7,
        "from": "ann",
        "unixTime": 1000,
        "deleted": True,
    }
    assert path.stat().st_size == size
    assert redact([path]) == (0, 0)


@pytest.mark.parametrize("text", ["x", "é", "\n", "\x7f" * 3, "y" * 100_000])
def test_a_text_of_any_length_fits(path: Path, text: str) -> None:
    path.write_bytes(said(1, text) + deleted(2, 1))
    assert redact([path]).messages == 1
    assert texts(path) == [None, None]


def test_only_the_message_in_that_room_and_that_log_is_meant(path: Path) -> None:
    path.write_bytes(
        said(1, "before the room began anew")
        + said(2, "before")
        + said(1, "secret")
        + said(1, "elsewhere", room="s")
        + deleted(2, 1)
        + said(1, "a third log")
    )
    redact([path])
    assert texts(path) == ["before the room began anew", "before", None, "elsewhere", None, "a third log"]


def test_the_deletion_may_be_in_a_later_file(path: Path) -> None:
    first = path.with_name("events.log.20260101T000000Z")
    second = path.with_name("events.log.20260101T000000Z-001")
    first.write_bytes(said(1) + said(2, "kept"))
    second.write_bytes(said(3))
    path.write_bytes(deleted(4, 1) + deleted(5, 3))
    assert redact([path]) == (2, 2)
    assert (texts(first), texts(second)) == ([None, "kept"], [None])


def test_files_of_another_name_are_given_oldest_first(path: Path) -> None:
    older = path.with_name("events.log.1")
    older.write_bytes(said(1))
    path.write_bytes(deleted(2, 1))
    assert redact([older, path]) == (1, 1)


def test_incomplete_lines_and_other_lines_are_left_alone(path: Path) -> None:
    torn = b'{"id":1,"chatroomId":"r","type":"mess\n'
    rest = b'{"id":5,"chatroomId":"r","type":"message","message":"half'
    path.write_bytes(torn + b"\n" + b"[1]\n" + said(1) + deleted(2, 1) + rest)
    before = path.read_bytes()
    assert redact([path]).messages == 1
    after = path.read_bytes()
    assert (after.startswith(torn + b"\n[1]\n"), after.endswith(rest)) == (True, True)
    assert len(after) == len(before)


def test_what_a_room_writes_is_found(path: Path) -> None:
    room = Room("r")
    listener = room.attach_listener(JsonLines(path))
    position = room.message("ann", "secret")
    assert position is not None
    room.publish([Draft(DELETE, "ann", target=position)])
    room.close()
    listener.thread.join()
    assert b"secret" in path.read_bytes()
    redact([path])
    assert b"secret" not in path.read_bytes()
    assert [line["type"] for line in read(path)] == ["message", "delete", "close"]


def test_a_server_may_go_on_writing_meanwhile(path: Path) -> None:
    room = Room("r")
    lines = JsonLines(path)
    listener = room.attach_listener(lines)
    position = room.message("ann", "secret")
    assert position is not None
    room.publish([Draft(DELETE, "ann", target=position)])
    while path.read_bytes().count(b"\n") < 2:
        pass
    redact([path])
    room.message("ann", "after")
    room.close()
    listener.thread.join()
    assert texts(path) == [None, None, "after", None]


# -- the command -------------------------------------------------------------------------------------


def test_the_command_says_what_it_did(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(said(1) + deleted(2, 1))
    assert main(["redact", str(path)]) == 0
    assert capsys.readouterr().out == "removed the text of 1 messages in 1 files\n"


def test_the_command_knows_the_log_from_the_settings(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redact"]) == 2
    assert "name the event log" in capsys.readouterr().err
    path.write_bytes(said(1) + deleted(2, 1))
    monkeypatch.setenv("THREADCHAT_EVENT_LOG", str(path))
    assert main(["redact"]) == 0
    assert b"secret" not in path.read_bytes()


def test_the_command_names_a_file_that_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redact", str(tmp_path / "none.log")]) == 1
    assert "none.log: No such file" in capsys.readouterr().err
    config = tmp_path / "bad.toml"
    config.write_text("nonsense = 1")
    assert main(["redact", "--config", str(config), "x"]) == 2
