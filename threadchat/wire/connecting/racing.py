"""Connects to the first of a host's addresses that answers: the Happy Eyeballs of RFC 8305, on one thread."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, Final, Protocol

from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.transport import SEND_BUFFER

ATTEMPT_DELAY: Final = 0.25
"""Seconds that an attempt has before the next one joins it (RFC 8305 section 8)."""
MOST_REMEMBERED: Final = 256
"""Hosts whose address that worked last is known."""

Found = tuple[int, int, int, str, tuple[Any, ...]]
"""What getaddrinfo says of one address: family, type, protocol, canonical name, endpoint."""


class TimeLeft(Protocol):
    """How much of one total time there still is."""

    def left(self) -> float:
        """Seconds, more than none. Raises an error where there are none."""


class Remembered:
    """Which endpoint worked last, by host and port. Each method is one step of a dict, and needs no lock."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, int], tuple[Any, ...]] = {}

    def note(self, host: str, port: int, endpoint: tuple[Any, ...]) -> None:
        """This one worked."""
        if len(self._endpoints) >= MOST_REMEMBERED:
            self._endpoints.clear()
        self._endpoints[host, port] = endpoint

    def ordered(self, host: str, port: int, found: Sequence[Found]) -> list[Found]:
        """The addresses in the order in which to try them: what worked last, then families in turns."""
        worked = self._endpoints.get((host, port))
        return sorted(interleaved(found), key=lambda one: one[4] != worked)


def interleaved(found: Sequence[Found]) -> list[Found]:
    """The same, with the families in turns: one that leads nowhere costs a delay, not a delay an address."""
    families = dict.fromkeys(one[0] for one in found)
    by_family = ([one for one in found if one[0] == family] for family in families)
    return [one for one in chain.from_iterable(zip_longest(*by_family)) if one is not None]


def connect_first(
    found: Iterable[Found], time: TimeLeft, cancellation: Cancellation
) -> tuple[socket.socket, tuple[Any, ...]]:
    """A connected socket, with a timeout, and the endpoint that it leads to; all others are closed.

    An attempt begins as soon as the one before has failed, or has had `ATTEMPT_DELAY`. Raises the OSError of
    the attempt that failed last, and what `time` and `cancellation` raise. Runs on: any thread.
    """
    waiting = list(found)
    failure: OSError = OSError("there is no address to connect to")
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting and (error := _begin(waiting.pop(0), selector, cancellation)):
                    failure = error
                    continue
                left = time.left()
                for key, _ in selector.select(min(left, ATTEMPT_DELAY) if waiting else left):
                    sock: socket.socket = key.fileobj  # type: ignore[assignment]
                    error = _outcome(sock)
                    if error is None:
                        sock.settimeout(time.left())
                        selector.unregister(sock)
                        return sock, key.data
                    failure = error
                    _drop(sock, selector, cancellation)
            raise failure
        finally:
            for key in list(selector.get_map().values()):
                _drop(key.fileobj, selector, cancellation)


def _begin(one: Found, selector: selectors.BaseSelector, cancellation: Cancellation) -> OSError | None:
    """Begins to connect to one address; the error where that fails at once."""
    family, kind, protocol, _, endpoint = one
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        return error
    try:
        cancellation.watch(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            sock.connect(endpoint)
        except BlockingIOError:  # it takes a while
            pass
        selector.register(sock, selectors.EVENT_WRITE, endpoint)
    except BaseException as error:
        cancellation.forget(sock)
        sock.close()
        if isinstance(error, OSError) and not cancellation.cancelled:
            return error
        raise
    return None


def _outcome(sock: socket.socket) -> OSError | None:
    """Why an attempt that ended has failed; None where it has not."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        return OSError(number, os.strerror(number))  # of the subclass that the number stands for
    try:
        sock.getpeername()
    except OSError as error:  # somebody has shut it down
        return error
    return None


def _drop(sock: Any, selector: selectors.BaseSelector, cancellation: Cancellation) -> None:
    selector.unregister(sock)
    cancellation.forget(sock)
    sock.close()
