"""Covers scripts/order_check.py: its quick form passes, and it finds whatever can be wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.process import environment

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "order_check.py"
EXPECTED = ["one", "two", "three"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def check() -> Any:
    spec = importlib.util.spec_from_file_location("order_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_quick_form_passes() -> None:
    ended = run("--quick")
    assert ended.stderr == ""
    assert ended.stdout.startswith(
        "order: ok: 100 connections x 100 messages = 10,000 deliveries, all in order"
    )
    assert ended.returncode == 0


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_nonsense_is_refused(number: str) -> None:
    ended = run("--messages", number)
    assert ended.returncode == 2
    assert f"argument --messages: '{number}' must be a whole number from 1 up" in ended.stderr


@pytest.mark.parametrize(
    ("messages", "consecutive", "closed", "fault"),
    [
        (EXPECTED, True, None, None),
        (["one", "two"], True, None, "got 2 of 3 messages, still open"),
        (["one", "two"], True, 3008, "got 2 of 3 messages, closed with 3008"),
        (["one", "three"], True, None, "message 2 is 'three' instead of number 2"),
        (["one", "one", "two", "three"], True, None, "message 2 is 'one' instead of number 2"),
        ([*EXPECTED, "three"], True, None, "message 4 is 'three' instead of number 4"),
        (EXPECTED, False, None, "the events' ids are not consecutive"),
    ],
)
def test_every_fault_is_found(
    check: Any, messages: list[str], consecutive: bool, closed: int | None, fault: str | None
) -> None:
    member = SimpleNamespace(messages=messages, has_no_hole=lambda: consecutive, closed=closed, faults=[])
    assert check.fault(member, EXPECTED) == fault
