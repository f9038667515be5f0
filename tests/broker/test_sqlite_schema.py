"""The file of `broker/sqlite/`: who may have it, and what is said about one that cannot be had."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.broker.brokers import opened
from tests.chat.helpers import say
from threadchat.broker.sqlite import SqliteBroker
from threadchat.broker.sqlite.schema import SCHEMA
from threadchat.errors import BrokerError

NOBODY = 65_534


def complaint(path: Path) -> str:
    with pytest.raises(BrokerError) as caught:
        SqliteBroker(path)
    return str(caught.value)


def change(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def test_a_file_that_is_not_there_is_made_for_its_owner_only(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "a b?c=%20.db")
    opened(broker).put(*say("a"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    broker.close()
    assert set(modes.values()) == {0o600}, modes
    assert {"a b?c=%20.db", "a b?c=%20.db-wal"} <= set(modes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b?c=%20.db", "a b?c=%20.db-lock"]


def test_an_empty_file_and_the_name_of_memory_are_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty.db", ":memory:"):
        Path(name).touch()
        SqliteBroker(name).close()
        assert Path(name).stat().st_size > 0


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "chat.db")
    database = broker.writer.database
    asked = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    broker.close()
    assert asked == [2, "wal"]


def test_one_process_has_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    broker = SqliteBroker(path)
    assert complaint(path) == (
        f"{path} is in use by process {os.getpid()}; only one process at a time can use it, "
        "and redis://... is the broker for several"
    )
    broker.close()
    SqliteBroker(path).close()


def test_a_refused_file_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("something else")
    complaint(path)
    path.unlink()
    SqliteBroker(path).close()


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    SqliteBroker(path).close()
    change(path, f"PRAGMA user_version = {SCHEMA + 1}")
    before = path.read_bytes()
    assert complaint(path) == (
        f"{path} was written by a newer threadchat: its schema is {SCHEMA + 1}, and this one knows {SCHEMA}"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE users (id)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
def test_the_database_of_another_program(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "chat.db"
    change(path, statement)
    before = path.read_bytes()
    assert complaint(path) == f"{path} is the database of another program"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("to do: " * 1000)
    assert complaint(path) == f"{path} is no SQLite database"
    assert path.read_text() == "to do: " * 1000


def test_folders(tmp_path: Path) -> None:
    assert complaint(tmp_path) == f"{tmp_path} is a folder, not a file"
    missing = tmp_path / "no" / "chat.db"
    assert complaint(missing) == f"{missing} cannot be opened: there is no folder {missing.parent}"


def test_another_program_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.db"
    SqliteBroker(path).close()
    monkeypatch.setattr("threadchat.broker.sqlite.schema.PATIENCE", 0.0)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert complaint(path) == f"{path} is locked by another program"


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "reason"),
    [
        (0o444, 0o777, "chat.db is read-only; the broker has to write to it and to its folder"),
        (0o666, 0o555, "chat.db-lock cannot be written: Permission denied"),
        (0o000, 0o777, "chat.db cannot be opened: unable to open database file"),
    ],
)
def test_what_may_not_be_written(file_mode: int, folder_mode: int, reason: str) -> None:
    # Not in tmp_path, which only its owner may enter; and root may write everywhere.
    folder = Path(tempfile.mkdtemp())
    path = folder / "chat.db"
    try:
        SqliteBroker(path).close()
        (folder / "chat.db-lock").unlink()
        path.chmod(file_mode)
        folder.chmod(folder_mode)
        script = (
            "import os, sys\n"
            "from threadchat.broker.sqlite import SqliteBroker\n"
            f"if os.geteuid() == 0: os.setuid({NOBODY})\n"
            "try: SqliteBroker(sys.argv[1])\n"
            "except Exception as error: print(type(error).__name__, error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.stdout, done.stderr) == (f"BrokerError {folder}/{reason}\n", "")
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
