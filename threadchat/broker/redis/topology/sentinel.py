"""The Redis server that Sentinel says is the master of a service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import redis
import redis.sentinel

from threadchat.broker.redis.topology.interface import CONNECTIONS
from threadchat.broker.redis.topology.single import OneServer
from threadchat.broker.redis.topology.urls import Address

_redis: Final[Any] = redis  # only partly typed


class SentinelMaster(OneServer):
    """See Topology. Each new connection asks a Sentinel where the master is.

    redis-py turns a master's answer that it is not one into a connection error.
    """

    def __init__(self, address: Address, timeout: float, **options: Any) -> None:
        """`options` are those of the connections to Sentinels and master. Raises ValueError or TypeError for
        an option that redis-py does not understand.
        """
        tls = address.tls_options() if address.tls else {}
        asking = {**options, **tls, **address.sentinel_login, "ssl": address.tls}
        client = _redis.sentinel
        kind = client.SentinelManagedSSLConnection if address.tls else client.SentinelManagedConnection
        self._master = _Master(client.Sentinel(address.servers, sentinel_kwargs=asking), address.service)
        super().__init__(
            _redis.BlockingConnectionPool(
                CONNECTIONS, timeout, kind, **{**address.options, **options, "connection_pool": self._master}
            )
        )
        self._master.on_changed = self._pool.disconnect

    def lasting_history(self) -> str:
        """See Topology. Another server may take over at any time."""
        return ""

    def disconnect(self) -> None:
        """See Topology."""
        super().disconnect()
        self._master.disconnect()


class _Master:
    """What redis-py's connections ask for their address. Its own pool for them does not wait if it is empty.

    `_lock`, a leaf, guards `_address`.
    """

    is_master = True
    check_connection = False

    def __init__(self, sentinels: Any, service: str) -> None:
        self.service_name = service
        self._sentinels = sentinels
        self._lock = threading.Lock()
        self._address: tuple[str, int] | None = None
        self.on_changed: Callable[[], None] = lambda: None

    def disconnect(self) -> None:
        """Ends the connections to the Sentinels."""
        for each in self._sentinels.sentinels:
            each.connection_pool.disconnect()

    def get_master_address(self) -> tuple[str, int]:
        """Asks the Sentinels, one after the other. Raises redis-py's ConnectionError if none knows a master.

        If there is another one than before, ends the connections to that one.
        """
        try:
            address: tuple[str, int] = self._sentinels.discover_master(self.service_name)
        except _redis.sentinel.MasterNotFoundError:  # its text lists everything about each Sentinel
            raise redis.ConnectionError(f"no Sentinel knows a master of {self.service_name!r}") from None
        with self._lock:
            before, self._address = self._address, address
        if before not in (None, address):
            self.on_changed()
        return address
