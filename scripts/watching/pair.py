"""The healthy pair: runs two people who talk in a process of their own, and asks for their delays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

END_SECONDS = 60.0  # for closing three connections
SCRIPTS = Path(__file__).parents[1]


class Health(NamedTuple):
    """The delays of the pair: `worst` and `p99`, in seconds until both have received a message.

    `rounds` counts messages. `slowest` is the longest time that one of so many `newcomers` took to connect,
    join and be heard, in seconds. `faults` describes each message that was lost, repeated or out of order,
    and each newcomer who was refused; faults are never cleared.
    """

    rounds: int
    worst: float
    p99: float
    newcomers: int
    slowest: float
    faults: list[str]


class HealthyPair:
    """Two people who talk to each other in a room all the time. A context manager.

    With `newcomers`, there is somebody for newcomers to talk to.
    """

    def __init__(
        self, port: int, room: str = "healthy", host: str = "127.0.0.1", *, newcomers: bool = False
    ) -> None:
        words = ["watching.talk", f"ws://{host}:{port}/chat", room, *(["--newcomers"] if newcomers else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}"},
        )
        self.health()  # waits until they are in the room

    def health(self, *, hush: bool = False) -> Health:
        """The delays since the last call; waits until one more message has been received.

        With `hush`, they send nothing more until the next call. No more newcomers come.
        """
        return self._ask("hush" if hush else "talk")

    def welcome(self) -> None:
        """From now on newcomers come, one after the other."""
        self._ask("welcome")

    def enough(self) -> None:
        """Waits for the last newcomer; there was at least one."""
        self._ask("enough")

    def stop(self) -> None:
        """Ends the process. If it does not end, it prints what it waits for."""
        try:
            self._process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._process.communicate()
            raise

    def _ask(self, word: str) -> Health:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the healthy pair failed; its error output is above")
        return Health(**json.loads(line))

    def __enter__(self) -> HealthyPair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
