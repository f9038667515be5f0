"""Tests that programs for other libraries find the same here, and that docs/parity.md says what differs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.process import environment

ROOT = Path(__file__).parents[1]
ENVIRON = environment({"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"})
COMMAND = [sys.executable, "-m", "parity_probes"]

pytest.importorskip("flask_sock")


@pytest.mark.parametrize("peer", ["websockets", "simple-websocket", "flask-sock", "websocket-client"])
def test_nothing_differs_that_nobody_explains(peer: str) -> None:
    done = subprocess.run(
        [*COMMAND, peer, "--quick"], capture_output=True, text=True, env=ENVIRON, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documentation_has_the_table_of_what_is_not_there() -> None:
    done = subprocess.run([*COMMAND, "--table"], capture_output=True, text=True, env=ENVIRON, check=True)
    page = (ROOT / "threadchat/docs/parity.md").read_text(encoding="utf-8")
    assert done.stdout in page, "scripts/parity --table"
