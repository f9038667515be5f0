"""Opens the broker that the `broker` setting names."""

from __future__ import annotations

from threadchat.broker.memory import MemoryBroker
from threadchat.chat.broker_interface import Broker
from threadchat.config.settings import Config
from threadchat.errors import BrokerError, ConfigError

NODES = 10
"""The number of nodes whose `max_rooms` fit into one Redis. It keeps a room for `room_ttl` after its last
use.
"""


def open_broker(setting: str, config: Config) -> Broker:
    """Opens `memory`, `sqlite:` with a path, or a redis://, rediss:// or unix:// URL.

    `config` has the broker's other settings. Raises BrokerError if the broker cannot be opened, and
    ConfigError for any other value. The modules of a broker are imported only when it is used.
    """
    scheme, _, rest = setting.partition(":")
    if setting == "memory":
        return MemoryBroker()
    if scheme == "sqlite" and rest:
        return _open_sqlite(rest, config)
    if scheme in ("redis", "rediss", "unix"):
        return _open_redis(setting, config)
    raise ConfigError(f"broker={setting!r:.80}: must be memory, sqlite:chat.db or redis://host:6379/0")


def _open_sqlite(path: str, config: Config) -> Broker:
    try:
        from threadchat.broker.sqlite import SqliteBroker
    except ImportError as error:  # fcntl, or a Python that was built without SQLite
        raise BrokerError(f"sqlite is not available here: {error}") from error
    return SqliteBroker(
        path,
        config.history_size,
        config.history_bytes,
        config.history_age,
        config.max_stored_rooms,
        inbox_size=_inbox_size(config),
        inbox_age=config.inbox_age,
        storage_bytes=config.storage_bytes,
    )


def _open_redis(url: str, config: Config) -> Broker:
    try:
        from threadchat.broker.redis import RedisBroker
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise BrokerError("redis needs redis-py: pip install 'threadchat[redis]'") from error
    return RedisBroker(
        url,
        config.history_size,
        config.history_bytes,
        history_age=config.history_age,
        room_ttl=config.room_ttl,
        send_timeout=config.send_timeout,
        presence_ttl=config.presence_ttl,
        max_rooms=config.max_rooms * NODES,
        storage_bytes=config.storage_bytes,
        inbox_size=_inbox_size(config),
        inbox_age=config.inbox_age,
    )


def _inbox_size(config: Config) -> int:
    """A log keeps at least one event. Without inboxes nothing is published in one, so 1 does no harm."""
    return max(1, config.inbox_size)
