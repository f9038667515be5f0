"""Finds TCP ports that nobody uses."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

KEPT = 256
_reserved: deque[int] = deque()
"""Descriptors that keep a port from being found again, here or in another process, before its server listens:
each is bound to the port for UDP, which no server of ours speaks."""


def free_port() -> int:
    """A free port on loopback, below those that the system gives to outgoing connections.

    No other call finds the same one before this process has found `KEPT` others, or has ended. Runs on: any
    thread.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved, socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                reserved.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _reserved.append(reserved.detach())  # open until it is the oldest of too many
        if len(_reserved) > KEPT:
            os.close(_reserved.popleft())
        return port
