"""Tests of what operators see: figures of connections whose every number is known."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.server.operators_helpers import FakeConnection, FakeOutbox, session
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.server.admin.snapshot import FRESH, NO_ANSWER, ORDERS, SLOWEST, Inspector, Spread
from threadchat.server.session.statistics import Statistics
from threadchat.testing.clock import FakeClock
from threadchat.wire.connection import ConnectionState


class House:
    """A hub, a statistics and an inspector, in fake time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.hub = Hub(MemoryBroker(), clock=self.clock)
        self.statistics = Statistics(lambda connection: None, self.clock)
        self.inspector = Inspector(self.statistics, self.hub, self.clock)
        self.connections = 0

    def come(self, who: Any = None, outbox: FakeOutbox | None = None, **counters: Any) -> Any:
        self.connections += 1
        connection: Any = FakeConnection(self.connections, **counters)
        connection.outbox = outbox or FakeOutbox()
        self.statistics.came(connection)
        if who is not None:
            self.statistics.note_session(connection, who)
        return connection


@pytest.fixture
def house() -> House:
    return House()


def test_a_spread_puts_each_value_into_its_class() -> None:
    spread = Spread((0, 1, 5))
    for value in (0, 0, 1, 2, 5, 6, 100):
        spread.add(value)
    assert spread.as_dict() == {"bounds": (0, 1, 5), "counts": [2, 1, 2, 2], "sum": 114.0, "highest": 100}


def test_nobody_is_there(house: House) -> None:
    seen = house.inspector.look()
    assert (seen.connections, seen.rooms, seen.ready, seen.uptime) == (0, 0, True, 0.0)
    assert (seen.median_trip, seen.high_trip, seen.slowest, seen.broker) == (None, None, [], {})
    assert seen.threads["other"] >= 1


def test_figures_add_up(house: House) -> None:
    house.hub.room("lobby")
    now = house.clock()
    house.come(session(), frames_out=10, round_trip=0.004)
    house.come(outbox=FakeOutbox(3, 300, now - 0.2), frames_out=5, round_trip=0.2)
    stuck = house.come(outbox=FakeOutbox(100, 1 << 20, now - 2.0))
    stuck.state = ConnectionState.TO_BE_DISCONNECTED
    house.statistics.published(7)
    house.clock.advance(5)
    seen = house.inspector.look()
    assert (seen.connections, seen.rooms, seen.uptime) == (3, 1, 5.0)
    assert seen.states == {"IN_CHAT": 2, "TO_BE_DISCONNECTED": 1}
    assert (seen.totals.messages_out, seen.totals.events, seen.totals.connections) == (15, 7, 3)
    assert seen.queued_bytes == (1 << 20) + 300
    assert seen.depths.counts == [1, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert (seen.depths.sum, seen.depths.highest) == (103, 100)
    assert seen.ages.counts == [1, 0, 0, 0, 0, 0, 0, 2, 0]
    assert (seen.ages.sum, seen.ages.highest) == pytest.approx((12.2, 7.0))
    assert sum(seen.round_trips.counts) == 2
    assert (seen.median_trip, seen.high_trip) == (0.2, 0.2)


def test_the_slowest_come_first(house: House) -> None:
    now = house.clock()
    for number in range(SLOWEST + 5):
        house.come(round_trip=number / 1000)
    house.come(outbox=FakeOutbox(1, 10, now - 1))
    house.come(session(7, "sloth", "198.51.100.7"), FakeOutbox(2, 20, now - 9), last_write=now - 3.0)
    slowest = house.inspector.look().slowest
    assert len(slowest) == SLOWEST
    assert slowest[0] == {
        "number": SLOWEST + 7,
        "user": 7,
        "nickname": "sloth",
        "address": "198.51.100.7",
        "state": "IN_CHAT",
        "age": 0.0,
        "outbox_messages": 2,
        "outbox_bytes": 20,
        "outbox_age": 9.0,
        "round_trip": None,
        "last_write": 3.0,
        "messages_in": 0,
        "bytes_in": 0,
        "messages_out": 0,
        "bytes_out": 0,
        "ping_age": None,
        "rooms": ["lobby"],
        "room_count": 1,
    }
    assert slowest[1]["number"] == SLOWEST + 6
    assert [each["round_trip"] for each in slowest[2:4]] == [0.016, 0.015]
    assert (slowest[2]["user"], slowest[2]["last_write"]) == (None, None)


def test_whoever_asks_within_a_second_sees_the_same(house: House) -> None:
    first = house.inspector.look()
    house.come()
    house.clock.advance(FRESH * 0.9)
    assert house.inspector.look() is first
    house.clock.advance(FRESH * 0.2)
    assert house.inspector.look().connections == 1


def test_those_who_ask_together_share_one(house: House) -> None:
    ready = threading.Barrier(4)
    seen: list[Any] = []

    def ask() -> None:
        ready.wait()
        seen.append(house.inspector.look())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ("number", [1, 2, 3]),
        ("oldest", [1, 2, 3]),
        ("newest", [3, 2, 1]),
        ("slowest", [2, 3, 1]),
        ("outbox", [2, 1, 3]),
        ("round_trip", [3, 1, 2]),
        ("sent", [1, 2, 3]),
        ("received", [2, 3, 1]),
    ],
)
def test_lists_are_ordered(house: House, order: str, numbers: list[int]) -> None:
    for counters, outbox in (
        ({"round_trip": 0.1, "bytes_out": 9, "bytes_in": 1}, FakeOutbox()),
        ({"bytes_out": 5, "bytes_in": 3}, FakeOutbox(1, 10, house.clock())),
        ({"round_trip": 0.4, "bytes_out": 1, "bytes_in": 2}, FakeOutbox()),
    ):
        house.come(outbox=outbox, **counters)
        house.clock.advance(1)
    if order == "slowest":
        house.statistics.read()[0][2].connection.outbox.waiting_since = house.clock()
    assert [each["number"] for each in house.inspector.list_connections(10, order)] == numbers
    assert [each["number"] for each in house.inspector.list_connections(1, order)] == numbers[:1]


