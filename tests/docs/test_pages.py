"""Runs every page of the documentation: its commands and files as they stand, in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.redis_server import RedisServer, why_not
from tests.docs.pages import PAGES, README, Shell, fences, file_name, section, text_of

WITH_COMMANDS = [
    page
    for page in PAGES
    if any(block.language == "sh" for block in fences(text_of(page))) and page != README
]
NEEDS = {"celery": ["celery"], "start-socketio": ["flask_socketio"], "start-django": ["django", "gunicorn"]}
LANGUAGES = {"sh", "text", "python", "json", "js", "html", "toml"}


@pytest.fixture
def redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a Redis of this test's own."""
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path / "redis", lasting=False)
    yield server.url
    server.kill()


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_as_they_stand(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for module in NEEDS.get(page.stem, []):
        pytest.importorskip(module)
    url = request.getfixturevalue("redis") if "redis://127.0.0.1:6379/0" in text_of(page) else ""
    with Shell(tmp_path / "empty", redis=url) as shell:
        shell.run(text_of(page))
    assert "Traceback" not in shell.output(), shell.output()


@pytest.mark.parametrize("title", ["Start", "You have a threaded program", "You have a Flask application"])
def test_the_commands_of_the_readme_run_as_they_stand(title: str, tmp_path: Path) -> None:
    """The rest of it is used in Chromium, by tests/e2e/test_first_hour.py."""
    with Shell(tmp_path / "empty") as shell:
        shell.run(section(README, title))
    assert "Traceback" not in shell.output(), shell.output()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_of_a_kind_that_is_run(page: Path) -> None:
    for block in fences(text_of(page)):
        assert block.language in LANGUAGES
        assert block.language not in ("html", "toml") or file_name(block), "only files are"
