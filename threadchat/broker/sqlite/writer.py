"""The only thread that writes to the database: takes what waits, commits it together, then answers."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from threadchat.broker.sqlite.schema import check_process, connect, transaction
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

PLACES: Final = 1024
"""Works that may wait; each has a thread that waits for it. Full, newcomers wait, then are refused (111)."""
TOGETHER: Final = 256
"""Works in one commit: enough for what comes in while the one before is written."""
PATIENCE: Final = 3.0
"""Seconds for which a newcomer waits for a place."""
SWEEP_INTERVAL: Final = 60.0
"""Seconds between two looks at what nobody writes to but time."""
SWEEP_SLICE: Final = 0.01
"""Seconds of one look after which those who wait come first."""


class Work(ABC):
    """Something to be written. The thread that hands it in waits until it is `settled`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.settled = threading.Event()

    @abstractmethod
    def apply(self, database: sqlite3.Connection) -> None:
        """Writes. What it raises beside sqlite3.Error is its own; nothing may be written then."""

    def committed(self) -> None:  # noqa: B027
        """Told once what `apply` wrote is on the disk."""

    def undone(self) -> None:  # noqa: B027
        """Told that what `apply` wrote is not there."""


class Writer:
    """Runs works in the order in which they came.

    A commit that fails fails all of its works, with a temporary error: they may be tried again.
    """

    def __init__(
        self,
        path: Path,
        sweep: Callable[[sqlite3.Connection], Iterator[None]],
        checkpoint: Callable[[sqlite3.Connection], None],
        *,
        patience: float = PATIENCE,
        sweep_interval: float = SWEEP_INTERVAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`sweep` is called now and then; its steps run in transactions between those of the works.

        `checkpoint` is called after each transaction.
        """
        self._path = path
        self._sweep = sweep
        self._checkpoint = checkpoint
        self._patience = patience
        self._sweep_interval = sweep_interval
        self._clock = clock
        self._sweep_at = clock()
        self._steps: Iterator[None] | None = None  # of a sweep that is under way
        self._places = threading.BoundedSemaphore(PLACES)  # what bounds `_works`
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        # Guards `_closed`; works are put under it, so that none comes behind the end.
        self._closing = threading.Lock()
        self._closed = False
        self._thread = LateThread("sqlite-writer", self.run)
        self._process = os.getpid()
        self._failing = False  # the last commit failed; known to the writer only
        self.database = connect(path)
        """The writer's; before its thread starts, its owner's."""

    def do(self, work: Work) -> None:
        """Returns once `work` is on the disk. Runs on: any thread but the writer's.

        Raises what `apply` raised, CommandError 100 where nothing can be written just now, 111 where too
        many wait, and RoomClosed once the broker is closed.
        """
        self.check_process()
        if not self._places.acquire(timeout=self._patience):
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, "too many messages wait for the disk")
        try:
            with self._closing:
                if self._closed:
                    raise RoomClosed("the broker is closed")
                self._thread.start()
                self._works.put(work)
            work.settled.wait()
        finally:
            self._places.release()
        if work.error is not None:
            raise work.error

    def check_process(self) -> None:
        """Raises CommandError 100 in a forked process: what SQLite keeps in memory is not its own."""
        check_process(self._path, self._process)

    def close(self, last: Work) -> None:
        """Writes what waits, then `last`, then closes the database; whoever comes later is refused."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._works.put(last)
            self._works.put(None)
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):  # a full disk; the next start tidies up
            self.database.close()

    def run(self) -> None:
        """Commits until closed. Runs on: the writer's thread."""
        closing = False
        while not closing:
            works, closing = self._take()
            if works:
                self.commit(works)
            if not closing and self._clock() >= self._sweep_at:
                self.sweep()
            self.checkpoint()

    def commit(self, works: Sequence[Work]) -> None:
        """Writes some works, together, and settles them. Runs on: the writer's thread."""
        try:
            with transaction(self.database):
                for work in works:
                    _apply(work, self.database)
        except Exception as error:
            self._note_failure(error)
            for work in works:
                work.undone()
                work.error = CommandError(ErrorCode.INTERNAL, f"nothing can be written just now: {error}")
        else:
            self._note_success()
            for work in works:
                if work.error is None:
                    _tell_committed(work)
        finally:
            for work in works:
                work.settled.set()

    def sweep(self) -> bool:
        """Drops what became too old, for `SWEEP_SLICE`; True where more is left.

        Runs on: the writer's thread.
        """
        until = self._clock() + SWEEP_SLICE
        try:
            with transaction(self.database):
                self._steps = self._steps or self._sweep(self.database)
                for _ in self._steps:
                    if self._clock() >= until:
                        break
                else:
                    self._steps = None
        except Exception as error:
            self._steps = None
            log.warning("%s: what is too old could not be dropped: %s", self._path, error)
        if self._steps is None:
            self._sweep_at = self._clock() + self._sweep_interval
        return self._steps is not None

    def checkpoint(self) -> None:
        """Keeps the write-ahead log short. Runs on: the writer's thread."""
        try:
            self._checkpoint(self.database)
        except sqlite3.Error as error:
            log.warning("%s: its write-ahead log could not be emptied: %s", self._path, error)

    def _take(self) -> tuple[list[Work], bool]:
        """What waits, after a wait for the first of it, and whether the end has come."""
        works: list[Work] = []
        with contextlib.suppress(queue.Empty):
            timeout = max(0.0, self._sweep_at - self._clock())
            work = self._works.get(timeout=timeout)
            while work is not None:
                works.append(work)
                if len(works) == TOGETHER:
                    return works, False
                work = self._works.get_nowait()
            return works, True
        return works, False

    def _note_failure(self, error: Exception) -> None:
        if not isinstance(error, sqlite3.Error):
            log.error("%s: a commit failed", self._path, exc_info=error)
        elif not self._failing:
            log.error("%s: nothing can be written, publishing is refused: %s", self._path, error)
        self._failing = True

    def _note_success(self) -> None:
        if self._failing:
            log.info("%s: can be written again", self._path)
        self._failing = False


def _apply(work: Work, database: sqlite3.Connection) -> None:
    try:
        work.apply(database)
    except sqlite3.Error:
        raise
    except Exception as error:
        work.error = error


def _tell_committed(work: Work) -> None:
    try:
        work.committed()
    except Exception:  # a listener's mistake, where the writer hands on; what is written is written
        log.exception("what was committed could not be handed on")
