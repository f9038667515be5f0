"""The state of a connection of the plain layer, and how it ended, in the terms of `websockets`."""

from __future__ import annotations

import logging
import uuid
from typing import Any, Final, NamedTuple, Protocol

from threadchat.errors import CloseCode, CloseFrame
from threadchat.plain.threaded_connection import ThreadedConnection
from threadchat.plain.websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from threadchat.plain.websockets.protocol import Side, State

_GOOD: Final = (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)


def state(threaded: ThreadedConnection) -> State:
    """Open, closing until the socket is gone, or closed."""
    if threaded.is_open:
        return State.OPEN
    return State.CLOSED if threaded.gone.is_set() else State.CLOSING


def close_code(threaded: ThreadedConnection) -> int | None:
    """The peer's code or 1006; the local code if it is 3000 or above. None until the end."""
    if state(threaded) is not State.CLOSED:
        return None
    return closed(threaded).code


def close_reason(threaded: ThreadedConnection) -> str | None:
    """The reason that belongs to `close_code`."""
    if state(threaded) is not State.CLOSED:
        return None
    return closed(threaded).reason


def closed(threaded: ThreadedConnection) -> ConnectionClosed:
    """The exception to raise after the connection has begun to close. Does not wait for its end."""
    connection = threaded.connection
    verdict = connection.closed
    assert verdict is not None, "asked only once the connection closes"
    rcvd, sent = connection.peer_close, connection.close_sent
    if rcvd is not None and sent is None and not threaded.gone.is_set():
        sent = rcvd  # the reader is about to answer it
    first = None if rcvd is None or sent is None else connection.peer_closed_first
    good = _is_good(rcvd) and _is_good(sent)
    if rcvd is None and not threaded.gone.is_set():
        good = _is_good(sent)  # its answer is still to come
    return (ConnectionClosedOK if good else ConnectionClosedError)(rcvd, sent, first, verdict=verdict)


def _is_good(frame: CloseFrame | None) -> bool:
    return frame is not None and frame.code in _GOOD


class Viewed(Protocol):
    """The attributes of a connection that this module reads."""

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
    """The attributes of `connection.protocol` that programs read. It cannot drive a connection."""

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
        """The exception that recv raises. Raises AssertionError before the end."""
        if self.state is not State.CLOSED:
            raise AssertionError("connection isn't closed yet")
        return closed(self.connection.threaded)
