"""A forked process has a chat of its own, whatever its parent's threads were about when it forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker.redis_server import RedisServer, why_not
from tests.e2e.process import environment

ROOT = Path(__file__).parents[2]


def forked(broker: str, routing: str) -> tuple[int, str]:
    """How many locks were held at a fork, and whose child was stuck or failed."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.e2e.forks", broker, routing],
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=environment(),
    )
    assert ran.returncode == 0, ran.stderr
    sys.stderr.write(ran.stderr)  # why a child failed
    count, stuck = ran.stdout.splitlines()[-1].split(" ", 1)
    return int(count), stuck


@pytest.mark.parametrize("routing", ["directory", "router"])
def test_a_child_publishes_whichever_lock_was_held(routing: str) -> None:
    count, stuck = forked("memory", routing)
    assert stuck == ""
    assert count > 15


def test_a_child_of_a_node_is_another_node(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path / "redis")
    try:
        count, stuck = forked(server.url, "directory")
    finally:
        server.kill()
    assert stuck == ""
    assert count > 20


def test_a_child_is_refused_the_file_at_once(tmp_path: Path) -> None:
    count, stuck = forked(f"sqlite:{tmp_path}/chat.db", "directory")
    assert stuck == ""
    assert count > 15
