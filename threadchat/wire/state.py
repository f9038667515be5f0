"""The states that a connection goes through, one way."""

from __future__ import annotations

from enum import Enum


class ConnectionState(Enum):
    """A state is never left for an earlier one."""

    UNDEFINED = 0
    CONNECTED = 1
    IN_CHAT = 2
    TO_BE_DISCONNECTED = 3
    DISCONNECTED = 4
