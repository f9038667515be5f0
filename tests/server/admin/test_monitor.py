"""Tests of what /ops is fed with beside a snapshot: samples of the last hour, reports of nodes, the log."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from tests.server.admin.test_snapshot import House
from tests.server.operators_helpers import KEY
from threadchat.config.settings import Config
from threadchat.logs.ring import LONGEST, LogRing
from threadchat.server.admin import monitor as monitors
from threadchat.server.admin import node_report
from threadchat.server.admin.monitor import Monitor
from threadchat.server.admin.sample_ring import SampleRing
from threadchat.server.chat import Chat
from threadchat.testing.clock import FakeClock
from threadchat.wire.pinger import Pinger
from threadchat.wire.unfinished import UnfinishedBudget


class FakeReports:
    """Those of a broker that nodes share."""

    def __init__(self) -> None:
        self.own = b""
        self.told: list[tuple[bytes, float]] = []

    def read(self) -> list[tuple[bytes, float]]:
        return self.told


class Watched(House):
    """A house with a monitor, whose alarms go off by hand."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.alarms: list[tuple[float, Any]] = []
        pinger: Any = SimpleNamespace(call_later=lambda *alarm: self.alarms.append(alarm), clock=self.clock)
        self.monitor = Monitor(self.inspector, Config(**settings), UnfinishedBudget(), pinger)

    def samples(self) -> list[Any]:
        return [json.loads(bytes(sample)) for sample in self.monitor.samples()]

    def share(self) -> FakeReports:
        broker: Any = self.hub.broker
        broker.reports = FakeReports()
        return broker.reports  # type: ignore[no-any-return]

    def report(self, **changes: Any) -> bytes:
        """A report as another node makes it."""
        own = self.monitor.nodes(self.inspector.look())[0]
        return node_report.encode({**json.loads(node_report.encode(own)), **changes})


@pytest.fixture
def house() -> Watched:
    return Watched(api_key=KEY)


def test_a_ring_keeps_an_hour() -> None:
    ring = SampleRing(age=60, size=1000)
    for at in range(0, 200, 15):
        ring.add(at, b"%d" % at)
    assert ring.read() == [b"135", b"150", b"165", b"180", b"195"]


def test_a_ring_that_is_full_keeps_every_second_sample() -> None:
    ring = SampleRing(age=3600, size=100)
    for at in range(11):
        ring.add(at, b"%010d" % at)
    assert [int(sample) for sample in ring.read()] == [0, 2, 4, 6, 8, 10]
    for at in range(11, 1000):
        ring.add(at, b"%010d" % at)
    assert len(b"".join(ring.read())) <= 100
    assert int(ring.read()[-1]) == 999


def test_a_sample_that_alone_is_too_large_stays_the_only_one() -> None:
    ring = SampleRing(size=10)
    ring.add(0, b"x" * 8)
    ring.add(1, b"y" * 20)
    assert ring.read() == [b"y" * 20]


def test_samples_are_taken_on_the_pinger(house: Watched) -> None:
    house.monitor.start()
    house.monitor.start()
    assert len(house.alarms) == 1
    for _ in range(4):
        house.come(messages_in=1)
        house.clock.advance(5)
        assert house.monitor.look() == monitors.EVERY
    house.monitor.stop()
    assert [sample["nodes"][0]["connections"] for sample in house.samples()] == [1, 4]
    assert house.samples()[1]["nodes"][0]["totals"]["messages_in"] == 4


def test_nothing_is_watched_without_a_key() -> None:
    house = Watched()
    house.monitor.start()
    assert house.alarms == []
    assert house.monitor.lines not in logging.getLogger("threadchat").handlers


def test_a_look_does_not_wait_for_somebody_who_looks(house: Watched) -> None:
    first = house.inspector.look()
    house.clock.advance(10)
    with house.inspector._lock:
        assert house.inspector.glance() is first
    assert house.inspector.glance() is not first


def test_the_reports_of_other_nodes_are_listed(house: Watched) -> None:
    reports = house.share()
    house.monitor.look()
    assert json.loads(reports.own)["process"] == house.monitor.process
    reports.told = [
        (reports.own, 2.0),  # this node's own, which is known better
        (house.report(process="b", node="n2", connections=5), 3.0),
        (house.report(process="a", node="n1", uptime=7.0), 9.0),  # under the name that it had
        (house.report(process="a", node="n1", uptime=9.0), 1.0),
        (b'{"of": "another version"}', 0.0),
        (b"", 0.0),
    ]
    nodes = house.monitor.nodes(house.inspector.look())
    assert [(it.process, it.age) for it in nodes] == [(house.monitor.process, 0.0), ("a", 1.0), ("b", 3.0)]
    assert nodes[2].connections == 5


def test_a_fork_is_another_process(house: Watched) -> None:
    house.monitor.start()
    house.monitor.look()
    before = house.monitor.process
    house.monitor.leave_behind()
    assert house.monitor.process != before
    assert house.samples() == []
    house.monitor.start()
    assert len(house.alarms) == 2
    house.monitor.stop()


def test_a_chat_is_watched_from_its_first_use_to_its_end() -> None:
    clock = FakeClock()
    logger = logging.getLogger("threadchat")
    with Chat(Config(port=0, api_key=KEY), pinger=Pinger(clock)) as chat:
        assert chat.monitor.lines not in logger.handlers
        chat.listen()
        assert chat.monitor.lines in logger.handlers
        clock.advance(2)
        chat.pinger.run_due()
        assert len(chat.monitor.samples()) == 1
        limits = {it["name"]: it for it in chat.monitor.limits.read(chat.inspector.look())}
        assert limits["max_rooms"] == {"name": "max_rooms", "used": 0, "limit": 3000, "unit": ""}
        assert "max_connections" not in limits  # 0 stands for as many as there are descriptors
        assert 0 < limits["descriptors"]["used"] < limits["descriptors"]["limit"]
    assert chat.monitor.lines not in logger.handlers


def line(text: str, *arguments: object, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("threadchat.x", level, __file__, 1, text, arguments, more.get("exc_info"))


def test_the_last_lines_of_the_log() -> None:
    ring = LogRing(lines=3)
    for number in range(5):
        ring.handle(line("event %d", number))
    assert [(it["number"], it["message"]) for it in ring.read()] == [
        (3, "event 2"),
        (4, "event 3"),
        (5, "event 4"),
    ]
    assert [it["number"] for it in ring.read(after=4)] == [5]
    assert ring.read(after=5) == []


def test_a_line_is_one_line_of_bounded_length_without_a_traceback() -> None:
    ring = LogRing()
    try:
        raise ValueError("the password is 1234")
    except ValueError as error:
        ring.handle(line("it failed\n%s", "x", exc_info=(ValueError, error, error.__traceback__)))
    ring.handle(line("y" * 1000))
    ring.handle(line("%d", "no number"))
    first, second, third = [it["message"] for it in ring.read()]
    assert first == "it failed\\nx (ValueError; the log has the traceback)"
    assert len(second) == LONGEST
    assert third.startswith("%d (its arguments cannot be formatted")


def test_debugging_is_not_kept() -> None:
    logger = logging.Logger("threadchat.x", logging.DEBUG)
    ring = LogRing()
    logger.addHandler(ring)
    logger.debug("secret details")
    logger.warning("seen")
    assert [(it["level"], it["message"]) for it in ring.read()] == [("warning", "seen")]
