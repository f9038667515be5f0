"""Five people's first hour: README's lines in an empty folder, up to a message that is seen in Chromium.

`scripts/first-hour` runs this with the built wheel and an empty environment for each of them, in which pip
installs what README says. Without it, the environment is that of the tests.
"""

from __future__ import annotations

import os
import subprocess
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import README, Shell, section
from tests.e2e.browser import Person

WHEEL = os.environ.get("FIRST_HOUR_WHEEL", "")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """An empty folder; with a wheel, an empty environment too."""
    if not WHEEL:
        with Shell(tmp_path / "empty") as shell:
            yield shell
        return
    venv.create(tmp_path / "venv", with_pip=True)
    (tmp_path / "constraint.txt").write_text(f"threadchat @ {Path(WHEEL).as_uri()}\n")
    pip = {"PIP_CONSTRAINT": str(tmp_path / "constraint.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with Shell(tmp_path / "empty", python=tmp_path / "venv/bin/python", real_pip=pip) as shell:
        shell.command("pip install threadchat")
        yield shell
        where = [tmp_path / "venv/bin/python", "-c", "import threadchat; print(threadchat.__file__)"]
        found = subprocess.run(where, cwd=tmp_path / "empty", capture_output=True, text=True, check=True)
        assert str(tmp_path / "venv") in found.stdout, "it is the wheel that ran"


def post(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=10) as reply:
        assert reply.status == 201


def test_a_server_of_its_own(shell: Shell, driver: Any) -> None:
    shell.run(section(README, "Start"))
    ann, bob = Person(driver, shell.url(8080)), Person(driver, shell.url(8080))
    ann.enter("ann")
    bob.enter("bob")
    ann.say("hello, Bob")
    bob.wait_for_text("hello, Bob")


def test_a_flask_application(shell: Shell, driver: Any) -> None:
    shell.run(section(README, "You have a Flask application"))
    ann = Person(driver, f"{shell.url(5000)}/chat/").enter("ann")
    post(f"{shell.url(5000)}/orders")
    ann.wait_for_text("somebody ordered tea")


def test_a_django_project(shell: Shell, driver: Any) -> None:
    pytest.importorskip("django")
    text = section(README, "You have a Django project")
    before, after = text.split("```\n\n", 1)
    shell.run(f"{before}```\n")
    shell.command("django-admin startproject mysite .")  # the project that the reader has
    shell.run(after)
    ann = Person(driver, f"{shell.url(8000)}/chat/").enter("ann")
    ann.say("is anybody here?")
    ann.wait_for_text("is anybody here?")


def test_a_threaded_program(shell: Shell, driver: Any) -> None:
    shell.run(section(README, "You have a threaded program"))
    ann = Person(driver, shell.url(8081)).enter("ann")
    ann.wait(lambda: any(text.startswith("load ") for text in ann.texts()), "the load to be told")


def test_an_application_of_flask_socketio_and_a_page(shell: Shell, driver: Any) -> None:
    if WHEEL:
        shell.command("pip install flask")  # the reader has it
    shell.run(section(README, "You have Flask-SocketIO", "You have a page of your own"))
    url = f"{shell.url(5000)}/static/index.html"
    ann, bob = Person(driver, url), Person(driver, url)
    say = "const form = document.forms[0]; form.elements.text.value = arguments[0]; form.requestSubmit()"
    shown = "return document.getElementById('log').textContent"
    ann.run(say, "tea")
    ann.wait(lambda: "tea" in ann.run(shown), "Ann to see what she said")
    bob.run(say, "cake")  # he hears the room by now: his page asked for that first
    for person in (ann, bob):
        person.wait(lambda person=person: "cake" in person.run(shown), "both to see what Bob said")
