"""Reads the URLs of several servers, which redis-py does not read."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import redis.connection

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_client: Any = redis.connection  # only partly typed
_SENTINEL_LOGIN: Final = {"sentinel_username": "username", "sentinel_password": "password"}


class Address(NamedTuple):
    """A URL of several servers.

    `servers` are host and port of each that is asked for the others; `options` those of connections to the
    servers with the data, and `sentinel_login` the user and password of the Sentinels.
    """

    servers: list[tuple[str, int]]
    service: str
    tls: bool
    options: dict[str, Any]
    sentinel_login: dict[str, str]

    def tls_options(self) -> dict[str, Any]:
        """The options that say how to check a certificate."""
        return {name: value for name, value in self.options.items() if name.startswith("ssl_")}


def read_address(url: str, port: int) -> Address:
    """Reads `redis-sentinel://user:password@host:port,host:port/service?option=value`, or redis-cluster,
    which has no service; with rediss, TLS.

    `port` is that of servers without one. Raises ValueError.
    """
    scheme, _, rest = url.partition("://")
    tls = scheme.startswith("rediss-")
    split = urlsplit(f"//{rest}")
    user, at, hosts = split.netloc.rpartition("@")
    servers = [_server(host, port) for host in hosts.split(",")]
    query = f"?{split.query}" if split.query else ""
    options = _client.parse_url(f"{'rediss' if tls else 'redis'}://{user}{at}host/{query}")
    for name in ("host", "port", "path", "connection_class"):
        options.pop(name, None)
    login = {each: options.pop(name) for name, each in _SENTINEL_LOGIN.items() if name in options}
    return Address(servers, unquote(split.path.strip("/")), tls, options, login)


def _server(host: str, port: int) -> tuple[str, int]:
    split = urlsplit(f"//{host}")
    if not split.hostname:
        raise ValueError("a host is missing; the servers are host:port, separated by commas")
    return split.hostname, port if split.port is None else split.port
