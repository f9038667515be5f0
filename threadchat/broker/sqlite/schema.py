"""The database file: who may have it, what it looks like inside, and why it cannot be opened."""

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
"""Tells this program's files from others'; kept in the file as `application_id`."""
PATIENCE: Final = 5.0
"""Seconds for which other programs, such as one that makes a backup, may hold up a commit."""

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
)
"""What each version of the schema added to the one before it: a file of an older one gets the rest."""
SCHEMA: Final = len(_STEPS)
"""What this version reads and writes; kept in the file as `user_version`."""


class Ownership:
    """One process has the file: SQLite would let several write, but each numbers a room's events by itself.

    A lock on a file beside it, which the system lets go of when the process ends, however that happens. The
    file stays: were it deleted, two processes could each lock one of that name.
    """

    def __init__(self, path: Path) -> None:
        """Raises BrokerError where another process has it."""
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
                f"{path} is in use by process {owner or 'unknown'}; one process has it at a time, "
                "and redis://... is the broker for several"
            ) from None
        with contextlib.suppress(OSError):  # the number is for people; a full disk may have no room for it
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets another process have the file."""
        os.close(self._descriptor)


def prepare(path: Path) -> dict[str, Any]:
    """Makes the file where there is none, and the tables that it lacks; returns what is beside rooms.

    Raises BrokerError for a file that is no database, not this program's, newer, or not to be written.
    """
    with contextlib.suppress(FileExistsError), explained(path):
        # It holds the key that signs resume tokens; SQLite gives the files beside it the same mode.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with explained(path), contextlib.closing(connect(path)) as database:
        _check(path, database)
        if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise BrokerError(f"{path} lies on a file system without shared memory; use a local disk")
        with transaction(database):
            version = database.execute("PRAGMA user_version").fetchone()[0]
            for statement in ";".join(_STEPS[version:]).split(";"):
                database.execute(statement)
            # Written every time, so that what cannot be written is found out here.
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            for name, value in (("resume_key", secrets.token_bytes(32)), ("next_user", 1)):
                database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        return dict(database.execute("SELECT name, value FROM meta"))


def check_process(path: Path, opener: int) -> None:
    """Raises CommandError 100 in a process that forked from the one that opened the file, `opener`."""
    if opener != os.getpid():
        raise CommandError(
            ErrorCode.INTERNAL,
            f"{path} was opened in process {opener}, before this one forked from it; "
            "open it in the process that uses it",
            temporary=False,
        )


def newest_room(database: sqlite3.Connection) -> int:
    """The highest number that a room's row ever had; 0 where there was none. Raises sqlite3.Error."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rooms'").fetchone()
    return int(found[0]) if found else 0


def connect(path: Path, *, reading: bool = False) -> sqlite3.Connection:
    """A connection that any one thread at a time may use. Raises sqlite3.Error."""
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA query_only = 1" if reading else "PRAGMA synchronous = FULL")
    except sqlite3.Error:
        database.close()  # Python 3.13 warns of one that is left to the garbage collector
        raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of the block, or nothing of it: what it raises, a failing COMMIT included, undoes it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some errors have undone it already
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite or the system says about a file into one sentence, a BrokerError."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise BrokerError(f"{path} cannot be opened: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BrokerError(f"{path} {_why(path, error)}") from error


def _check(path: Path, database: sqlite3.Connection) -> None:
    """Looks before anything is written."""
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
