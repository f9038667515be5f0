"""What the tests of the page share: one browser a module, a server, people at windows, and a bot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser import Cable
from tests.e2e.people import Bot, Room


@pytest.fixture
def room(driver: Any, chat_server: Any) -> Iterator[Room]:
    """Every server has a port of its own, so nothing that one test stored is seen by the next."""
    first = driver.current_window_handle
    room = Room(driver, chat_server.url)
    room.complaints()
    yield room
    for person in room.people:
        person.leave()
    driver.switch_to.window(first)


@pytest.fixture
def bot(chat_server: Any) -> Iterator[Bot]:
    bot = Bot(chat_server.port, "bot")
    yield bot
    bot.close()


@pytest.fixture
def cable(chat_server: Any) -> Iterator[Cable]:
    cable = Cable(chat_server.port)
    yield cable
    cable.close()
