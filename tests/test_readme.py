"""Holds README.md and threadchat/docs to the code: tables, examples, commands, links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs

from tests.broker.redis_server import RedisServer, why_not
from tests.docs import reference
from tests.docs.pages import anchors
from threadchat.cli import docs, example
from threadchat.cli import token as token_module
from threadchat.cli.main import COMMANDS as CLI_COMMANDS
from threadchat.cli.terminal.arguments import PARSERS
from threadchat.config.setting import shown
from threadchat.config.settings import SETTINGS
from threadchat.errors import CloseCode, ErrorCode
from threadchat.server.admin.api import CALLS as API_CALLS
from threadchat.server.admin.metrics import Collector
from threadchat.server.chat import Chat
from threadchat.server.protocol.all_commands import COMMANDS, AnyCommand

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "threadchat/docs"
PAGES = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]}
TEXT = "\n".join(PAGES.values())
FENCES = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
OUR_REDIS = "redis://127.0.0.1:6379/0"


def table(title: str) -> list[list[str]]:
    """The rows, head first, of the first table after a heading, each as its cells."""
    section = re.split(r"\n#+ ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def columns(rows: Sequence[Sequence[str]], *wanted: int) -> list[list[str]]:
    return [[row[place] for place in wanted] for row in rows]


def fences(language: str) -> list[str]:
    return [body for found, body in FENCES if found == language]


def test_settings() -> None:
    expected = [["setting", "default", "unit", "range", "meaning"]]
    for name, setting in SETTINGS.items():
        default = shown(setting.default) if setting.default != "" else "none"
        expected.append([f"`{name}`", default, setting.rule.unit, setting.rule.limits, setting.reason])
    assert table("Configuration") == expected


def test_error_codes() -> None:
    expected = [["code", "reason", "temporary"]]
    expected += [[str(int(code)), code.reason, "yes" if code.temporary else ""] for code in ErrorCode]
    rows = table("Error codes")
    assert columns(rows, 0, 1, 2) == expected
    assert all(row[3] for row in rows), "each says when it comes"


def test_close_codes() -> None:
    expected = [["code", "reason", "come back"]]
    expected += [[str(int(code)), code.reason, "yes" if code.reconnect else ""] for code in CloseCode]
    rows = table("Close codes")
    assert columns(rows, 0, 1, 2) == expected
    assert all(row[3] for row in rows), "each says when it comes"


def test_protocol_commands() -> None:
    rows = table("Commands")[1:]
    known = dict(zip(COMMANDS, get_args(AnyCommand), strict=True))
    assert sorted(cell.strip("`") for [cell] in columns(rows, 0)) == sorted(COMMANDS)
    for name, told, _ in rows:
        fields = {field.name for field in structs.fields(known[name.strip("`")])} - {"id"}
        assert set(re.findall(r"`(\w+)`", told)) == fields, name


def test_api_calls() -> None:
    rows = table("The HTTP API")
    assert [cell.strip("`") for [cell] in columns(rows[1:], 0)] == list(API_CALLS)
    for name, told, answer in rows[1:]:
        fields = {field.name for field in structs.fields(API_CALLS[name.strip("`")])}
        assert set(re.findall(r"`(\w+)`", told)) == fields
        assert answer


def test_metrics() -> None:
    expected = [["metric", "type", "meaning"]]
    with Chat() as chat:
        for family in Collector(chat.inspector).collect():
            ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
            kind = {"gaugehistogram": "histogram", "info": "gauge"}.get(family.type, family.type)
            expected.append([f"`{family.name}{ending}`", kind, family.documentation])
    assert table("Metrics") == expected


@pytest.fixture
def at_a_redis(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Puts an example that needs a Redis at one of its own; others stay what they are."""
    servers: list[RedisServer] = []

    def place(example: str) -> str:
        if OUR_REDIS not in example:
            return example
        if reason := why_not():
            pytest.skip(reason)
        servers.append(RedisServer(tmp_path / "redis", lasting=False))
        return example.replace(OUR_REDIS, servers[0].url)

    yield place
    for server in servers:
        server.kill()


@pytest.mark.parametrize(
    "example", [body for body in fences("python") if not re.match(r"# [\w/]+\.py\n", body)]
)
def test_python_example_runs(example: str, tmp_path: Path, at_a_redis: Callable[[str], str]) -> None:
    """Those that are files of a program are run by tests/docs, with the commands of their page."""
    example = at_a_redis(example)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", example]
    if "def test_" in example:
        (tmp_path / "test_example.py").write_text(example)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "threadchat.testing.plugin", "test_example.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout, "an example shows something"


def test_commands_exist() -> None:
    scripts = set(re.findall(r"\bscripts/[\w-]+(?=[ `\n])", TEXT))
    assert {"scripts/run", "scripts/test"} <= scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), f"{script} is not there, or not executable"
    assert set(re.findall(r"scripts/run (\w+)", TEXT)) <= set(CLI_COMMANDS)
    flags = set(re.findall(r"(?<=[ `])--[a-z-]+", TEXT))
    parsers = [token_module.parser(), docs.parser(), example.parser(), *(make() for make in PARSERS.values())]
    of_clients = {flag for parser in parsers for flag in parser._option_string_actions}
    of_others = {"--threads", "--workers", "--preload", "--worker-class"}  # gunicorn
    of_others |= {"--concurrency", "--loglevel", "--strict"}  # celery, twine
    of_others |= {"--broken", "--by-room", "--cluster", "--seconds", "--seed"}  # scripts
    of_others |= {"--clients", "--compare", "--list", "--only", "--out", "--peers", "--quick", "--rate"}
    of_others |= {"--redis-cluster"}
    ours = {setting.flag for setting in SETTINGS.values()} | {"--config", "--toml", "--help"} | of_clients
    assert flags <= ours | of_others


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue  # other people's documents
        target, _, anchor = link.partition("#")
        led = (page.parent / target).resolve() if target else page
        assert led.is_file(), link
        assert led.parent == DOCS or page.name == "README.md", "a topic is read without the source tree, too"
        assert not anchor or anchor in anchors(led), link


def test_the_readme_is_short_and_names_every_topic() -> None:
    readme = PAGES[ROOT / "README.md"]
    assert len(readme.splitlines()) <= 200
    for page in DOCS.glob("*.md"):
        assert f"](threadchat/docs/{page.name})" in readme


def test_the_pictures_are_small() -> None:
    pictures = [f"scripts/assets/page{name}.png" for name in ("", "-dark", "-phone")]
    for picture in (*pictures, "threadchat/docs/ops.png", "threadchat/docs/bench.svg"):
        assert (ROOT / picture).stat().st_size < 250_000


def test_the_diagram_is_straight() -> None:
    [diagram] = [body for body in fences("text") if "┌" in body]
    assert len({len(line) for line in diagram.splitlines() if "│" in line or "┌" in line}) == 1


@pytest.mark.parametrize("title", reference.tables())
def test_the_python_api(title: str) -> None:
    """`python -m tests.docs.reference` writes them."""
    assert [tuple(row) for row in table(title)[1:]] == reference.tables()[title]
