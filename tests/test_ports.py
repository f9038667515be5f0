"""scripts/ports.py: ports that programs get before they listen on them are never given twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import ports

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def drawn_twice(monkeypatch: pytest.MonkeyPatch) -> int:
    """Each number is drawn twice in a row from now on; returns the first."""
    start = random.randrange(20_000, 26_000)
    numbers: Iterator[int] = (start + drawn // 2 for drawn in range(2000))
    monkeypatch.setattr(ports.random, "randrange", lambda *_: next(numbers))
    return start


def test_the_same_port_is_not_found_again(drawn_twice: int) -> None:
    found = [ports.free_port() for _ in range(50)]
    assert len(set(found)) == 50
    assert min(found) >= drawn_twice


def test_another_process_does_not_find_it_either() -> None:
    mine = ports.free_port()
    code = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
import ports
numbers = iter([{mine}, *range({mine} + 1, 40_000)])
ports.random.randrange = lambda *_: next(numbers)
print(ports.free_port())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > mine


def test_a_port_on_which_somebody_listens_is_not_found(drawn_twice: int) -> None:
    first = ports.free_port()
    with ports.socket.create_server(("127.0.0.1", 0)) as server:
        numbers = iter([server.getsockname()[1], first, *range(first + 1, first + 1000)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ports.random, "randrange", lambda *_: next(numbers))
            assert first < ports.free_port() < first + 1000


def test_the_oldest_are_given_back() -> None:
    for _ in range(ports.KEPT + 3):
        ports.free_port()
    assert len(ports._reserved) == ports.KEPT
    for descriptor in ports._reserved:
        os.fstat(descriptor)
