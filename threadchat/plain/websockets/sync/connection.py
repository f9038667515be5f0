"""What both sides of a connection share, with the names of `websockets.sync.connection`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from threadchat.plain import options
from threadchat.plain.broadcast import broadcast as _broadcast
from threadchat.plain.connection import WebSocket as Connection
from threadchat.plain.messages import Message

_OF_A_POOL: Final = frozenset({"max_workers", "thread_name_prefix", "initializer", "initargs"})

__all__ = ["Connection", "broadcast"]


def broadcast(
    connections: Iterable[Connection],
    message: Message,
    *,
    raise_exceptions: bool = False,
    text: bool | None = None,
    **pool: Any,
) -> None:
    """Sends `message` on all open connections of `connections`; see `threadchat.broadcast`.

    It needs no thread pool, so `max_workers` and other options of one have no effect.
    """
    options.refuse_unknown("broadcast", pool.keys() - _OF_A_POOL)
    _broadcast(connections, message, text=text, raise_exceptions=raise_exceptions)
