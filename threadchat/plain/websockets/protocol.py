"""The state and the side of a connection, by the names of `websockets.protocol`."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Side", "State"]


class State(IntEnum):
    """Where a connection is between its handshake and its end."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Side(IntEnum):
    """Which end of a connection this is."""

    SERVER = 0
    CLIENT = 1
