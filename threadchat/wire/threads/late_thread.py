"""A thread that starts with its first use, and again where it is gone: after a fork, or a failed start."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LateThread:
    """A daemon thread that runs `body`, at most one at a time.

    `_lock` guards `_thread`. It is held while the thread starts, and is a leaf.
    """

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        self.name = name
        self._body = body
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread unless it runs. Runs on: any thread, any number of times.

        Raises RuntimeError where the system has no more threads; the next call tries again.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended, if there is one. Runs on: any thread; does nothing on its own."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(timeout)

    def is_alive(self) -> bool:
        """Whether the thread runs just now, in this process. Runs on: any thread."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _run(self) -> None:
        with self._lock:
            # An exception from a signal handler can leave `start` before this thread says that it is alive;
            # then the next `start` has put another one in its place.
            if self._thread is not threading.current_thread():
                return
        self._body()
