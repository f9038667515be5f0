"""Tests that mypy and pyright accept a program that uses threadchat, and refuse misspelt names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYRIGHT = Path(sys.prefix) / "node/node_modules/pyright/index.js"  # where scripts/test puts it
RIGHT = """
from flask import Flask

from threadchat import BrokerError, Chat, CloseCode, ErrorCode
from threadchat.testing import LiveServer

app = Flask(__name__)
chat = Chat()
app.wsgi_app = chat.mount(app.wsgi_app, path="/chat", page=True)
code: int = CloseCode.SLOW
reason: str = ErrorCode.INTERNAL.reason
"""
MISSPELT = """
from threadchat import Chatt
from threadchat.testing import LiveSever
import threadchat
threadchat.Cliient("ws://x")
"""
PYRIGHT_CONFIG = f'{{"typeCheckingMode": "standard", "extraPaths": ["{ROOT}"]}}'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    (tmp_path / "pyrightconfig.json").write_text(PYRIGHT_CONFIG)
    return tmp_path


def errors(command: list[str], folder: Path) -> list[str]:
    """The errors that a type checker finds in the programs of a folder."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    found = [line for line in done.stdout.splitlines() if "error:" in line or "error -" in line]
    assert found or done.returncode == 0, done.stdout + done.stderr
    return found


def test_mypy_knows_the_names(programs: Path) -> None:
    cache = str(ROOT / ".mypy_cache")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache]
    # To mypy, `wsgi_app` is a method, which nothing may replace; the name of the error is Flask's matter.
    found = errors([*mypy, "--disable-error-code", "method-assign", "right.py", "misspelt.py"], programs)
    assert len(found) == 3, found
    assert all(line.startswith("misspelt.py") and "attr-defined" in line for line in found), found


@pytest.mark.skipif(
    not PYRIGHT.exists() or not shutil.which("node"), reason="pyright comes with scripts/test, where npm is"
)
def test_pyright_knows_the_names(programs: Path) -> None:
    found = errors(["node", str(PYRIGHT), "--pythonpath", sys.executable, "-p", "."], programs)
    assert len(found) == 3, found
    assert all("misspelt.py" in line and "AttributeAccessIssue" in line for line in found), found
