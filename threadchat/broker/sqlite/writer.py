"""The only thread that writes to the database: it commits all waiting works together, then answers."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from threadchat.broker.sqlite.schema import check_process, connect, transaction
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

PLACES: Final = 1024
"""The maximum number of waiting works. Each has a thread that waits for it. Above it, callers wait and are
then refused (111).
"""
TOGETHER: Final = 256
"""The maximum number of works in one commit: enough for those that arrive during the commit before."""
PATIENCE: Final = 3.0
"""Seconds for which a caller waits for a place."""
SWEEP_INTERVAL: Final = 60.0
"""Seconds between two sweeps, which drop what has become too old."""
SWEEP_SLICE: Final = 0.01
"""Seconds after which a sweep gives way to waiting works."""


class Work(ABC):
    """Something to write. The thread that hands it in waits until it is `settled`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.settled = threading.Event()

    @abstractmethod
    def apply(self, database: sqlite3.Connection) -> None:
        """Writes to the database.

        If it raises anything but sqlite3.Error, only this work fails, and it must have written nothing.
        """

    def committed(self) -> None:  # noqa: B027
        """Called once what `apply` wrote is on the disk."""

    def undone(self) -> None:  # noqa: B027
        """Called if what `apply` wrote was rolled back."""


class Writer:
    """Runs works in the order in which they arrive.

    If a commit fails, all of its works fail with a temporary error, and can be tried again.
    """

    def __init__(
        self,
        path: Path,
        sweep: Callable[[sqlite3.Connection], Iterator[None]],
        *upkeep: Callable[[sqlite3.Connection], float],
        patience: float = PATIENCE,
        sweep_interval: float = SWEEP_INTERVAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`sweep` is called now and then. Its steps run in transactions between those of the works.

        Each `upkeep` is called after each transaction. It returns the seconds after which it must be called
        again, even if nothing happens.
        """
        self._path = path
        self._sweep = sweep
        self._upkeep = upkeep
        self._upkeep_in = inf  # seconds until the next call of one of them
        self._patience = patience
        self._sweep_interval = sweep_interval
        self._clock = clock
        self._sweep_at = clock()
        self._steps: Iterator[None] | None = None  # of the current sweep
        self._places = threading.BoundedSemaphore(PLACES)  # limits `_works`
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        # Guards `_closed`. Works are put under it, so that none comes after the end.
        self._closing = threading.Lock()
        self._closed = False
        self._thread = LateThread("sqlite-writer", self.run)
        self._process = os.getpid()
        self._failing = False  # the last commit failed; only the writer uses it
        self.database = connect(path)
        """Belongs to the writer's thread, and to the owner before that starts."""

    def do(self, work: Work) -> None:
        """Returns once `work` is on the disk. Runs on: any thread but the writer's.

        Raises what `apply` raised, CommandError 100 if nothing can be written at the moment, 111 if too many
        works are waiting, and RoomClosed once the broker is closed.
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

    def post(self, work: Work) -> None:
        """Hands in a work that nobody waits for. The caller has one waiting at a time.

        Once the broker is closed, does nothing. Runs on: any thread.
        """
        self.check_process()
        with self._closing:
            if not self._closed:
                self._thread.start()
                self._works.put(work)

    def check_process(self) -> None:
        """Raises CommandError 100 in a forked process, which must not use SQLite's state of its parent."""
        check_process(self._path, self._process)

    def close(self, last: Work) -> None:
        """Writes what is waiting, then `last`, then closes the database. Later callers are refused."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._works.put(last)
            self._works.put(None)
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):  # for example a full disk; the next start cleans up
            self.database.close()

    def run(self) -> None:
        """Commits works until closed. Runs on: the writer's thread."""
        closing = False
        while not closing:
            works, closing = self._take()
            if works:
                self.commit(works)
            if not closing and self._clock() >= self._sweep_at:
                self.sweep()
            self.tend()

    def commit(self, works: Sequence[Work]) -> None:
        """Writes some works together and settles them. Runs on: the writer's thread."""
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
        """Drops what has become too old, for `SWEEP_SLICE` seconds. Returns whether there is more to drop.

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
            log.warning("%s: old data could not be dropped: %s", self._path, error)
        if self._steps is None:
            self._sweep_at = self._clock() + self._sweep_interval
        return self._steps is not None

    def tend(self) -> None:
        """Keeps the files within their limits. Runs on: the writer's thread."""
        self._upkeep_in = inf
        for upkeep in self._upkeep:
            try:
                self._upkeep_in = min(self._upkeep_in, upkeep(self.database))
            except Exception as error:
                log.warning("%s: cannot be kept within its limits: %s", self._path, error)

    def _take(self) -> tuple[list[Work], bool]:
        """Waits for works and takes all of them. Also returns whether the end has come."""
        works: list[Work] = []
        with contextlib.suppress(queue.Empty):
            timeout = max(0.0, min(self._upkeep_in, self._sweep_at - self._clock()))
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
    except Exception:  # raised by an outlet if the writer hands on; the work is committed anyway
        log.exception("committed events could not be delivered")
