"""Runs scripts/examples/dashboard.py: UUIDs as ids, a view, a job's progress, a notice and a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.e2e.talker import Talker
from tests.mounted.host import EXAMPLES, Host

pytest.importorskip("flask")


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path, str(EXAMPLES / "dashboard.py")) as host:
        yield host


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
        assert ann.code("call", name="order.cancel", data={"id": "x"}) == 107
        with Talker(dashboard.ws, "/live", additional_headers=of_bob) as bob:
            bob.ask("hello")
            assert bob.code("call", name="order.cancel", data={"id": order["id"]}) == 103
        assert ann.ask("call", name="order.cancel", data={"id": order["id"]})["data"] == {"left": 0}
        assert heard(ann, "order.cancelled") == {"id": order["id"]}
        job = ann.ask("call", name="export")["data"]["job"]
        assert heard(ann, "progress")["done"] in range(0, 101, 10)
        assert heard(ann, "finished") == {"file": f"{job}.csv"}
        assert heard(ann, "notice") == {"text": f"{job}.csv is ready"}
    with Talker(dashboard.ws, "/live", additional_headers=of_ann) as again:
        again.ask("hello", inbox={"offset": 0, "epoch": ""})
        assert heard(again, "notice") == {"text": f"{job}.csv is ready"}, "it waits for those who are away"


def test_nobody_else_gets_in_and_the_page_is_there(dashboard: Host) -> None:
    assert dashboard.get("/orders", b"what=tea")[0] == 401
    status, text = dashboard.get("/", **log_in(dashboard, "ann"))
    assert status == 200
    assert b"/live/threadchat.js" in text
