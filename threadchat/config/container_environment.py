"""Recognises the variables that container engines set, for a Redis and for other services."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from threadchat.errors import ConfigError

HOST: Final = "REDIS_HOST"
PORT: Final = "REDIS_PORT"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 6379

_ADDRESS: Final = r"[0-9A-Fa-f.:]+"
_NUMBER: Final = r"\d{1,5}"
_PROTOCOL: Final = "tcp|udp|sctp"
_URL: Final = rf"(?:{_PROTOCOL})://.+:{_NUMBER}/?"
_PORT: Final = r"_PORT_\d{1,5}_(?:TCP|UDP|SCTP)"
_NAME: Final = r"/[^/]+/[^/]+"  # /who_links/alias

_LINKS: Final = [
    (re.compile(f"[A-Z0-9_]+?{name}"), re.compile(value))
    for name, value in (
        ("_SERVICE_HOST", _ADDRESS),
        (r"_SERVICE_PORT(?:_[A-Z0-9_]+)?", _NUMBER),
        ("_PORT", _URL),
        (rf"{_PORT}(?:_START|_END)?", _URL),
        (rf"{_PORT}_PROTO", _PROTOCOL),
        (rf"{_PORT}_PORT(?:_START|_END)?", _NUMBER),
        (rf"{_PORT}_ADDR", _ADDRESS),
        ("_NAME", _NAME),
    )
]
"""Names and values of the variables that Kubernetes sets in each pod for each service of its namespace, and
that Docker sets for each linked container."""


class ContainerRedis(NamedTuple):
    """The URL of a Redis, and the variable that it comes from."""

    url: str
    variable: str


def container_redis(environ: Mapping[str, str]) -> ContainerRedis | None:
    """The Redis that REDIS_HOST and REDIS_PORT describe; None if neither is set.

    Engines that link containers set REDIS_PORT to an address such as tcp://172.17.0.2:6379; REDIS_HOST
    overrides the host in it. Raises ConfigError for an invalid host or port.
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
        raise ConfigError(f"{HOST}={host!r:.80}: must be a host name or an address, without a port")
    name = host or address[1] or DEFAULT_HOST
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return ContainerRedis(f"redis://{name}:{int(address[2])}/0", HOST if host else PORT)


def is_link(variable: str, value: str, environ: Mapping[str, str]) -> bool:
    """Whether a container engine set this variable to describe a service or a linked container.

    For a service named `threadchat`, it sets THREADCHAT_SERVICE_HOST, THREADCHAT_PORT=tcp://10.0.0.5:80 and
    so on; for one named `threadchat-redis`, THREADCHAT_REDIS_SERVICE_HOST. Docker also passes on the
    environment of a linked container, as THREADCHAT_ENV_PATH, in addition to THREADCHAT_NAME.
    """
    alias, env, _ = variable.partition("_ENV_")
    if env:
        return re.fullmatch(_NAME, environ.get(f"{alias}_NAME", "")) is not None
    return any(name.fullmatch(variable) and shape.fullmatch(value) for name, shape in _LINKS)
