"""The healthy pair: runs two people who talk in a process of their own, and asks for their delays."""

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
    """The delays of the pair: `worst` and `p99`, in seconds until both have received a message.

    `rounds` counts messages. `faults` describes each message that was lost, repeated or out of order; faults
    are never cleared.
    """

    rounds: int
    worst: float
    p99: float
    faults: list[str]


class HealthyPair:
    """Two people who talk to each other in a room all the time. A context manager."""

    def __init__(self, port: int, room: str = "healthy", host: str = "127.0.0.1") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "watching.talk", f"ws://{host}:{port}/chat", room],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}"},
        )
        self.health()  # waits until they are in the room

    def health(self, *, hush: bool = False) -> Health:
        """The delays since the last call; waits until one more message has been received.

        With `hush`, they send nothing more until the next call.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("hush\n" if hush else "talk\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the healthy pair failed; its error output is above")
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
