"""Lets one thread wait until another thread, or a signal handler on it, wakes it without any lock."""

from __future__ import annotations

import socket
import threading
from typing import Final

_LOOK: Final = 0.5
"""Seconds between two looks. A signal that comes while the thread hands the interpreter on, just before it
blocks, does not interrupt it: its Python handler would wait for as long as nothing else happens."""


class Wakeup:
    """Something to wait for. `wake` may be called in a signal handler that has interrupted any code.

    An Event cannot do this: its lock may be held by the very thread that the signal interrupts. `_lock`
    guards `_waiters`, `_ended` and the closing of the sockets.
    """

    def __init__(self) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(_LOOK)
        self._lock = threading.Lock()
        self._waiters: set[int] = set()
        self._ended = False

    def wait(self) -> bool:
        """Waits for `wake` or `end`; returns whether it was `wake`. Runs on: any thread."""
        here = threading.get_ident()
        with self._lock:
            if self._ended:
                return False
            self._waiters.add(here)
        try:
            return self._receive()
        finally:
            with self._lock:
                self._waiters.discard(here)
                self._close_locked()

    def _receive(self) -> bool:
        while True:
            try:
                return bool(self._woken.recv(1))
            except TimeoutError:
                continue

    def is_waiter(self) -> bool:
        """Whether the calling thread is in `wait`, so that this is a signal handler. Takes no lock."""
        return threading.get_ident() in self._waiters

    def wake(self) -> None:
        """Wakes one waiting thread. Takes no lock. Runs on: a signal handler of a waiting thread."""
        self._waker.send(b"\0")

    def end(self) -> None:
        """Wakes all waiting threads, for good. Runs on: any thread that does not wait itself."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._waker.close()
                self._close_locked()

    def _close_locked(self) -> None:
        if self._ended and not self._waiters:
            self._woken.close()