def test_every_order_is_tried() -> None:
    [mark] = [m for m in test_lists_are_ordered.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]
    assert {order for order, _ in mark.args[1]} == set(ORDERS)


def test_threads_are_counted_by_what_they_do(house: House) -> None:
    before = house.inspector.look().threads
    house.clock.advance(FRESH * 2)
    done = threading.Event()
    names = ("reader-1", "reader-2", "writer-1", "producer-1-lobby", "ThreadPoolExecutor-0_0")
    threads = [threading.Thread(target=done.wait, name=name) for name in names]
    for thread in threads:
        thread.start()
    counted = house.inspector.look().threads
    done.set()
    for thread in threads:
        thread.join()
    more = {role: count - before.get(role, 0) for role, count in counted.items()}
    assert (more["reader"], more["writer"], more["producer"], more["other"]) == (2, 1, 1, 1)
    assert "ThreadPoolExecutor" not in counted


def test_a_broker_is_asked_for_what_it_has(house: House) -> None:
    broker: Any = house.hub.broker
    broker.ready, broker.node = False, "n1"
    broker.counters = lambda: {"reconnects": 3}
    seen = house.inspector.look()
    assert (seen.ready, seen.broker, house.inspector.node) == (False, {"reconnects": 3}, "n1")


def test_pings_without_an_answer_are_counted(house: House) -> None:
    house.come(round_trip=0.1)
    waiting, new = house.come(round_trip=0.1, pings_unanswered=3), house.come()
    waiting.keepalive.asked_at = house.clock()
    house.clock.advance(NO_ANSWER + 1)
    new.keepalive.asked_at = house.clock()
    seen = house.inspector.look()
    assert (seen.unanswered, seen.totals.pings_unanswered) == (1, 3)
    assert sorted(str(it["ping_age"]) for it in seen.slowest) == ["0.0", str(NO_ANSWER + 1), "None"]
