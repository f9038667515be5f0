"""Gives up an attempt to connect from another thread than the one that waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading

from threadchat.errors import CannotConnect


class Cancellation:
    """For any number of attempts, one after the other: `cancel` ends the present one and all later ones.

    `_lock` guards both fields, and is held while the socket is shut down: whoever is about to close it has to
    `forget` it first, so that the number of its descriptor is not somebody else's by then. It is a leaf.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Wakes the thread that connects, or shakes hands; its `dial` raises CannotConnect soon.

        Only the look-up of a name goes on until the system is done with it. Runs on: any thread.
        """
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it does not wait for anything just now
                    self._socket.shutdown(socket.SHUT_RDWR)

    def watch(self, sock: socket.socket) -> None:
        """This one is waited for from here on. Raises CannotConnect. Runs on: the thread that connects."""
        with self._lock:
            if self._cancelled:
                raise CannotConnect("this program gave up connecting")
            self._socket = sock

    def forget(self) -> None:
        """Nothing is waited for now. Runs on: the thread that connects."""
        with self._lock:
            self._socket = None
