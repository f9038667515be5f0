"""Chats on each kind of broker, where people with tokens and strangers come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.broker.redis_server import RedisServer
from tests.e2e.process import until
from threadchat import Chat, Config, ConnectionClosed
from threadchat.testing import InMemory
from threadchat.testing.peer import Peer

SECRET = "a-secret-that-is-long-enough-0123456789"
BROKERS = ("memory", "sqlite", "redis")


class Places:
    """Chats on one kind of broker. Where it is Redis, each is another node of the same cluster."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._redis = RedisServer(folder / "redis", lasting=False) if kind == "redis" else None
        self.url = {"memory": "memory", "sqlite": f"sqlite:{folder / 'chat.db'}"}.get(kind, "")
        if self._redis is not None:
            self.url = self._redis.url
        self._open: list[Any] = []

    def __call__(self, **options: Any) -> tuple[Chat, InMemory]:
        settings = {"broker": self.url, "token_key": SECRET, "anonymous": True, **options.pop("config", {})}
        chat = Chat(Config(**settings), **options)
        memory = InMemory(chat)
        self._open += [memory, chat]
        assert memory.connect().ask("ping")["type"] == "ok"
        until(lambda: chat.inspector.ready, "the broker is ready")
        return chat, memory

    def close(self) -> None:
        for item in self._open:
            item.close()
        self._open.clear()
        if self._redis is not None:
            self._redis.kill()


def end_of(peer: Peer) -> ConnectionClosed:
    try:
        while True:
            peer.next()
    except ConnectionClosed as closed:
        return closed
