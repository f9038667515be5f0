"""One Redis server, or the name of one that a managed service moves to another machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
from redis.exceptions import ReadOnlyError, RedisError

from threadchat.broker.redis.topology import pool
from threadchat.broker.redis.topology.interface import CONNECTIONS, Command

_POLICY: Final = {b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}
"""With these, a server answers when the write is on disk."""


class OneServer:
    """See Topology. The part that all kinds with one server, and one pool of connections to it, share."""

    clustered = sharded = False

    def __init__(self, connections: redis.ConnectionPool) -> None:
        """Raises ValueError or TypeError for an option that redis-py does not understand."""
        self.on_changed: Callable[[], None] = lambda: None
        self._pool = connections
        self.new_connection()  # does not connect yet, but checks the options

    def send(self, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
        """See Topology."""
        return pool.send(self._pool, commands, replicas)

    def load(self, scripts: Sequence[bytes], commands: Sequence[Command]) -> None:
        """See Topology."""
        self.send([("SCRIPT", "LOAD", script) for script in scripts])

    def server_of(self, channel: bytes) -> None:
        """See Topology."""

    def look_again(self) -> None:
        """See Topology."""

    def new_connection(self, server: Any = None) -> Any:
        """See Topology."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def disconnect(self) -> None:
        """See Topology."""
        self._pool.disconnect()


class Single(OneServer):
    """See Topology."""

    def __init__(self, url: str, timeout: float, **options: Any) -> None:
        """`options` are those of the connections. Raises ValueError or TypeError for a URL or an option that
        redis-py does not understand.
        """
        super().__init__(
            redis.BlockingConnectionPool.from_url(
                url, max_connections=CONNECTIONS, timeout=timeout, **options
            )
        )

    def send(self, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
        """See Topology."""
        answers = super().send(commands, replicas)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            self.disconnect()  # it is a replica now; its name resolves to the new primary
        return answers

    def lasting_history(self) -> str:
        """See Topology."""
        told, info = self.send([("CONFIG", "GET", *_POLICY), ("INFO", "replication")])
        if isinstance(told, RedisError) or isinstance(info, RedisError):  # a user who may not ask
            return ""
        if dict(zip(told[::2], told[1::2], strict=True)) != _POLICY:
            return ""
        facts = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
        return facts["master_replid"] if facts.get("connected_slaves") == "0" else ""
