"""Writes to stdout and stderr on a thread of its own, so that a slow reader never blocks the caller."""

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
"""Bytes that may wait for the reader, some thousands of lines; any text beyond them is dropped."""
PATIENCE: Final = 1.0
"""Seconds that the end of the program waits for the reader."""


class BackgroundStream(io.TextIOBase):
    """A text stream whose `write` never blocks, even if nobody reads from its file descriptor.

    A pipe that nobody reads, or a terminal that was paused with Ctrl-S, blocks only the stream's own daemon
    thread. Text that does not fit into `max_waiting` bytes is dropped; the number of dropped lines is logged
    once the reader continues. If writing to the descriptor fails, the text is dropped silently.

    `_changed` guards all attributes. Its lock is reentrant, because the garbage collector may run code that
    prints. Runs on: any thread; a process that forks may use it too.
    """

    def __init__(self, stream: TextIO, max_waiting: int = MAX_WAITING) -> None:
        """Raises OSError for a stream without a file descriptor."""
        self._stream = stream
        self._descriptor = stream.fileno()
        self._name = str(getattr(stream, "name", self._descriptor)).strip("<>")
        self._max_waiting = max_waiting
        self._reset()
        _streams.add(self)

    def _reset(self) -> None:
        """Clears the state. After a fork, the parent process writes what is waiting."""
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[bytes] = []
        self._bytes = 0  # in `_waiting`
        self._lost = 0  # lines
        self._writing = False
        self._ending = False  # the thread ends as soon as nothing waits
        self._thread: threading.Thread | None = None

    # For writers

    def write(self, text: str) -> int:
        """Queues the whole text, or drops it if it does not fit. Never blocks."""
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
        """Does nothing; to wait until everything is written, call `settle`."""

    def settle(self, timeout: float = PATIENCE) -> bool:
        """Waits up to `timeout` seconds until everything is written; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def end(self, timeout: float = PATIENCE) -> None:
        """Calls `settle`, then ends the thread: at once, or as soon as the reader continues."""
        deadline = monotonic() + timeout
        self.settle(timeout)
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - monotonic()))

    def fileno(self) -> int:
        """The file descriptor, for code that writes to it directly."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Always true."""
        return True

    # The thread

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name=f"output-{self._descriptor}", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started; the next `write` tries again
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
        except BlockingIOError:  # a program that shares the descriptor made it non-blocking
            select.select([], [descriptor], [])  # the descriptor is 1 or 2, low enough for select
        except OSError:  # the reader is gone, or the disk is full
            return


@contextlib.contextmanager
def unblocked(stream: TextIO) -> Iterator[TextIO]:
    """A stream that writes to `stream` without blocking; leaving the block may take `PATIENCE` seconds.

    It is `stream` itself if that has no file descriptor, because then no reader can block it.
    """
    if isinstance(stream, BackgroundStream):
        yield stream
        stream.settle()
        return
    try:
        background = BackgroundStream(stream)
    except (OSError, ValueError, AttributeError):  # a stream in a test, or None
        yield stream
        return
    try:
        yield background  # type: ignore[misc]
    finally:
        background.end()


@contextlib.contextmanager
def unblocked_stderr() -> Iterator[None]:
    """Replaces `sys.stderr` within the block, so that no log line, warning or traceback blocks a thread."""
    with unblocked(sys.stderr) as stream, contextlib.redirect_stderr(stream):
        yield
