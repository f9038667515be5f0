"""What both sides of a connection have in common, by the names of `websockets.sync.connection`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from threadchat.plain import options
from threadchat.plain.broadcast import broadcast as _broadcast
from threadchat.plain.connection import WebSocket as Connection
from threadchat.plain.messages import Message

__all__ = ["Connection", "broadcast"]


def broadcast(
    connections: Iterable[Connection],
    message: Message,
    *,
    raise_exceptions: bool = False,
    text: bool | None = None,
    **left_out: Any,
) -> None:
    """Sends `message` on all of `connections` that are open; see `threadchat.broadcast`.

    It needs no pool of threads, so `max_workers` and what else is for one is a TypeError.
    """
    options.refuse_unknown("broadcast", left_out)
    _broadcast(connections, message, text=text, raise_exceptions=raise_exceptions)
