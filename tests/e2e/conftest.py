"""What the tests of the page share: one browser a module, a server, people at windows, and a bot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser import Cable
from tests.e2e.people import Bot, Room, port_of
from threadchat import Chat, Config


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server in this process, which starts at once; `chat_server` where a test has that, to restart it."""
    if "chat_server" in request.fixturenames:
        yield request.getfixturevalue("chat_server").url
        return
    with Chat(Config(port=0)) as chat:
        chat.listen()
        yield chat.url.rstrip("/")


@pytest.fixture
def room(driver: Any, server_url: str) -> Iterator[Room]:
    """Every server has a port of its own, so nothing that one test stored is seen by the next."""
    first = driver.current_window_handle
    room = Room(driver, server_url)
    room.complaints()
    yield room
    for person in room.people:
        person.leave()
    driver.switch_to.window(first)


@pytest.fixture
def bot(server_url: str) -> Iterator[Bot]:
    bot = Bot(port_of(server_url), "bot")
    yield bot
    bot.close()


@pytest.fixture
def cable(server_url: str) -> Iterator[Cable]:
    cable = Cable(port_of(server_url))
    yield cable
    cable.close()
