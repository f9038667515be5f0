"""Rejects connections without a thread for each, and without a reset that would lose the reply."""

from __future__ import annotations

import selectors
import socket
from collections import OrderedDict
from collections.abc import Callable

PARTING_SECONDS = 1.0  # time for a rejected peer to read its reply and to close
PARTING_BYTES = 64 * 1024  # at most so many bytes of one rejected peer are read and discarded
PARTING_PEERS = 64  # rejected peers at the same time; the oldest is closed for a newer one


class Rejections:
    """The rejected connections to which a reply was sent, and which get a moment to read it.

    Runs on: the accept thread only, which owns the selector, so there is no lock. Nothing blocks.
    """

    def __init__(self, selector: selectors.BaseSelector, clock: Callable[[], float]) -> None:
        self._selector = selector
        self._clock = clock
        self._parting: OrderedDict[socket.socket, tuple[float, int]] = OrderedDict()  # deadline, bytes left

    def add(self, sock: socket.socket, reply: bytes) -> None:
        """Send as much of `reply` as the socket accepts at once, and end the connection."""
        try:
            sock.setblocking(False)
            sock.send(reply)
            sock.shutdown(socket.SHUT_WR)
            self._selector.register(sock, selectors.EVENT_READ, lambda: self._read_away(sock))
        except OSError:  # the peer is gone already, or the reply did not fit
            sock.close()
            return
        self._parting[sock] = self._clock() + PARTING_SECONDS, PARTING_BYTES
        if len(self._parting) > PARTING_PEERS:
            self._close(next(iter(self._parting)))

    def timeout(self) -> float | None:
        """Seconds until the next connection must be closed; None if there is none."""
        if not self._parting:
            return None
        deadline, _ = next(iter(self._parting.values()))
        return max(0.0, deadline - self._clock())

    def expire(self) -> None:
        """Close the connections whose time is over."""
        while self.timeout() == 0:
            self._close(next(iter(self._parting)))

    def close(self) -> None:
        """Close all connections."""
        while self._parting:
            self._close(next(iter(self._parting)))

    def _read_away(self, sock: socket.socket) -> None:
        if sock not in self._parting:
            return  # an earlier event of the same wake-up closed it
        deadline, left = self._parting[sock]
        try:
            received = len(sock.recv(left))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        if received in (0, left):
            self._close(sock)
        else:
            self._parting[sock] = deadline, left - received  # keeps its place: the oldest stays first

    def _close(self, sock: socket.socket) -> None:
        del self._parting[sock]
        self._selector.unregister(sock)
        sock.close()
