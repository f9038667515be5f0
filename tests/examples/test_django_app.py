"""Runs scripts/examples/django_app.py under gunicorn, with the example's configuration."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.process import environment
from tests.e2e.talker import Talker
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


def test_users_of_django_are_people_in_the_chat(site: Host) -> None:
    status, cookie = site.cookie("/login?name=ann&password=secret")
    assert status == 200
    with Talker(site.ws, additional_headers={"Cookie": cookie}) as ann, Talker(site.ws) as eve:
        reply = ann.ask("hello")
        assert (reply["user"], reply["nickname"]) == (1, "ann")
        assert ann.ask("join", room="staff")["offset"] == 0
        assert eve.hello("ann")["user"] < 0, "a name is not a login"
        assert eve.code("join", room="staff") == 103
        events = eve.ask("history", room="lobby")["events"]
        assert [(event["from"], event["message"]) for event in events] == [("site", "ann is here")]
    assert site.get("/login?name=ann&password=wrong") == (403, b"no\n")
    assert site.get("/nothing")[0] == 404
    assert "Traceback" not in site.log()
