"""Connections that are behind in very many rooms: one thread feeds each of them, all rooms in turn."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic, sleep

import pytest

from threadchat.chat.delivery.subscription import REPLAY_STEP
from threadchat.chat.log.events import MESSAGE, Draft
from threadchat.testing import LiveServer, Peer
from threadchat.wire.connection import Connection

PATIENCE = 60.0
RECEIVE_BUFFER = 1 << 16
"""Bytes: a small part of what is replayed, so that the producer soon waits for a peer that does not read."""
STEPS = 3
"""That a producer makes in each room until it is level there."""


def until(condition: Callable[[], object]) -> None:
    """Blocks until so it is."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "it never came to that"
        sleep(0.01)


def threads_of(connection: Connection) -> list[str]:
    """The names of a connection's threads, without its number."""
    names = [thread.name.split("-") for thread in threading.enumerate()]
    return sorted(name[0] for name in names if name[1:2] == [str(connection.number)])


def subscribe_unread(server: LiveServer, peer: Peer, rooms: int) -> Connection:
    """Subscribes to all rooms from their first event on, and reads none of it."""
    user = peer.ask("hello", nickname="slow")["user"]
    [connection] = [it for it in server.chat.registry.connections() if f"user {user} " in it.label]
    for room in range(rooms):
        since = {"offset": 0, "epoch": server.chat.hub.room(f"r{room}").fanout.head.epoch}
        peer.send({"type": "subscribe", "room": f"r{room}", "since": since})  # no id, and so no reply
    return connection


def read_to_the_end(peer: Peer, rooms: int) -> list[tuple[str, int]]:
    """The rooms and offsets of all events until each room is live."""
    events, live = [], 0
    while live < rooms:
        item = peer.next()
        live += item["type"] == "live"
        if item["type"] == MESSAGE:
            events.append((item["chatroomId"], item["id"]))
    return events


def check_order_and_fairness(events: list[tuple[str, int]], rooms: int) -> None:
    """Each room is in order and without holes; the last one began before the others were level."""
    had: Counter[str] = Counter()
    end = STEPS * REPLAY_STEP
    level_when_the_last_began = None
    for room, offset in events:
        had[room] += 1
        assert offset == had[room], "a hole, a duplicate, or another order"
        if level_when_the_last_began is None and len(had) == rooms:
            level_when_the_last_began = sum(count == end for count in had.values())
    assert list(had.values()) == [end] * rooms
    assert level_when_the_last_began is not None
    assert level_when_the_last_began < rooms / 2, "the last room waited until others were served to their end"


@pytest.mark.parametrize(("connections", "rooms"), [(1, 500), (3, 1000)])
def test_slow_connections_have_three_threads_each_however_many_rooms_they_are_behind_in(
    connections: int, rooms: int
) -> None:
    with LiveServer(send_timeout=PATIENCE, write_timeout=PATIENCE, ping_interval=110) as server:
        hub = server.chat.hub
        for room in range(rooms):
            hub.publish(f"r{room}", [Draft(MESSAGE, 1, "ann", "x" * 100)] * (STEPS * REPLAY_STEP))
        peers = [
            Peer(server.url, receive_buffer=RECEIVE_BUFFER, timeout=PATIENCE) for _ in range(connections)
        ]
        slow = [subscribe_unread(server, peer, rooms) for peer in peers]
        until(lambda: len(hub.room(f"r{rooms - 1}").fanout._behind) == connections)
        for connection in slow:
            assert threads_of(connection) == ["producer", "reader", "writer"]
        for peer, connection in zip(peers, slow, strict=True):
            check_order_and_fairness(read_to_the_end(peer, rooms), rooms)
            until(lambda connection=connection: threads_of(connection) == ["reader", "writer"])  # type: ignore[misc]
        for peer in peers:
            peer.close()
