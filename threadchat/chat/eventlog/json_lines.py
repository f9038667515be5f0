"""A listener that writes every event to a file, one line of JSON each."""

from __future__ import annotations

import errno
import logging
import os
import select
from typing import Final

import msgspec

from threadchat.chat.eventlog.files import LogFile, Rotation
from threadchat.chat.log.events import Event

log = logging.getLogger(__name__)

MAX_PENDING: Final = 1 << 20
"""Bytes to gather before writing early. A batch has few events, but they may be large."""
PATIENCE: Final = 1.0
"""Seconds for which the reader of a pipe may pause. The listener's stream buffers events meanwhile."""

_encode = msgspec.json.Encoder().encode


class JsonLines:
    """A listener for a room or a hub that appends events to a file: a line of JSON each, one write a batch.

    ```python
    from pathlib import Path

    from threadchat import JsonLines, Room

    room = Room("GoChat")
    listener = room.attach_listener(JsonLines("events.jsonl"))
    room.message("ann", "hi")
    room.close()
    listener.thread.join()  # it is a daemon thread: wait for its last write
    assert Path("events.jsonl").read_text().count("\n") == 2
    ```

    If a write fails (the disk is full, say) in the middle of a line, the next successful write finishes that
    line, so a partial line never stands before others. If an earlier run left a partial line, a line break
    is written after it. Other events of a failed write are lost and counted.

    With `max_bytes` or `max_age` (seconds), a new file begins before a batch that would make the current one
    larger, or once it is older. The former one is renamed: the time is added to its name. With `total_bytes`,
    the oldest of them are deleted so that all files together take at most so many bytes. 0 means no limit.

    The constructor opens the file and creates its folder if needed. It raises OSError if that fails. Only
    the owner and the group may read a new file. `reload` may be called from any thread. Everything else runs
    on the thread of one listener and raises nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 0,
        max_age: float = 0.0,
        total_bytes: int = 0,
    ) -> None:
        self._path = os.fspath(path)
        self._log = LogFile(self._path, Rotation(max_bytes, max_age, total_bytes))
        self._reloading = False
        self._rest = b""  # the rest of a partial line, or the line break after an old one
        self._lines: list[bytes] = []
        self._pending = 0  # bytes in `_lines`
        self._lost = 0  # events lost since writing began to fail
        self._failing = False
        self._closed = False
        try:
            self._begin_file()
        except OSError:
            os.close(self._log.descriptor)
            raise

    def __call__(self, event: Event) -> None:
        """Adds an event to the next write. Events without an id are in no log and are left out here too."""
        if not event.id:
            return
        line = _encode(event) + b"\n"
        self._lines.append(line)
        self._pending += len(line)
        if self._pending > MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Writes the events that were added. A failure is logged once, until writing works again."""
        lines, self._lines, self._pending = self._lines, [], 0
        if self._closed or not (lines or self._is_inside()):
            return
        self._change_file(sum(map(len, lines)))
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

    def reload(self) -> None:
        """Reopens the file before the next write, because another program may have renamed it.

        Runs on: any thread.
        """
        self._reloading = True

    def close(self) -> None:
        """Writes the events that were added and closes the file. A second call does nothing."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if self._failing:
            log.error("event log %s: closed; %d events were lost", self._path, self._lost + self._is_inside())
        try:
            os.close(self._log.descriptor)
        except OSError as error:  # some file systems report a failed write only now
            log.error("event log %s: closing: %s", self._path, error)

    # Helpers

    def _change_file(self, coming: int) -> None:
        """Opens another file if that is due. A line that was begun is finished in the same file."""
        if self._is_inside():
            return
        try:
            if self._reloading:
                self._reloading = False
                self._log.reopen()
            elif self._log.is_due(coming):
                self._log.rotate()
            else:
                return
            self._begin_file()
        except OSError as error:
            log.error("event log %s: no new file can be begun: %s", self._path, error)

    def _begin_file(self) -> None:
        self._rest = b"\n" if self._log.ends_torn() else b""

    def _write(self, data: bytes) -> tuple[int, OSError | None]:
        view = memoryview(data)
        written = 0
        while written < len(data):
            try:
                count = os.write(self._log.descriptor, view[written:])
            except BlockingIOError as error:
                if self._failing or not _takes_more(self._log.descriptor):
                    return written, error
                continue
            except OSError as error:
                return written, error
            if not count:
                return written, OSError(errno.EIO, "no bytes were written")
            written += count
        return written, None

    def _keep_begun_line(self, lines: list[bytes], written: int) -> None:
        """After a failed write, keeps the rest of the partial line for the next write.

        Counts the lines after it as lost.
        """
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
        """Whether a line of this run is partially written."""
        return len(self._rest) > 0 and self._rest != b"\n"

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"failing, {self._lost} lost" if self._failing else "open"
        return f"<JsonLines {self._path} {state}>"


def _takes_more(file: int) -> bool:
    """Whether the pipe's reader makes room within `PATIENCE`."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(PATIENCE * 1000))
