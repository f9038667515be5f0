"""Opens the servers that the `broker` setting names, and refuses URLs that cannot work."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.backoff import NoBackoff
from redis.retry import Retry

from threadchat.broker.redis.topology.cluster import ClusterMasters
from threadchat.broker.redis.topology.interface import Topology
from threadchat.broker.redis.topology.sentinel import SentinelMaster
from threadchat.broker.redis.topology.single import Single
from threadchat.broker.redis.topology.urls import REDIS_PORT, SENTINEL_PORT, read_address
from threadchat.errors import ConfigError

_OURS: Final = {"protocol", "decode_responses", "encoding", "encoding_errors", "retry"}
"""Options of redis-py that change the form of its answers or make it send something twice."""
_SENTINEL: Final = ("redis-sentinel", "rediss-sentinel")
_CLUSTER: Final = ("redis-cluster", "rediss-cluster")
_UNQUOTED: Final = (
    "the URL cannot be read; percent-encode special characters in user and password, such as / as %2F"
)


def open_topology(url: str, timeout: float) -> Topology:
    """Does not connect yet. `timeout` is in seconds. Raises ConfigError if the URL cannot work."""
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    _check(url)
    try:
        if url.startswith(_SENTINEL):
            return SentinelMaster(read_address(url, SENTINEL_PORT), timeout, **options)
        if url.startswith(_CLUSTER):
            return ClusterMasters(read_address(url, REDIS_PORT), timeout, **options)
        return Single(url, timeout, **options)
    except ValueError as error:
        # The text of the error may contain a part of the password.
        why = _UNQUOTED if "@" in url else error
        raise ConfigError(f"broker: {why}") from None
    except TypeError as error:
        raise ConfigError(f"broker: an option after the ? is not one of redis-py's: {error}") from error


def _check(url: str) -> None:
    """Raises ConfigError for parts of a URL that redis-py accepts but that cannot work."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"broker: {_UNQUOTED if '@' in url else error}") from None
    if "@" in parts.path + parts.query + parts.fragment and parts.scheme != "unix":
        raise ConfigError(f"broker: {_UNQUOTED}")
    if taken := sorted(parse_qs(parts.query).keys() & _OURS):
        raise ConfigError(f"broker: {taken[0]} cannot be set in the URL; the chat needs it as it is")
    if parts.scheme in _SENTINEL:
        if not re.fullmatch(r"/[^/]+", parts.path):
            raise ConfigError(
                "broker: the name of the service is missing, as in redis-sentinel://host:26379/mymaster"
            )
    elif parts.scheme in _CLUSTER:
        if parts.path.strip("/") or "db" in parse_qs(parts.query):
            raise ConfigError("broker: a Redis Cluster has no databases; leave out what follows the hosts")
    elif parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ConfigError(
            f"broker: {parts.path!r} names no database; it is a number, as in redis://host:6379/0"
        )
