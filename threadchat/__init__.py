"""A WebSocket chat server and a synchronous library, for Python programs that live on threads.

Each part can be used by itself. Everything may be used from any thread, and nothing needs an event loop.

- Rooms in this process, without sockets: a `Room` has people, numbered events and subscribers. A `Hub` keeps
  many rooms by name. `JsonLines` writes events to a file.
- A chat in the browser: `Chat` serves rooms over WebSockets, on its own port (`listen`) or inside your WSGI
  application (`mount`). Hooks ask your program who somebody is and what they may do. Your program can emit
  its own events and add its own commands, which receive a `Caller`. A `Config` holds the settings.
  `python -m threadchat` runs a `Chat` as a program.
- A client: `Client` has a method for every command, and iterates over events.
- WebSockets without a chat: `serve` and `connect` work as in `websockets.sync`, `accept` as in
  simple-websocket, and there is `broadcast`. To move an existing program over, change its imports: see
  `threadchat.plain.websockets`, `threadchat.plain.simple_websocket` and `threadchat.plain.flask_sock`.
- Support for your tests: `threadchat.testing`, also as pytest fixtures.

Every exception raised on purpose is a `ThreadchatError`. `CommandError` means that a command was refused, and
carries a code. Others are `RoomClosed`, `SlowConsumer`, `ConnectionClosed` and `ConfigError`.

    from threadchat import Room

    room = Room("GoChat")
    stream = room.add("ann", "laptop")
    room.message("ann", "hello")
    room.close()
    for event in stream:
        print(event.id, event.type, event.nickname, event.message)

Each name is imported when it is first used, so a program that only uses rooms does not load the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from threadchat.version import __version__ as __version__

if TYPE_CHECKING:
    from threadchat.broker.memory import MemoryBroker
    from threadchat.chat.delivery.stream import EventStream
    from threadchat.chat.delivery.subscription import Filter
    from threadchat.chat.eventlog.json_lines import JsonLines
    from threadchat.chat.hub import Hub
    from threadchat.chat.log.events import Draft, Event, Position, Record
    from threadchat.chat.presence import Occupant
    from threadchat.chat.room import Room
    from threadchat.client.client import Client
    from threadchat.client.event import ChatEvent
    from threadchat.config.settings import Config
    from threadchat.errors import (
        BadUrl,
        CannotConnect,
        CommandError,
        ConcurrencyError,
        ConfigError,
        ConnectionClosed,
        ConnectionClosedError,
        ConnectionClosedOK,
        ConnectTimeout,
        HandshakeRefused,
        NoSocket,
        Refuse,
        RoomClosed,
        SlowConsumer,
        ThreadchatError,
    )
    from threadchat.plain.broadcast import broadcast
    from threadchat.plain.client import ClientConnection, connect, unix_connect
    from threadchat.plain.connection import WebSocket
    from threadchat.plain.handshake import ServerConnection
    from threadchat.plain.server import serve, unix_serve
    from threadchat.plain.simple_websocket import accept
    from threadchat.publisher import Publisher
    from threadchat.server.auth.hooks import SessionInfo
    from threadchat.server.auth.users import User
    from threadchat.server.chat import Chat
    from threadchat.server.session.caller import Caller

# The module of each public name. A name is imported when it is first used.
_HOMES = {
    "BadUrl": "threadchat.errors",
    "Caller": "threadchat.server.session.caller",
    "CannotConnect": "threadchat.errors",
    "Chat": "threadchat.server.chat",
    "ChatEvent": "threadchat.client.event",
    "Client": "threadchat.client.client",
    "ClientConnection": "threadchat.plain.client",
    "CommandError": "threadchat.errors",
    "ConcurrencyError": "threadchat.errors",
    "Config": "threadchat.config.settings",
    "ConfigError": "threadchat.errors",
    "ConnectTimeout": "threadchat.errors",
    "ConnectionClosed": "threadchat.errors",
    "ConnectionClosedError": "threadchat.errors",
    "ConnectionClosedOK": "threadchat.errors",
    "Draft": "threadchat.chat.log.events",
    "Event": "threadchat.chat.log.events",
    "EventStream": "threadchat.chat.delivery.stream",
    "Filter": "threadchat.chat.delivery.subscription",
    "HandshakeRefused": "threadchat.errors",
    "Hub": "threadchat.chat.hub",
    "JsonLines": "threadchat.chat.eventlog.json_lines",
    "MemoryBroker": "threadchat.broker.memory",
    "NoSocket": "threadchat.errors",
    "Occupant": "threadchat.chat.presence",
    "Position": "threadchat.chat.log.events",
    "Publisher": "threadchat.publisher",
    "Record": "threadchat.chat.log.events",
    "Refuse": "threadchat.errors",
    "Room": "threadchat.chat.room",
    "RoomClosed": "threadchat.errors",
    "ServerConnection": "threadchat.plain.handshake",
    "SessionInfo": "threadchat.server.auth.hooks",
    "SlowConsumer": "threadchat.errors",
    "ThreadchatError": "threadchat.errors",
    "User": "threadchat.server.auth.users",
    "WebSocket": "threadchat.plain.connection",
    "accept": "threadchat.plain.simple_websocket",
    "broadcast": "threadchat.plain.broadcast",
    "connect": "threadchat.plain.client",
    "serve": "threadchat.plain.server",
    "unix_connect": "threadchat.plain.client",
    "unix_serve": "threadchat.plain.server",
}
__all__ = [
    "BadUrl",
    "Caller",
    "CannotConnect",
    "Chat",
    "ChatEvent",
    "Client",
    "ClientConnection",
    "CommandError",
    "ConcurrencyError",
    "Config",
    "ConfigError",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Draft",
    "Event",
    "EventStream",
    "Filter",
    "HandshakeRefused",
    "Hub",
    "JsonLines",
    "MemoryBroker",
    "NoSocket",
    "Occupant",
    "Position",
    "Publisher",
    "Record",
    "Refuse",
    "Room",
    "RoomClosed",
    "ServerConnection",
    "SessionInfo",
    "SlowConsumer",
    "ThreadchatError",
    "User",
    "WebSocket",
    "accept",
    "broadcast",
    "connect",
    "serve",
    "unix_connect",
    "unix_serve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'threadchat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
