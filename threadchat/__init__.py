"""A WebSocket chat server and a synchronous library, for Python programs that live on threads.

`Room` is a chat room without any server; `Hub` keeps many of them and knows who is online; `Chat`
serves them over WebSockets, as `python -m threadchat` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from threadchat.chat.eventlog import JsonLines
    from threadchat.chat.events import Event, Position
    from threadchat.chat.hub import Hub
    from threadchat.chat.room import Room
    from threadchat.chat.stream import EventStream
    from threadchat.config import Config
    from threadchat.server.service import Chat

# What is imported only when it is asked for: a program that has rooms alone needs no server.
_HOMES = {
    "Chat": "threadchat.server.service",
    "Config": "threadchat.config",
    "Event": "threadchat.chat.events",
    "EventStream": "threadchat.chat.stream",
    "Hub": "threadchat.chat.hub",
    "JsonLines": "threadchat.chat.eventlog",
    "Position": "threadchat.chat.events",
    "Room": "threadchat.chat.room",
}
__all__ = ["Chat", "Config", "Event", "EventStream", "Hub", "JsonLines", "Position", "Room"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'threadchat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
