"""What programs ask of `connection.protocol`: the state of a connection, to be read only."""

from __future__ import annotations

import logging
import uuid
from typing import Any, NamedTuple, Protocol

from threadchat.plain import endings
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import ConnectionClosed
from threadchat.plain.websockets.protocol import Side, State


class Viewed(Protocol):
    """A connection, as far as it is looked at."""

    side: Side
    id: uuid.UUID
    logger: logging.Logger | logging.LoggerAdapter[Any]
    threaded: ThreadedConnection

    @property
    def state(self) -> State: ...
    @property
    def subprotocol(self) -> str | None: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def close_reason(self) -> str | None: ...


class ProtocolView(NamedTuple):
    """What programs ask of `connection.protocol`; there is nothing to drive by it."""

    connection: Viewed

    @property
    def side(self) -> Side:
        """Which end this is."""
        return self.connection.side

    @property
    def state(self) -> State:
        """See WebSocket.state."""
        return self.connection.state

    @property
    def subprotocol(self) -> str | None:
        """See WebSocket.subprotocol."""
        return self.connection.subprotocol

    @property
    def id(self) -> uuid.UUID:
        """See WebSocket.id."""
        return self.connection.id

    @property
    def logger(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """See WebSocket.logger."""
        return self.connection.logger

    @property
    def close_code(self) -> int | None:
        """See WebSocket.close_code."""
        return self.connection.close_code

    @property
    def close_reason(self) -> str | None:
        """See WebSocket.close_reason."""
        return self.connection.close_reason

    @property
    def close_exc(self) -> ConnectionClosed:
        """What recv raises. Raises AssertionError before the end."""
        if self.state is not State.CLOSED:
            raise AssertionError("connection isn't closed yet")
        return endings.closed(self.connection.threaded)
