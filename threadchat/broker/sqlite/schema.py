"""The database file: which process may use it, its schema, and why it cannot be opened."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from threadchat.errors import BrokerError, CommandError, ErrorCode

APPLICATION: Final = 0x74686368
"""Distinguishes this program's files from others. Stored in the file as `application_id`."""
PATIENCE: Final = 5.0
"""Seconds for which other programs, for example a backup, may block a commit."""

_STEPS: Final = (
    """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, epoch TEXT NOT NULL, head INTEGER NOT NULL,
    spoke_at INTEGER NOT NULL, closed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX rooms_by_name ON rooms (name);
CREATE TABLE events (
    room INTEGER NOT NULL, offset INTEGER NOT NULL, time INTEGER NOT NULL, json BLOB NOT NULL,
    PRIMARY KEY (room, offset)
) WITHOUT ROWID;
CREATE TABLE keys (
    room INTEGER NOT NULL, name BLOB NOT NULL, offset INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (room, name)
) WITHOUT ROWID;
""",
    """
CREATE TABLE sanctions (
    kind TEXT NOT NULL, subject NOT NULL, room TEXT NOT NULL, until INTEGER, reason TEXT NOT NULL, imposer,
    PRIMARY KEY (kind, subject, room)
) WITHOUT ROWID;
""",
    """
CREATE TABLE reads (
    user TEXT NOT NULL, room TEXT NOT NULL, epoch TEXT NOT NULL, offset INTEGER NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;
""",
    """
CREATE TABLE revocations (
    kind TEXT NOT NULL, subject NOT NULL, room TEXT NOT NULL, until INTEGER, reason TEXT NOT NULL, imposer,
    since REAL NOT NULL,
    PRIMARY KEY (kind, subject, room)
) WITHOUT ROWID;
CREATE TABLE blocks (owner NOT NULL, sender NOT NULL, PRIMARY KEY (owner, sender)) WITHOUT ROWID;
""",
)
"""What each version of the schema adds to the one before it. An older file gets the missing steps."""
SCHEMA: Final = len(_STEPS)
"""The version that this program reads and writes. Stored in the file as `user_version`."""


class Ownership:
    """Lets only one process use the file.

    SQLite would let several write, but each would number a room's events by itself. It is a lock on a file
    beside the database, which the system releases whenever the process ends. The lock file is not deleted,
    because otherwise two processes could each lock a different file of that name.
    """

    def __init__(self, path: Path) -> None:
        """Raises BrokerError if another process has the file."""
        if not path.parent.is_dir():
            raise BrokerError(f"{path} cannot be opened: there is no folder {path.parent}")
        beside = path.with_name(path.name + "-lock")
        try:
            self._descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BrokerError(f"{beside} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._descriptor, 20).decode(errors="replace").strip()
            self.release()
            if not isinstance(error, BlockingIOError):
                raise BrokerError(f"{beside} cannot be locked: {error.strerror}") from None
            raise BrokerError(
                f"{path} is in use by process {owner or 'unknown'}; only one process at a time can use it, "
                "and redis://... is the broker for several"
            ) from None
        with contextlib.suppress(OSError):  # the number is only for people; the disk may be full
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets another process use the file."""
        os.close(self._descriptor)


def prepare(path: Path) -> dict[str, Any]:
    """Creates the file and the tables that it lacks. Returns the content of the `meta` table.

    Raises BrokerError if the file is no database, belongs to another program, has a newer schema, or cannot
    be written.
    """
    with contextlib.suppress(FileExistsError), explained(path):
        # The file holds the key that signs resume tokens. SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with explained(path), contextlib.closing(connect(path)) as database:
        _check(path, database)
        if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise BrokerError(f"{path} is on a file system without shared memory; use a local disk")
        with transaction(database):
            version = database.execute("PRAGMA user_version").fetchone()[0]
            for statement in ";".join(_STEPS[version:]).split(";"):
                database.execute(statement)
            # Written every time, so that a file that cannot be written fails here.
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            for name, value in (("resume_key", secrets.token_bytes(32)), ("next_user", 1)):
                database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        return dict(database.execute("SELECT name, value FROM meta"))


def check_process(path: Path, opener: int) -> None:
    """Raises CommandError 100 in a process that was forked from `opener`, which opened the file."""
    if opener != os.getpid():
        raise CommandError(
            ErrorCode.INTERNAL,
            f"{path} was opened in process {opener}, before this one forked from it; "
            "open it in the process that uses it",
            temporary=False,
        )


def newest_room(database: sqlite3.Connection) -> int:
    """The highest id that a room's row ever had; 0 if there was none. Raises sqlite3.Error."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rooms'").fetchone()
    return int(found[0]) if found else 0


def connect(path: Path, *, reading: bool = False) -> sqlite3.Connection:
    """A connection that one thread at a time may use. Raises sqlite3.Error."""
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        if reading:
            database.execute("PRAGMA query_only = 1")
        else:
            database.execute("PRAGMA synchronous = FULL")
            # Deleted text is overwritten. Some builds of SQLite do so by default, others do not.
            database.execute("PRAGMA secure_delete = 1")
    except sqlite3.Error:
        database.close()  # Python 3.13 warns if the garbage collector closes it
        raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Runs the block in a transaction. Any exception, including one of COMMIT, rolls it back."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some errors have rolled it back already
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns an error of SQLite or of the system into a BrokerError with one sentence."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise BrokerError(f"{path} cannot be opened: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BrokerError(f"{path} {_why(path, error)}") from error


def _check(path: Path, database: sqlite3.Connection) -> None:
    """Checks the file before anything is written."""
    version, application, tables = (
        database.execute(question).fetchone()[0]
        for question in (
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT count(*) FROM sqlite_schema",
        )
    )
    if application != APPLICATION and (application or version or tables):
        raise BrokerError(f"{path} is the database of another program")
    if version > SCHEMA:
        raise BrokerError(
            f"{path} was written by a newer threadchat: its schema is {version}, and this one knows {SCHEMA}"
        )


def _why(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_NOTADB":
        return "is no SQLite database"
    if name.startswith("SQLITE_READONLY"):
        return "is read-only; the broker has to write to it and to its folder"
    if name == "SQLITE_FULL":
        return "cannot be opened: the disk is full"
    if name == "SQLITE_BUSY":
        return "is locked by another program"
    if path.is_dir():
        return "is a folder, not a file"
    return f"cannot be opened: {error}"
