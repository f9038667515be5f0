"""What tests of a whole chat share, unless they have their own: a chat that knows people, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from threadchat.config.settings import Config
from threadchat.server.chat import Chat
from threadchat.testing import InMemory


@pytest.fixture(params=["memory", "sqlite"])
def chat(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Chat]:
    broker = "memory" if request.param == "memory" else f"sqlite:{tmp_path}/chat.db"
    with Chat(Config(port=0, broker=broker), authenticate=lambda environ: environ.get("HTTP_X_USER")) as made:
        yield made


@pytest.fixture
def memory(chat: Chat) -> Iterator[InMemory]:
    with InMemory(chat) as made:
        yield made
