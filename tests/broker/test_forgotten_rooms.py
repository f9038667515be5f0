"""A room that was forgotten leaves nothing behind that only a full garbage collection would find."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tests.broker.brokers import Kind, Make
from tests.chat.helpers import say
from tests.server.session_helpers import until
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Event


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("listening", [False, True])
def test_its_log_goes_with_it(kind: Kind, make: Make, listening: bool) -> None:
    heard: list[str] = []

    def listener(event: Event) -> None:
        heard.append(event.message)

    hub = Hub(make(), max_rooms=1)
    if listening:
        hub.attach_listener(listener)
    hub.publish("first", say("a", "b"))
    left = [weakref.ref(hub.room("first").fanout), weakref.ref(hub.room("first").channel)]
    if listening:
        until(lambda: heard == ["a", "b"])
    hub.publish("second", say("c"))
    assert [room.name for room in hub.rooms()] == ["second"]
    until(lambda: not any(each() for each in left))
    hub.close()
