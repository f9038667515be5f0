"""Finds the Redis that a container engine, or whoever started the container, put into the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from threadchat.errors import ConfigError

HOST: Final = "REDIS_HOST"
PORT: Final = "REDIS_PORT"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 6379

_ADDRESS: Final = r"(?:tcp://(\[[0-9A-Fa-f:.]+\]|[\w.-]+):)?([0-9]{1,5})/?"


class ContainerRedis(NamedTuple):
    """A Redis, and the variable that told of it."""

    url: str
    variable: str


def container_redis(environ: Mapping[str, str]) -> ContainerRedis | None:
    """The Redis of REDIS_HOST and REDIS_PORT; None where neither is set.

    Engines that link containers set REDIS_PORT to an address, tcp://172.17.0.2:6379; REDIS_HOST comes before
    the host in there. Raises ConfigError for values that are no host, and no port.
    """
    host, port = environ.get(HOST, ""), environ.get(PORT, "")
    if not host and not port:
        return None
    address = re.fullmatch(
        r"(?:tcp://(\[[0-9A-Fa-f:.]+\]|[\w.-]+):)?([0-9]{1,5})/?", port or str(DEFAULT_PORT)
    )
    if address is None or not 0 < int(address[2]) < 65_536:
        raise ConfigError(f"{PORT}={port!r:.80}: must be from 1 to 65535, or such as tcp://172.17.0.2:6379")
    if not re.fullmatch(r"([\w.-]+|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]?)?", host):
        raise ConfigError(f"{HOST}={host!r:.80}: must be a host name or an address, without port")
    name = host or address[1] or DEFAULT_HOST
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return ContainerRedis(f"redis://{name}:{int(address[2])}/0", HOST if host else PORT)
