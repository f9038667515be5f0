"""Covers `broker/opening.py`: which broker a setting opens, and with which limits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.broker.brokers import opened
from tests.chat.helpers import say
from threadchat.broker.memory import MemoryBroker
from threadchat.broker.opening import open_broker
from threadchat.broker.sqlite import SqliteBroker
from threadchat.broker.sqlite.room_store import Retention
from threadchat.chat.log.events import inbox_of
from threadchat.config.settings import Config
from threadchat.errors import BrokerError, ConfigError

CONFIG = Config(history_size=3, history_bytes=600_000, history_age=60, room_ttl=7, send_timeout=2)


def test_memory() -> None:
    assert isinstance(open_broker("memory", CONFIG), MemoryBroker)


def test_a_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broker = open_broker("sqlite:chat.db", CONFIG)
    assert isinstance(broker, SqliteBroker)
    assert broker.path == tmp_path / "chat.db"
    assert broker.retention_of("r") == Retention(3, 600_000, 60)
    assert broker.retention_of(inbox_of(7)) == Retention(256, 600_000, 7 * 86_400)
    assert broker._limits.rooms == CONFIG.max_stored_rooms
    monkeypatch.chdir("/")
    assert opened(broker).put(*say("a")) == [1], "a relative path is not looked up twice"
    broker.close()
    with pytest.raises(BrokerError, match="there is no folder"):
        open_broker("sqlite:missing/chat.db", CONFIG)


def test_a_redis() -> None:
    pytest.importorskip("redis")
    from threadchat.broker.redis import RedisBroker

    for url in ("redis://127.0.0.1:1/0", "rediss://user:secret@127.0.0.1:1/0", "unix:///nowhere.sock"):
        broker = open_broker(url, CONFIG)
        assert isinstance(broker, RedisBroker)
        broker.close()


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("threadchat.broker.", "redis"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(BrokerError, match="redis needs redis-py: pip install"):
        open_broker("redis://127.0.0.1", CONFIG)
    with pytest.raises(BrokerError, match="sqlite is not available here: "):
        open_broker("sqlite:chat.db", CONFIG)


@pytest.mark.parametrize("setting", ["", "sqlite", "sqlite:", "postgres://a", "memory:"])
def test_anything_else_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_broker(setting, CONFIG)
    assert str(caught.value) == (f"broker={setting!r}: must be memory, sqlite:chat.db or redis://host:6379/0")
