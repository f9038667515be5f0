"""A listener that keeps every event in a file, one line of JSON each."""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
from typing import Final

import msgspec

from threadchat.chat.log.events import Event

log = logging.getLogger(__name__)

MAX_PENDING: Final = 1 << 20
"""Bytes that a batch may gather before it is written early: events are few in a batch, but may be large."""
PATIENCE: Final = 1.0
"""Seconds for which a pipe's reader may pause; publishers have not been held up for that yet."""
MODE: Final = 0o640
"""Of a new file: what people say to each other is not for everybody on the machine."""

_encode = msgspec.json.Encoder().encode


class JsonLines:
    """Appends events to a file, one line of JSON each, one write a batch: a listener of a room or a hub.

    ```python
    from pathlib import Path

    from threadchat import JsonLines, Room

    room = Room("GoChat")
    listener = room.attach_listener(JsonLines("events.jsonl"))
    room.message("ann", "hi")
    room.close()
    listener.thread.join()  # a daemon: wait until the last line is written
    assert Path("events.jsonl").read_text().count("\n") == 2
    ```

    A line that was begun is finished by the next write that succeeds, so that no torn one ever
    stands before others; one that an earlier run left torn gets a line of its own. Whatever else a
    write that fails (a full disk) leaves over is lost, and counted.

    Constructing opens the file, makes its folder where there is none, and raises OSError where that fails; a
    new file is for its owner and group only.
    All else runs on the thread of one listener, and raises nothing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        # Readable too, because only the last byte tells whether the last line is whole.
        # Not blocking: a pipe that nobody reads is as good as a full disk, and holds up nobody.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(self._path, flags, MODE)
        self._rest = b""  # of a line that was begun, or what ends a torn one
        self._lines: list[bytes] = []
        self._pending = 0  # bytes in `_lines`
        self._lost = 0  # events, since writing began to fail
        self._failing = False
        self._closed = False
        try:
            if _ends_torn(self._file):
                self._rest = b"\n"
        except OSError:
            os.close(self._file)
            raise

    def __call__(self, event: Event) -> None:
        """Notes an event for the next write; what is in no log is in this one neither."""
        if not event.id:
            return
        line = _encode(event) + b"\n"
        self._lines.append(line)
        self._pending += len(line)
        if self._pending > MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Writes what was noted; a failure is logged once, until it works again."""
        lines, self._lines, self._pending = self._lines, [], 0
        if self._closed or not (lines or self._is_inside()):
            return
        data = self._rest + b"".join(lines)
        written, failure = self._write(data)
        if failure is None:
            self._rest = b""
            self._report_recovery()
            return
        self._keep_begun_line(lines, written)
        if not self._failing:
            self._failing = True
            log.error("event log %s: %s; events are lost until it works again", self._path, failure)

    def close(self) -> None:
        """Writes what was noted, and closes the file; a second call does nothing."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if self._failing:
            log.error("event log %s: closed; %d events were lost", self._path, self._lost + self._is_inside())
        try:
            os.close(self._file)
        except OSError as error:  # some file systems tell only now
            log.error("event log %s: closing: %s", self._path, error)

    # Helpers

    def _write(self, data: bytes) -> tuple[int, OSError | None]:
        view = memoryview(data)
        written = 0
        while written < len(data):
            try:
                count = os.write(self._file, view[written:])
            except BlockingIOError as error:
                if self._failing or not _takes_more(self._file):
                    return written, error
                continue
            except OSError as error:
                return written, error
            if not count:
                return written, OSError(errno.EIO, "nothing was taken")
            written += count
        return written, None

    def _keep_begun_line(self, lines: list[bytes], written: int) -> None:
        """After a failure: what was not begun is lost, what was begun is kept for the next write."""
        if written < len(self._rest):
            self._rest = self._rest[written:]
            self._lost += len(lines)
            return
        at = len(self._rest)
        self._rest = b""
        for number, line in enumerate(lines):
            if written <= at:
                self._lost += len(lines) - number
                return
            self._rest = line[written - at :]
            at += len(line)

    def _report_recovery(self) -> None:
        if self._failing:
            log.warning("event log %s: works again; %d events were lost", self._path, self._lost)
        self._failing = False
        self._lost = 0

    def _is_inside(self) -> bool:
        """Whether a line of this run was begun and not finished."""
        return len(self._rest) > 0 and self._rest != b"\n"

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"failing, {self._lost} lost" if self._failing else "open"
        return f"<JsonLines {self._path} {state}>"


def _takes_more(file: int) -> bool:
    """Whether a pipe is read within `PATIENCE`."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(PATIENCE * 1000))


def _ends_torn(file: int) -> bool:
    """Whether the file's last line has no end; a device's never counts as torn."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    return os.pread(file, 1, status.st_size - 1) != b"\n"
