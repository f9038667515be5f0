"""The files of the event log: begins a new one by size and age, and deletes the oldest."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import gmtime, strftime, time
from typing import Final, NamedTuple

MODE: Final = 0o640
"""The mode of a new file. What people write to each other is not for every user of the machine."""
RETRY: Final = 60.0
"""Seconds until the next attempt to begin a new file, if one failed."""

_CLOSED: Final = re.compile(r"\.[0-9]{8}T[0-9]{6}Z(-[0-9]{3,})?")
"""What follows the name of the log in the name of an older file: when that was closed, and a number if it was
not the only one in that second.
"""


class Rotation(NamedTuple):
    """When a new file begins, and what is kept. 0 means no limit.

    `size` is in bytes, and `age` in seconds since the file was begun or, if that was before this process,
    last written. `total` is the limit for the bytes of all files together; without a `size`, a new file then
    begins at half of it.
    """

    size: int = 0
    age: float = 0.0
    total: int = 0

    @property
    def largest(self) -> int:
        """The size at which a new file begins."""
        return self.size or self.total // 2


class LogFile:
    """The current file, open for appending. Only a regular file is rotated, not a pipe or a device.

    Runs on: one thread at a time.
    """

    def __init__(self, path: str, rotation: Rotation, *, clock: Callable[[], float] = time) -> None:
        """Opens the file and creates its folder if needed. Raises OSError. `clock` returns Unix time."""
        self._path = path
        self._rotation = rotation
        self._clock = clock
        self._not_before = -inf
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._open()

    def is_due(self, coming: int) -> bool:
        """Whether a new file has to begin before `coming` bytes are written."""
        largest, age, _ = self._rotation._replace(size=self._rotation.largest)
        if not (largest or age):
            return False
        status = os.fstat(self.descriptor)
        if not status.st_size:
            self._begun = self._clock()
        if not (stat.S_ISREG(status.st_mode) and status.st_size) or self._clock() < self._not_before:
            return False
        is_old = age > 0 and self._clock() - self._begun >= age
        return is_old or (largest > 0 and status.st_size + coming > largest)

    def rotate(self) -> None:
        """Begins a new file. The former one keeps its name with the time added. Raises OSError."""
        self._not_before = self._clock() + RETRY
        with contextlib.suppress(FileNotFoundError):  # another program has moved it
            os.rename(self._path, self._free_name())
        self.reopen()
        self._not_before = -inf
        self._prune()

    def reopen(self) -> None:
        """Opens the file of that name, which another program may have renamed. Raises OSError."""
        former = self.descriptor
        self._open()
        with contextlib.suppress(OSError):  # some file systems report a failed write only now
            os.close(former)

    def ends_torn(self) -> bool:
        """Whether the last line has no line break. For a device, always False. Raises OSError."""
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return False
        return os.pread(self.descriptor, 1, status.st_size - 1) != b"\n"

    # Helpers

    def _open(self) -> None:
        # Readable, because only the last byte tells whether the last line is complete.
        # Non-blocking, because a pipe that nobody reads is treated like a full disk and must not block.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self.descriptor = os.open(self._path, flags, MODE)
        status = os.fstat(self.descriptor)
        self._begun = min(status.st_mtime, self._clock()) if status.st_size else self._clock()

    def _free_name(self) -> str:
        name = f"{self._path}.{strftime('%Y%m%dT%H%M%SZ', gmtime(self._clock()))}"
        free, number = name, 0
        while os.path.exists(free):
            number += 1
            free = f"{name}-{number:03}"
        return free

    def _prune(self) -> None:
        """Deletes the oldest files, so that the current one can become as large as it may."""
        if not self._rotation.total:
            return
        left = self._rotation.total - self._rotation.largest
        for path in reversed(closed_files(self._path)):
            left -= path.stat().st_size
            if left < 0:
                path.unlink()


def closed_files(path: str) -> list[Path]:
    """The older files of the log `path`, oldest first. Raises OSError."""
    log = Path(path)
    return sorted(
        each
        for each in log.parent.iterdir()
        if each.name.startswith(log.name) and _CLOSED.fullmatch(each.name, len(log.name))
    )
