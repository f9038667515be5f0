"""Runs scripts/examples/django_app.py under gunicorn, with the example's configuration."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import pytest

from tests.e2e.process import PATIENCE, environment
from tests.e2e.talker import Talker
from tests.examples.conftest import Window
from tests.mounted.host import EXAMPLES, ROOT, Host, gunicorn

pytest.importorskip("django")
pytest.importorskip("gunicorn")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Host]:
    database = {"DATABASE": str(tmp_path / "app.db")}
    subprocess.run(
        [sys.executable, str(EXAMPLES / "django_app.py")],
        env=environment({"PYTHONPATH": str(ROOT), **database}),
        check=True,
        timeout=60,
    )
    conf = str(EXAMPLES / "gunicorn_conf.py")
    with gunicorn(tmp_path, "django_app:application", "-c", conf, **database) as host:
        yield host


def log_in(site: Host, password: str) -> tuple[int, str]:
    """Fills in the page's form as a program does; status, and the cookie of whoever is logged in."""
    status, cookie = site.cookie("/")
    assert status == 200
    form = f"name=ann&password={password}&csrfmiddlewaretoken={cookie.partition('=')[2]}"
    connection = HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    connection.request("POST", "/login", form, headers)
    response = connection.getresponse()
    connection.close()
    cookies = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", [])]
    return response.status, "; ".join(cookies)


def test_users_of_django_are_people_in_the_chat(site: Host) -> None:
    status, cookie = log_in(site, "secret")
    assert status == 302
    with Talker(site.ws, additional_headers={"Cookie": cookie}) as ann, Talker(site.ws) as eve:
        reply = ann.ask("hello", inbox={"offset": 0, "epoch": ""})
        assert reply["nickname"] == "ann"
        assert UUID(reply["user"]), "the primary key"
        while (event := ann.next())["type"] != "event":
            pass
        assert (event["inbox"], event["name"], event["data"]) == (True, "login", {"from": "127.0.0.1"})
        assert ann.ask("join", room="staff")["offset"] == 0
        assert eve.hello("ann")["user"] < 0, "a name is not a login"
        assert eve.code("join", room="staff") == 103
        events = eve.ask("history", room="lobby")["events"]
        assert [(event["from"], event["message"]) for event in events] == [("site", "ann is here")]
    assert log_in(site, "wrong")[0] == 403
    assert site.get("/login", b"name=ann&password=secret")[0] == 403, "from a form of somebody else's"
    assert site.get("/nothing")[0] == 404
    assert "Traceback" not in site.log()


def test_the_page(site: Host, browse: Callable[[str], Window]) -> None:
    with Talker(site.ws) as eve:
        eve.hello("eve")
        eve.ask("join", room="lobby")
        ann = browse(site.url)
        ann.find("[name=name]").send_keys("ann")
        ann.write("[name=password]", "secret")
        ann.reads("#me", "ann (")
        ann.write("[name=text]", "hi")
        ann.reads("#messages", "ann: hi")
        while (event := eve.next()).get("message") != "hi":
            pass
        assert UUID(event["userId"])
        assert event["userId"] in ann.find("#me").text
        eve.ask("direct", to=event["userId"], message="psst")
        eve.ask("message", room="lobby", message="hello ann")
        ann.reads("#messages", "eve: hello ann")
        log_in(site, "secret")
        ann.reads("#login", "You logged in from 127.0.0.1.")
    assert "Traceback" not in site.log()
