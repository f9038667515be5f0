"""Finds TCP ports that nobody uses."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A free port on loopback, below those that the system gives to outgoing connections."""
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            except OSError:
                continue
            return int(probe.getsockname()[1])
