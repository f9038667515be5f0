"""Writes to stdout and stderr without ever waiting for whoever reads them: a thread of its own does that."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import threading
import weakref
from collections.abc import Iterator
from time import monotonic
from typing import Final, TextIO

log = logging.getLogger(__name__)

MAX_WAITING: Final = 1 << 20
"""Bytes that may wait for the reader, some thousands of lines; what is written beyond them is lost."""
PATIENCE: Final = 1.0
"""Seconds that a program's end waits for the reader."""


class BackgroundStream(io.TextIOBase):
    """A text stream whose `write` never blocks, over a descriptor whose reader may have stopped reading.

    A pipe that nobody reads, or a terminal that was stopped with Ctrl-S, holds up the stream's own daemon
    thread and nobody else. What does not fit into `max_waiting` bytes is lost; how many lines that were is
    logged once the reader goes on. Where the descriptor fails, the text is lost without a word.

    `_changed` guards everything here; its lock may be taken again by a thread that has it, as the garbage
    collector may run something that prints. To be used on any thread, and in a process that forks.
    """

    def __init__(self, stream: TextIO, max_waiting: int = MAX_WAITING) -> None:
        """Raises OSError for a stream without a descriptor."""
        self._stream = stream
        self._descriptor = stream.fileno()
        self._name = str(getattr(stream, "name", self._descriptor)).strip("<>")
        self._max_waiting = max_waiting
        self._reset()
        _streams.add(self)

    def _reset(self) -> None:
        """Begins anew. In a forked process, what waits is written by the process that it comes from."""
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[bytes] = []
        self._bytes = 0  # in `_waiting`
        self._lost = 0  # lines
        self._writing = False
        self._ending = False  # the thread ends as soon as nothing waits
        self._thread: threading.Thread | None = None

    # For whoever writes

    def write(self, text: str) -> int:
        """Takes all of the text, or loses it. Never blocks."""
        data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        with self._changed:
            if self._bytes + len(data) > self._max_waiting:
                self._lost += text.count("\n")
                return len(text)
            self._waiting.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._start_locked()
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Waits for nothing; see `settle`."""

    def settle(self, timeout: float = PATIENCE) -> bool:
        """Waits until all is written, at most `timeout` seconds; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def end(self, timeout: float = PATIENCE) -> None:
        """As `settle`; then the thread ends, at once or when the reader goes on."""
        deadline = monotonic() + timeout
        self.settle(timeout)
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - monotonic()))

    def fileno(self) -> int:
        """The descriptor, for those who write to it themselves."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is."""
        return True

    # The thread

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name=f"output-{self._descriptor}", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread is to be had; the next `write` tries again
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while data := self._take():
            _write_all(self._descriptor, data)
            with self._changed:
                self._writing = False
                lost, self._lost = self._lost, 0
                self._changed.notify_all()
            if lost:
                log.warning("%d lines of %s were lost: nobody read them in time", lost, self._name)

    def _take(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            if not self._waiting:
                self._thread = None
                return b""
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._bytes, self._writing = 0, True
            return data


_streams: weakref.WeakSet[BackgroundStream] = weakref.WeakSet()


def _reset_in_child() -> None:
    for stream in list(_streams):
        stream._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody who shares it made it non-blocking
            select.select([], [descriptor], [])  # 1 or 2, which it can take
        except OSError:  # the reader is gone, or the disk is full
            return


@contextlib.contextmanager
def unblocked(stream: TextIO) -> Iterator[TextIO]:
    """A stream to write to in place of `stream`, without waiting; the end of the block may take `PATIENCE`.

    It is `stream` itself where that has no descriptor, and so nobody to wait for.
    """
    if isinstance(stream, BackgroundStream):
        yield stream
        stream.settle()
        return
    try:
        background = BackgroundStream(stream)
    except (OSError, ValueError, AttributeError):  # a test's, or none at all
        yield stream
        return
    try:
        yield background  # type: ignore[misc]
    finally:
        background.end()


@contextlib.contextmanager
def unblocked_stderr() -> Iterator[None]:
    """Replaces `sys.stderr` for the block: no line of the log, no warning, no traceback holds anybody up."""
    with unblocked(sys.stderr) as stream, contextlib.redirect_stderr(stream):
        yield
