"""Tests of `/metrics`, read as Prometheus would: by prometheus_client's own parser."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.admin.test_snapshot import House
from tests.server.operators_helpers import KEY, FakeOutbox, request, session
from tests.server.session_helpers import until
from threadchat import Client
from threadchat.config.settings import Config
from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.server.admin import metrics
from threadchat.server.admin.api import Key
from threadchat.server.admin.metrics import Metrics
from threadchat.server.chat import Chat


@pytest.fixture
def house() -> House:
    return House()


def scrape(house: House) -> dict[str, Any]:
    """All samples, by their names and labels as they are written."""
    status, headers, body = request(Metrics(house.inspector, None), "/metrics")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_nothing_happened_yet(house: House) -> None:
    found = scrape(house)
    assert found["threadchat_connections{state=in_chat}"] == 0
    assert found["threadchat_connections_opened_total"] == 0
    assert found["threadchat_ready"] == 1
    assert found["threadchat_ping_round_trip_seconds_bucket{le=+Inf}"] == 0
    assert not [name for name in found if name.startswith("threadchat_closes")]


def test_what_connections_did(house: House) -> None:
    work = session()
    work.work.note_burst(0.25)
    work.work.note_burst(0.5)
    work.work.count_error(107)
    house.come(work, messages_in=5, bytes_in=50, frames_out=7, bytes_out=70, writes=3, round_trip=0.02)
    stalled = FakeOutbox(3, 900, house.clock() - 2)
    house.come(outbox=stalled, waited=1.5, turns=4)
    gone = house.come(messages_in=1, pings_unanswered=4)
    gone.closed = ConnectionClosed(CloseCode.SLOW)
    house.statistics.left(gone)
    house.statistics.published(11)
    house.statistics.fell_behind(2)
    house.hub.room("lobby")
    found = scrape(house)
    expected = {
        "threadchat_connections{state=in_chat}": 2,
        "threadchat_connections_opened_total": 3,
        "threadchat_events_total": 11,
        "threadchat_deliveries_total": 7,
        "threadchat_received_messages_total": 6,
        "threadchat_received_bytes_total": 50,
        "threadchat_sent_bytes_total": 70,
        "threadchat_writes_total": 3,
        "threadchat_fell_behind_total": 2,
        "threadchat_pings_unanswered_total": 4,
        "threadchat_unanswered": 0,
        "threadchat_closes_total{code=3008}": 1,
        "threadchat_errors_total{code=107}": 1,
        "threadchat_handler_seconds_count": 2,
        "threadchat_handler_seconds_sum": 0.75,
        "threadchat_turnstile_wait_seconds_count": 4,
        "threadchat_turnstile_wait_seconds_sum": 1.5,
        "threadchat_rooms": 1,
        "threadchat_queued_bytes": 900,
        "threadchat_outbox_messages_bucket{le=1}": 1,
        "threadchat_outbox_messages_bucket{le=5}": 2,
        "threadchat_outbox_messages_gsum": 3,
        "threadchat_outbox_age_seconds_bucket{le=1.0}": 1,
        "threadchat_outbox_age_seconds_bucket{le=3.0}": 2,
        "threadchat_ping_round_trip_seconds_bucket{le=0.01}": 0,
        "threadchat_ping_round_trip_seconds_bucket{le=0.025}": 1,
        "threadchat_ping_round_trip_seconds_gcount": 1,
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("setting", "timed"), [("off", 0), ("key", 2)])
def test_time_is_taken_where_somebody_may_ask(setting: str, timed: int) -> None:
    with Chat(Config(port=0, api_key=KEY, metrics=setting)) as chat:
        chat.listen()
        with Client(chat.url, nickname="ann") as ann:
            ann.join("lobby")
        until(lambda: len(chat.statistics) == 0)
        totals = chat.inspector.look().totals
    assert (totals.bursts, totals.handled > 0) == (timed, timed > 0)


def test_the_process_is_in_it_and_the_version(house: House) -> None:
    broker: Any = house.hub.broker
    broker.node, broker.counters = "n1", lambda: {"reconnects": 3}
    found = scrape(house)
    assert found["process_cpu_seconds_total"] > 0
    assert [name for name in found if name.startswith("threadchat_info{node=n1,version=")]
    assert found["threadchat_broker_total{what=reconnects}"] == 3
    assert found["threadchat_threads{role=other}"] >= 1


def test_a_second_scrape_is_made_anew(house: House) -> None:
    door = Metrics(house.inspector, None)
    request(door, "/metrics")
    house.come()
    house.clock.advance(2)
    assert b"threadchat_connections_opened_total 1.0" in request(door, "/metrics")[2]


def test_the_names_are_as_prometheus_wants_them(house: House) -> None:
    house.come()
    body = request(Metrics(house.inspector, None), "/metrics")[2].decode()
    for family in text_string_to_metric_families(body):
        if not family.name.startswith("threadchat_"):
            continue
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_milliseconds"))
        assert family.documentation.endswith(".")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"HTTP_X_API_KEY": "wrong"}, 401),
        ({"HTTP_AUTHORIZATION": "Bearer wrong"}, 401),
        ({"HTTP_AUTHORIZATION": f"Basic {KEY}"}, 401),
        ({"HTTP_AUTHORIZATION": KEY}, 401),
        ({"HTTP_X_API_KEY": KEY}, 200),
        ({"HTTP_AUTHORIZATION": f"Bearer {KEY}"}, 200),
        ({"HTTP_AUTHORIZATION": f"bearer  {KEY} "}, 200),
    ],
)
def test_the_key(house: House, given: dict[str, str], status: int) -> None:
    got, headers, body = request(Metrics(house.inspector, Key(KEY)), "/metrics", **given)
    assert got == status
    assert (b"threadchat_" in body) is (status == 200)
    assert headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


def test_other_methods(house: House) -> None:
    status, headers, _ = request(Metrics(house.inspector, None), "/metrics", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.fixture
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "available", lambda: False)


@pytest.mark.usefixtures("without_the_library")
def test_without_the_library_who_has_the_key_is_told_how(house: House) -> None:
    door = Metrics(house.inspector, Key(KEY))
    assert request(door, "/metrics")[0] == 401
    status, _, body = request(door, "/metrics", HTTP_X_API_KEY=KEY)
    assert (status, body.decode().strip()) == (501, f"{metrics.MISSING}.")
