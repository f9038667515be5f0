"""Runs scripts/examples/flask_app.py under gunicorn, with the example's configuration, and under Werkzeug."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.talker import Talker
from tests.mounted.host import EXAMPLES, Host, gunicorn

pytest.importorskip("flask")


@pytest.fixture(params=["gunicorn", "werkzeug"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "gunicorn":
        pytest.importorskip("gunicorn")
        conf = str(EXAMPLES / "gunicorn_conf.py")
        started = gunicorn(tmp_path, "flask_app:app", "-c", conf)
    else:
        started = Host(tmp_path, str(EXAMPLES / "flask_app.py"))
    with started as host:
        yield host


def log_in(host: Host, name: str) -> dict[str, str]:
    """The headers of a browser that is logged in."""
    status, cookie = host.cookie("/login", f"name={name}".encode())
    assert status == 302
    return {"Cookie": cookie}


def test_who_is_logged_in_is_known_in_the_chat(shop: Host) -> None:
    with Talker(shop.ws, additional_headers=log_in(shop, "bob")) as bob:
        reply = bob.ask("hello", nickname="ann")
        assert (reply["user"], reply["nickname"]) == (2, "bob")
        assert bob.ask("join", room="lobby")["offset"] == 0
        assert bob.next()["from"] == "bob"
        assert bob.code("message", room="lobby", message="see http://spam.example") == 103
        assert bob.code("join", room="staff") == 103


def test_nobody_else_gets_in(shop: Host) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Talker(shop.ws)
    assert refused.value.response.status_code == 401
    assert shop.get("/login", b"name=eve") == (403, b"no such account\n")
    assert shop.get("/orders", b"what=tea") == (401, b"log in first\n")


def test_an_order_is_told_to_the_staff_and_to_its_customer(shop: Host) -> None:
    of_ann, of_bob = log_in(shop, "ann"), log_in(shop, "bob")
    with Talker(shop.ws, additional_headers=of_ann) as ann, Talker(shop.ws, additional_headers=of_bob) as bob:
        ann.ask("hello")
        bob.ask("hello")
        ann.ask("join", room="staff")
        assert ann.next()["type"] == "join"
        assert shop.get("/orders", b"what=tea", **of_bob) == (201, b"order 2\n")
        event = ann.next()
        assert (event["from"], event["message"]) == ("shop", "bob ordered tea")
        assert bob.next()["type"] == "inbox"
        assert bob.next()["message"] == "your order is in"
    assert shop.get("/orders", b"what=more", **of_bob) == (201, b"order 4\n")


def test_the_page_is_there(shop: Host) -> None:
    assert shop.get("/chat/")[0] == 200
