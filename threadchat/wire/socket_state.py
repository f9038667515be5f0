"""What the system tells about a socket, and how it ends: bytes received, readiness, addresses, a reset."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import socket
import struct
import sys
import termios
from typing import Any, Final

LONGEST_POLL: Final = 0.25
"""Seconds. Linux reports a socket as writable only once a third of its buffer is free. At 60 KB/s that took
3.8 s, which is longer than `send_timeout`, although a send would have succeeded after 2 s."""
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)  # Linux has it
_BYTES_RECEIVED: Final = slice(128, 136)  # tcpi_bytes_received in struct tcp_info, since Linux 4.1


def received(sock: socket.socket) -> int | None:
    """How many bytes have come from the peer in all, read or not; None where the system does not count."""
    if _TCP_INFO is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_RECEIVED.stop)
    except OSError:  # not TCP, or the socket is closed
        return None
    counted = info[_BYTES_RECEIVED]
    return int.from_bytes(counted, sys.byteorder) if len(counted) == 8 else None


def read_before(sock: socket.socket) -> int:
    """How many bytes have been read from `sock` so far. Runs on: the only thread that reads it."""
    count = received(sock)
    if not count:
        return 0
    waiting = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    return count - int.from_bytes(waiting, sys.byteorder)


def is_behind(sock: socket.socket, handled: int) -> bool:
    """Whether more bytes have come than the `handled` ones.

    A look into the socket would not do: a thread in `recv` has taken the bytes before it has a turn to say
    so. Where the system does not count, that look is all there is.
    """
    count = received(sock)
    return is_ready(sock, select.POLLIN) if count is None else count > handled


def is_ready(sock: socket.socket, event: int, seconds: float | None = 0.0) -> bool:
    """Waits at most `seconds` for an event of `poll`, None for ever; returns whether there was one."""
    poll = select.poll()  # select.select does not support descriptors above 1,023
    poll.register(sock, event)
    return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))


def addresses(descriptor: int) -> tuple[Any, Any]:
    """Our address and the peer's; None for both if the connection is gone."""
    try:
        # A duplicate, because a TlsSocket has no such methods and hides its socket.
        with socket.socket(fileno=os.dup(descriptor)) as duplicate:
            return duplicate.getsockname(), duplicate.getpeername()
    except OSError:
        return None, None


def shut_down(sock: Any, how: int, *, reset: bool) -> None:
    """Shuts down a socket or a TlsSocket; with `reset`, what the kernel still holds is dropped."""
    with contextlib.suppress(OSError):  # the peer has ended the connection already
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(how)
