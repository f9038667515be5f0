"""A node's subscribed connections: one for each server on which it has channels."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError

from threadchat.broker.redis.topology.interface import Topology

AT_ONCE: Final = 64
"""The maximum number of messages to read before passing them on. Messages that arrive together are delivered
together.
"""
CHUNK: Final = 512
"""The number of channels in one SUBSCRIBE."""

MESSAGE: Final = b"message"
SUBSCRIBED: Final = b"subscribe"
UNSUBSCRIBED: Final = b"unsubscribe"
_KINDS: Final = {b"smessage": MESSAGE, b"ssubscribe": SUBSCRIBED, b"sunsubscribe": UNSUBSCRIBED}


class Reply(NamedTuple):
    """What a server says of a channel."""

    kind: bytes
    channel: bytes
    payload: Any


class Listeners:
    """Every method runs on the subscriber's thread, and raises redis-py's RedisError or OSError.

    Only one thread uses the connections, because two cannot read and write a TLS socket at once.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._connections: dict[Any, Any] = {}
        self._places: dict[bytes, Any] = {}
        self.moved: set[bytes] = set()
        """Channels that a server gave away while they were subscribed there."""

    def subscribe(self, channels: Iterable[bytes], new_connection: Callable[[Any], Any]) -> None:
        """Subscribes to channels where they are now. If one was subscribed elsewhere, ends that."""
        servers: dict[Any, list[bytes]] = defaultdict(list)
        left: list[bytes] = []
        for channel in channels:
            server = self._topology.server_of(channel)
            servers[server].append(channel)
            if self._places.get(channel, server) != server:
                left.append(channel)
        self.unsubscribe(left)
        for server, some in servers.items():
            if server not in self._connections:
                self._connections[server] = connection = new_connection(server)
                connection.connect()
            self._places.update(dict.fromkeys(some, server))
            self._send(server, "SUBSCRIBE", some)

    def unsubscribe(self, channels: Iterable[bytes]) -> list[bytes]:
        """Unsubscribes from channels, wherever they are subscribed. Returns those that are nowhere."""
        servers: dict[Any, list[bytes]] = defaultdict(list)
        nowhere: list[bytes] = []
        for channel in channels:
            if channel in self._places:
                servers[self._places.pop(channel)].append(channel)
            else:
                nowhere.append(channel)
        for server, some in servers.items():
            self._send(server, "UNSUBSCRIBE", some)
        return nowhere

    def elsewhere(self) -> list[bytes]:
        """The channels that are on another server now than where they are subscribed."""
        return [channel for channel, at in self._places.items() if self._topology.server_of(channel) != at]

    def wait(self, wake: socket.socket) -> None:
        """Waits until there is something to read, or something arrives at `wake`."""
        waiting = select.poll()  # `select` cannot handle descriptors above 1,023
        waiting.register(wake, select.POLLIN)
        for connection in self._connections.values():
            # redis-py has no public name for its socket, and no other way to wait for several things.
            if connection._sock is None:
                raise ConnectionResetError("the connection was closed")
            waiting.register(connection._sock, select.POLLIN)
        waiting.poll()

    def read(self) -> list[Reply]:
        """Reads what has arrived, some of it if it is much."""
        replies: list[Reply] = []
        for server, connection in self._connections.items():
            room = len(replies) + AT_ONCE
            while len(replies) < room and connection.can_read(timeout=0):
                kind, channel, payload = connection.read_response()
                kind = _KINDS.get(kind, kind)
                if kind == UNSUBSCRIBED and self._topology.sharded and self._places.get(channel) == server:
                    del self._places[channel]
                    self.moved.add(channel)
                replies.append(Reply(kind, channel, payload))
        return replies

    def close(self) -> None:
        """Ends the connections. Raises nothing."""
        for connection in self._connections.values():
            with contextlib.suppress(RedisError, OSError):
                connection.disconnect()
        self._connections.clear()
        self._places.clear()
        self.moved.clear()

    def _send(self, server: Any, verb: str, channels: list[bytes]) -> None:
        if self._topology.sharded:
            verb = f"S{verb}"
        step = 1 if self._topology.sharded else CHUNK  # the channels of one SSUBSCRIBE must be in one slot
        for start in range(0, len(channels), step):
            self._connections[server].send_command(verb, *channels[start : start + step], check_health=False)
