"""Cancels an attempt to connect from another thread than the one that waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading

from threadchat.errors import CannotConnect


class Cancellation:
    """Cancels attempts that one thread makes one after the other: the current one and all later ones.

    `_lock` guards both fields and is held while sockets are shut down. A socket must be passed to `forget`
    before it is closed; otherwise its descriptor's number could belong to another socket by then. The lock is
    a leaf.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._sockets: set[socket.socket] = set()

    def cancel(self) -> None:
        """Wakes the thread that connects, so that its `dial` raises CannotConnect soon.

        Only the lookup of a name cannot be interrupted. Runs on: any thread.
        """
        with self._lock:
            self._cancelled = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # the socket is not connected yet
                    sock.shutdown(socket.SHUT_RDWR)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called. Runs on: any thread."""
        with self._lock:
            return self._cancelled

    def watch(self, sock: socket.socket) -> None:
        """Lets `cancel` shut `sock` down. Raises CannotConnect once cancelled.

        Runs on: the thread that connects.
        """
        with self._lock:
            if self._cancelled:
                raise CannotConnect("the attempt to connect was cancelled")
            self._sockets.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """Undoes `watch`, before the socket is closed or handed on. Runs on: the thread that connects."""
        with self._lock:
            self._sockets.discard(sock)
