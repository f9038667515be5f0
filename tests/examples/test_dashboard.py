"""Runs scripts/examples/dashboard.py: UUIDs as ids, a view, a job's progress, a notice and a command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from tests.broker.redis_server import RedisServer, why_not
from tests.e2e.talker import PATIENCE, Talker
from tests.examples.conftest import Window
from tests.mounted.host import EXAMPLES, Host
from threadchat import Client

pytest.importorskip("flask")


@pytest.fixture
def dashboard(tmp_path: Path, broker: str) -> Iterator[Host]:
    with Host(tmp_path, str(EXAMPLES / "dashboard.py"), THREADCHAT_BROKER=broker) as host:
        yield host


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """In memory, or a Redis of its own where the test says so."""
    if getattr(request, "param", "memory") == "memory":
        yield "memory"
        return
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(request.getfixturevalue("tmp_path"), lasting=False)
    yield server.url
    server.kill()


def log_in(host: Host, name: str) -> dict[str, str]:
    """The headers of a browser that is logged in."""
    status, cookie = host.cookie(f"/?as={name}")
    assert status == 302
    return {"Cookie": cookie}


def heard(person: Talker, name: str) -> dict[str, Any]:
    """The data of the next event of that name."""
    while (event := person.next()).get("name") != name:
        pass
    data: dict[str, Any] = event["data"]
    return data


@pytest.mark.parametrize("broker", ["memory", "redis"], indirect=True)
def test_orders_a_job_and_a_notice(dashboard: Host) -> None:
    of_ann, of_bob = log_in(dashboard, "ann"), log_in(dashboard, "bob")
    with Talker(dashboard.ws, "/live", additional_headers=of_ann) as ann:
        welcome = ann.ask("hello")
        assert UUID(welcome["user"])
        assert welcome["nickname"] == "ann"
        assert ann.ask("subscribe", room="orders", names=["order.created", "order.cancelled"])["offset"] == 0
        assert dashboard.get("/orders", b"what=tea", **of_ann)[0] == 201
        order = heard(ann, "order.created")
        assert (order["what"], order["user"]) == ("tea", welcome["user"])
        assert ann.code("message", room="orders", message="hi") == 103
        assert ann.code("join", room="orders") == 103
        assert ann.code("subscribe", room="staff") == 103
        assert ann.code("call", name="order.cancel", data={"id": "x"}) == 107
        assert ann.code("call", name="order.cancel", data={"id": str(uuid4())}) == 103
        with Talker(dashboard.ws, "/live", additional_headers=of_bob) as bob:
            bob.ask("hello")
            assert bob.code("call", name="order.cancel", data={"id": order["id"]}) == 103
        assert ann.ask("call", name="order.cancel", data={"id": order["id"]})["data"] == {"left": 0}
        assert heard(ann, "order.cancelled") == {"id": order["id"]}
        job = ann.ask("call", name="export")["data"]["job"]
        assert heard(ann, "progress")["done"] in range(0, 101, 5)
        assert heard(ann, "finished") == {"file": f"{job}.csv"}
        assert heard(ann, "notice") == {"text": f"{job}.csv is ready"}
    with Talker(dashboard.ws, "/live", additional_headers=of_ann) as again:
        again.ask("hello", inbox={"offset": 0, "epoch": ""})
        assert heard(again, "notice") == {"text": f"{job}.csv is ready"}, "it waits for those who are away"


def test_nobody_else_gets_in(dashboard: Host) -> None:
    assert dashboard.get("/orders", b"what=tea")[0] == 401


NOTE_PROGRESS = """
    const bar = document.getElementById("progress");
    window.bars = [];
    new MutationObserver(() => bars.push(bar.value)).observe(bar, {attributes: true});
"""
NOTE_EVENTS = """
    const done = arguments[0];
    import("/live/threadchat.js").then(({connect}) => {
        window.events = [];
        const orders = connect("/live", {storage: null}).room("orders");
        orders.on("event", (data, {id, name}) => events.push([id, name, data]));
        orders.on("subscribed", () => done());
    }, (error) => done(String(error)));
"""


def test_the_page(dashboard: Host, browse: Callable[[str], Window]) -> None:
    of_bob = log_in(dashboard, "bob")
    dashboard.get("/orders", b"what=cake", **of_bob)
    tabs = [browse(f"{dashboard.url}/?as=ann"), browse(f"{dashboard.url}/")]
    ann = tabs[0]
    for tab in tabs:
        tab.reads("#state", "online")
        tab.reads("#orders", "cake")
    ann.write("[name=what]", "coffee")
    for tab in tabs:
        tab.reads("#orders li:nth-child(2)", "coffee")
    ann.click("li:nth-child(1) button")
    ann.reads("#answer", "Refused: that is no order of yours")
    ann.click("li:nth-child(2) button")
    ann.reads("#answer", "Cancelled; you have 0 left.")
    for tab in tabs:
        tab.wait(lambda tab=tab: len(tab.look().find_elements("css selector", "li")) == 1, "one order")
    ann.run(NOTE_PROGRESS)
    ann.click("#export")
    for tab in tabs:
        tab.reads("#notice", ".csv is ready")
    bars = ann.run("return bars")
    assert len(bars) > 1, "it moves"
    assert bars == sorted(bars)
    assert bars[-1] == 100
    assert "Traceback" not in dashboard.log()


def test_the_page_and_a_client_of_python_see_the_same(
    dashboard: Host, browse: Callable[[str], Window]
) -> None:
    of_ann = log_in(dashboard, "ann")
    page = browse(f"{dashboard.url}/?as=bob")
    assert page.look().execute_async_script(NOTE_EVENTS) is None
    with Client(f"{dashboard.url}/live", headers=of_ann) as client:
        client.subscribe("orders", types=["event"])
        for what in ("tea", "caf\u00e9 \U0001f600", '"<b>&amp;'):
            _, body = dashboard.get("/orders", f"what={quote(what)}".encode(), **of_ann)
            if what == "tea":
                client.call("order.cancel", {"id": json.loads(body)["id"]})
        events: list[Any] = []
        while len(events) < 4:
            event = client.next_event(PATIENCE)
            if event.type == "event":
                events.append([event.id, event.name, event.data])
    assert [(number, name) for number, name, _ in events] == [
        (1, "order.created"),
        (2, "order.cancelled"),
        (3, "order.created"),
        (4, "order.created"),
    ]
    page.wait(lambda: len(page.run("return events")) == len(events), "the events in the page")
    assert page.run("return events") == events
    page.reads("#orders", "caf\u00e9 \U0001f600")
