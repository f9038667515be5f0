"""The page in a real browser, below a path of an application, for people who are logged in there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.browser import Person, chromium, missing
from tests.e2e.process import until
from tests.e2e.talker import Talker
from tests.examples.test_flask_app import log_in
from tests.mounted.host import gunicorn

pytest.importorskip("flask")
pytest.importorskip("gunicorn")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")


def test_a_login_is_a_name_on_the_page(tmp_path: Path) -> None:
    with (
        gunicorn(tmp_path, "flask_app:app", "--threads", "2") as host,
        chromium(tmp_path / "profile") as driver,
        Talker(host.ws, additional_headers=log_in(host, "bob")) as bob,
    ):
        bob.ask("hello")
        bob.ask("join", room="lobby")
        assert bob.next()["type"] == "join"
        ann = Person(driver, f"{host.url}/chat/")  # without a cookie yet
        driver.execute_script("document.cookie = arguments[0] + '; path=/'", log_in(host, "ann")["Cookie"])
        driver.get(f"{host.url}/chat")
        ann.enter("somebody else")
        assert driver.current_url.startswith(f"{host.url}/chat/")
        assert bob.next()["from"] == "ann", "the login's name, and not what was typed"
        ann.say("hello bob")
        ann.wait_for_text("hello bob")
        event = bob.next()
        while event["type"] != "message":
            event = bob.next()
        assert (event["from"], event["userId"], event["message"]) == ("ann", 1, "hello bob")
        ann.wait(lambda: ann.run("return document.getElementById('me').dataset.name") == "ann", "her name")
        bob.ask("message", room="lobby", message="hello ann")
        ann.wait_for_text("hello ann")
        driver.refresh()
        ann.arrived()
        ann.wait_for_text("hello ann")
        assert driver.get_log("browser") == []


def test_the_page_of_nobody_gets_no_further(tmp_path: Path) -> None:
    """A browser does not tell a page of a 401: it tries again, as after any lost connection."""
    with gunicorn(tmp_path, "flask_app:app") as host, chromium(tmp_path / "profile") as driver:
        eve = Person(driver, f"{host.url}/chat/")
        eve.see("nickname").send_keys("eve")
        eve.click("enter")
        until(lambda: host.log().count('"GET /chat/chat HTTP/1.1" 401') > 1, "another attempt")
        assert not eve.all("text")
