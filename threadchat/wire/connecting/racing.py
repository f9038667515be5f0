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
"""Seconds after which the next attempt begins if the last one is still open (RFC 8305 section 8)."""
MOST_REMEMBERED: Final = 256
"""Hosts whose last working address is remembered."""

Found = tuple[int, int, int, str, tuple[Any, ...]]
"""One result of getaddrinfo: family, type, protocol, canonical name, endpoint."""


class TimeLeft(Protocol):
    """A timeout for several steps together."""

    def left(self) -> float:
        """Returns the seconds left, more than 0; raises an error if there are none."""


class Remembered:
    """The endpoint that worked last, by host and port. Needs no lock: each dict operation is atomic."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, int], tuple[Any, ...]] = {}

    def note(self, host: str, port: int, endpoint: tuple[Any, ...]) -> None:
        """Remembers an endpoint that worked. Runs on: any thread."""
        if len(self._endpoints) >= MOST_REMEMBERED:
            self._endpoints.clear()
        self._endpoints[host, port] = endpoint

    def ordered(self, host: str, port: int, found: Sequence[Found]) -> list[Found]:
        """Returns the addresses in the order to try them: the one that worked last, then families in turn."""
        worked = self._endpoints.get((host, port))
        return sorted(interleaved(found), key=lambda result: result[4] != worked)


def interleaved(found: Sequence[Found]) -> list[Found]:
    """Alternates the address families, so that an unreachable family costs one delay, not one per address."""
    families = dict.fromkeys(result[0] for result in found)
    by_family = ([result for result in found if result[0] == family] for family in families)
    return [result for result in chain.from_iterable(zip_longest(*by_family)) if result is not None]


def connect_first(
    found: Iterable[Found], time: TimeLeft, cancellation: Cancellation
) -> tuple[socket.socket, tuple[Any, ...]]:
    """Returns the first connected socket, with a timeout, and its endpoint; closes all others.

    An attempt begins once the one before has failed or has had `ATTEMPT_DELAY`. Raises the OSError of the
    attempt that failed last, and the errors of `time` and `cancellation`. Runs on: any thread.
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


def _begin(found: Found, selector: selectors.BaseSelector, cancellation: Cancellation) -> OSError | None:
    """Begins to connect to one address; returns the error if that fails at once."""
    family, kind, protocol, _, endpoint = found
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
        except BlockingIOError:  # the attempt has begun
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
    """Returns why a finished attempt failed; None if it succeeded."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        return OSError(number, os.strerror(number))  # Python chooses the subclass by the number
    try:
        sock.getpeername()
    except OSError as error:  # `cancel` has shut it down
        return error
    return None


def _drop(sock: Any, selector: selectors.BaseSelector, cancellation: Cancellation) -> None:
    selector.unregister(sock)
    cancellation.forget(sock)
    sock.close()
