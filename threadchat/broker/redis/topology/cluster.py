"""The masters of a Redis Cluster: each has a part of the slots, and a command goes to that of its key."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Final

import redis
import redis.cluster
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisClusterException, RedisError

from threadchat.broker.redis.topology import pool
from threadchat.broker.redis.topology.interface import CONNECTIONS, Command
from threadchat.broker.redis.topology.urls import Address

Server = tuple[str, int]

REDIRECTIONS: Final = 4
"""How often a command follows a slot that is elsewhere. Each time it has not been run."""
LOOK_TIMEOUT: Final = 0.5
"""Seconds to wait for a server that is asked which slots are where. Others know it too."""

_redis: Final[Any] = redis  # only partly typed


class ClusterMasters:
    """See Topology. Which slots are where is RedisCluster's business; it connects with the first command.

    `_lock` guards `_client` and `_looked`. It is held while RedisCluster asks for the slots, so that others
    wait for the answer. `_pools_lock`, a leaf, guards `_pools`.
    """

    clustered = True

    def __init__(self, address: Address, timeout: float, **options: Any) -> None:
        """`options` are those of the connections. Raises ValueError or TypeError for an option that redis-py
        does not understand.
        """
        self._seeds, self._timeout = address.servers, timeout
        self._options = {**address.options, **options}
        self._tls = address.tls
        self._lock = threading.Lock()
        self._client: Any = None
        self._looked = 0.0  # when the last look began
        self._pools_lock = threading.Lock()
        self._pools: dict[Server, redis.ConnectionPool] = {}
        self.sharded = True
        self.on_changed: Callable[[], None] = lambda: None
        self.new_connection(address.servers[0])  # does not connect yet, but checks the options

    def send(self, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
        """See Topology. A server that cannot be reached answers its commands with the error."""
        answers: list[Any] = [None] * len(commands)
        servers = {i: self._server(_slot_of(command)) for i, command in enumerate(commands)}
        for _ in range(1 + REDIRECTIONS):
            began = monotonic()
            self._send_grouped(commands, servers, answers, replicas)
            moved = {i: answers[i] for i in servers if isinstance(answers[i], MovedError)}
            for i in servers.keys() - moved.keys():
                if isinstance(
                    answers[i], AskError
                ):  # its slot is on its way; only this command is to go there
                    answers[i] = self._ask(answers[i], commands[i], replicas)
            if not moved:
                break
            self._look(began)
            servers = {i: (told.host, told.port) for i, told in moved.items()}
        return answers

    def load(self, scripts: Sequence[bytes], commands: Sequence[Command]) -> None:
        """See Topology. Loads them on all masters, since the commands may be redirected."""
        loading = [("SCRIPT", "LOAD", script) for script in scripts]
        for server in self._masters():
            pool.send(self._pool(server), loading)

    def lasting_history(self) -> str:
        """See Topology. A replica may take over at any time."""
        return ""

    def server_of(self, channel: bytes | str) -> Server:
        """See Topology."""
        return self._server(key_slot(channel.encode() if isinstance(channel, str) else channel))

    def new_connection(self, server: Any) -> Any:
        """See Topology."""
        of = self._pool(server)
        return of.connection_class(**of.connection_kwargs)

    def look_again(self) -> None:
        """See Topology."""
        self._look(monotonic())

    def _look(self, since: float) -> None:
        """Asks which slots are where, unless somebody has begun to ask after that time."""
        with self._lock:
            if self._client is None or self._looked > since:
                return
            self._looked = monotonic()
            try:
                self._client.nodes_manager.initialize()
            except (RedisError, RedisClusterException):
                client, self._client = self._client, None  # next time from the servers of the URL
                _end(client)
                return
        self._drop_pools(self._masters())
        self.on_changed()

    def disconnect(self) -> None:
        """See Topology."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            _end(client)
        self._drop_pools(())

    # Helpers

    def _slots(self) -> Any:
        """RedisCluster. Raises redis-py's ConnectionError if no server answers."""
        client = self._client
        if client is not None:
            return client
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:
        kind = _redis.cluster
        seeds = [kind.ClusterNode(*server) for server in self._seeds]
        try:
            client = kind.RedisCluster(
                startup_nodes=seeds,
                require_full_coverage=False,
                ssl=self._tls,
                **{**self._options, "socket_timeout": LOOK_TIMEOUT, "socket_connect_timeout": LOOK_TIMEOUT},
            )
        except RedisClusterException as error:
            raise redis.ConnectionError(f"no server of the cluster answers: {error}") from None
        self.sharded = all(self._can_shard((node.host, node.port)) for node in client.get_primaries())
        return client

    def _can_shard(self, server: Server) -> bool:
        """Whether a server has sharded channels, as Redis has from version 7 on. True if it does not say."""
        try:
            return pool.send(self._pool(server), [("COMMAND", "INFO", "SPUBLISH")]) != [[None]]
        except RedisError:
            return True

    def _masters(self) -> set[Server]:
        return {(node.host, node.port) for node in self._slots().get_primaries()}

    def _server(self, slot: int) -> Server:
        try:
            node = self._slots().nodes_manager.get_node_from_slot(slot)
        except RedisClusterException as error:
            raise redis.ConnectionError(f"nobody has slot {slot}: {error}") from None
        return node.host, node.port

    def _pool(self, server: Server) -> redis.ConnectionPool:
        with self._pools_lock:
            found = self._pools.get(server)
            if found is None:
                host, port = server
                kind = _redis.SSLConnection if self._tls else _redis.Connection
                found = self._pools[server] = _redis.BlockingConnectionPool(
                    CONNECTIONS, self._timeout, kind, host=host, port=port, **self._options
                )
            return found

    def _drop_pools(self, but: Iterable[Server]) -> None:
        """Ends the connections to servers that are no longer masters."""
        with self._pools_lock:
            gone = [self._pools.pop(server) for server in self._pools.keys() - set(but)]
        for each in gone:
            each.disconnect()

    def _send_grouped(
        self, commands: Sequence[Command], servers: dict[int, Server], answers: list[Any], replicas: int
    ) -> None:
        """Sends some of the commands to their servers, then reads the answers of all."""
        groups: dict[Server, list[int]] = defaultdict(list)
        for i, server in servers.items():
            groups[server].append(i)
        exchanges = []
        try:
            for server in sorted(groups):  # in one order, so that nobody waits for another in a circle
                indexes = groups[server]
                exchange = pool.Exchange(self._pool(server), [commands[i] for i in indexes], replicas)
                exchanges.append((exchange, indexes))
                try:
                    exchange.send()
                except RedisError as error:
                    _fill(answers, indexes, error)
                    exchanges.pop()[0].end()
            for exchange, indexes in exchanges:
                try:
                    for i, answer in zip(indexes, exchange.receive(), strict=True):
                        answers[i] = answer
                except RedisError as error:
                    _fill(answers, indexes, error)
        finally:
            for exchange, _ in exchanges:
                exchange.end()

    def _ask(self, where: AskError, command: Command, replicas: int) -> Any:
        try:
            of = self._pool((where.host, where.port))
            return pool.send(of, [("ASKING",), command], replicas)[1]
        except RedisError as error:
            return error


def _end(client: Any) -> None:
    """Ends a RedisCluster and its connections, which its own `close` leaves to the garbage collector."""
    client.disconnect_connection_pools()
    client.close()


def _fill(answers: list[Any], indexes: Iterable[int], error: RedisError) -> None:
    for i in indexes:
        answers[i] = error


def _slot_of(command: Command) -> int:
    """The slot of a command's first key or channel. One without a key goes to any server."""
    key = command[3 if command[0] == "EVALSHA" else 1 :][:1]
    return key_slot(key[0].encode() if isinstance(key[0], str) else key[0]) if key else 0
