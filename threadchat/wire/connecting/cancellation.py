"""Gives up an attempt to connect from another thread than the one that waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading

from threadchat.errors import CannotConnect


class Cancellation:
    """For any number of attempts, one after the other: `cancel` ends the present one and all later ones.

    `_lock` guards both fields, and is held while sockets are shut down: whoever is about to close one has to
    `forget` it first, so that the number of its descriptor is not somebody else's by then. It is a leaf.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._sockets: set[socket.socket] = set()

    def cancel(self) -> None:
        """Wakes the thread that connects, or shakes hands; its `dial` raises CannotConnect soon.

        Only the look-up of a name goes on until the system is done with it. Runs on: any thread.
        """
        with self._lock:
            self._cancelled = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # it does not wait for anything just now
                    sock.shutdown(socket.SHUT_RDWR)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called. Runs on: any thread."""
        with self._lock:
            return self._cancelled

    def watch(self, sock: socket.socket) -> None:
        """From here on this one is waited for, too. Raises CannotConnect. Runs on: the connecting thread."""
        with self._lock:
            if self._cancelled:
                raise CannotConnect("this program gave up connecting")
            self._sockets.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """This one is not waited for any more. Runs on: the thread that connects."""
        with self._lock:
            self._sockets.discard(sock)
