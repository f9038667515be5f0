"""The healthy pair beside an abuse: starts the two in a process of their own, and asks how they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[1]


class Health(NamedTuple):
    """How two people fared: `worst` and `p99` in seconds from a word to when both had heard it.

    `rounds` counts words; `faults` tells of each that was lost, doubled or out of order, and stays.
    """

    rounds: int
    worst: float
    p99: float
    faults: list[str]


class HealthyPair:
    """Two people who talk to each other in a room all the time; a context manager."""

    def __init__(self, port: int, room: str = "healthy", host: str = "127.0.0.1") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "watching.talk", f"ws://{host}:{port}/chat", room],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}"},
        )
        self.health()  # they are in the room

    def health(self, *, hush: bool = False) -> Health:
        """How they fared since they were last asked; the question waits until a word has been heard.

        With `hush` they say nothing more until they are asked again.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("hush\n" if hush else "talk\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the healthy pair could not talk at all; its own words are above")
        return Health(**json.loads(line))

    def stop(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def __enter__(self) -> HealthyPair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
