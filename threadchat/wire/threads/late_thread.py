"""A thread that starts on first use, and again after a fork or a failed start."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LateThread:
    """Runs `body` on a daemon thread, at most one at a time.

    `_lock` guards `_thread` and is held while the thread starts. It is a leaf.
    """

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        self.name = name
        self._body = body
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread if it does not run. Runs on: any thread, any number of times.

        Raises RuntimeError if the system has no more threads; the next call tries again.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended, if it runs. Runs on: any thread; returns at once on its own."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(timeout)

    def is_alive(self) -> bool:
        """Whether the thread runs in this process. Runs on: any thread."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _run(self) -> None:
        with self._lock:
            # An exception from a signal handler can interrupt `start` before this thread counts as alive.
            # The next `start` has then replaced it.
            if self._thread is not threading.current_thread():
                return
        self._body()
