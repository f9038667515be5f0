"""Nodes of a cluster in one process: hubs over brokers that share a Redis."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from tests.broker.brokers import Namespace
from tests.broker.redis_server import RedisServer
from tests.e2e.process import until
from threadchat.broker.redis import RedisBroker
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Event
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode

Result = TypeVar("Result")


class Cluster:
    """Makes nodes that share what no other test sees; ends all of them."""

    def __init__(self, server: RedisServer, stack: ExitStack) -> None:
        self.server = server
        self.prefix = Namespace.fresh(server.url).prefix
        self._stack = stack

    def broker(self, **options: Any) -> RedisBroker:
        """A node without a hub; ready."""
        broker = RedisBroker(self.server.url, prefix=self.prefix, **options)
        self._stack.callback(broker.close)
        assert broker.wait_ready(20)
        return broker

    def hub(self, *, hub_options: dict[str, Any] | None = None, **options: Any) -> Hub:
        """A node; its broker is ready."""
        hub = Hub(self.broker(**options), **(hub_options or {}))
        self._stack.callback(hub.close)
        return hub

    def stored(self) -> list[str]:
        """What is in Redis of this cluster."""
        with self.server.client() as client:
            return sorted(key.decode() for key in client.scan_iter(f"{self.prefix}:*"))


@contextmanager
def clusters(server: RedisServer) -> Iterator[Cluster]:
    """A cluster for a test."""
    with ExitStack() as stack:
        yield Cluster(server, stack)


def broker_of(hub: Hub) -> RedisBroker:
    """A hub's broker as what it is."""
    assert isinstance(hub.broker, RedisBroker)
    return hub.broker


@contextmanager
def no_socket_left() -> Iterator[None]:
    """All sockets that are opened meanwhile are closed then, before any collection of garbage."""
    gc.collect()  # what others have left
    gc.disable()
    before = _sockets()
    try:
        yield
        assert _sockets() <= before
    finally:
        gc.enable()


def _sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(entry.readlink()))
    return {each for each in found if each.startswith("socket:")}


def inspect_soon(*brokers: RedisBroker) -> None:
    """What nodes do every few seconds is due now. Call it again until it has had its effect."""
    for broker in brokers:
        broker.heartbeat._inspect_at = -inf
        broker.heartbeat.trouble()


def take(stream: EventStream, count: int) -> list[Event]:
    """The next events, waited for."""
    events: list[Event] = []
    while len(events) < count:
        events += stream.take(count - len(events), 20)
    return events


def told(stream: EventStream, count: int) -> list[tuple[str, str]]:
    """The next events: their types, and what was said or who it was."""
    return [(event.type, event.message or event.nickname) for event in take(stream, count)]


def level(*rooms: Room) -> None:
    """Waits until nodes have delivered the same."""
    until(lambda: len({room.fanout.head for room in rooms}) == 1, f"{rooms} are level")


def persist(action: Callable[[], Result]) -> Result:
    """What a client does: tries again as long as that is worth it."""
    while True:
        try:
            return action()
        except CommandError as error:
            if not error.temporary:
                raise


def refused(action: Callable[[], object]) -> ErrorCode:
    """Why something is refused."""
    try:
        action()
    except CommandError as error:
        return error.code
    raise AssertionError("it was not refused")
