"""Runs one server as a process: starts it, waits until it listens, and ends it by its pid."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT = 20.0  # seconds until a server must listen; imports from a cold disk are slow
STOP_TIMEOUT = 5.0  # seconds from SIGTERM to SIGKILL; measurements are over by then


class ServerFailed(Exception):
    """Raised if a server did not start; the message has the last line that it wrote."""


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    pid: int
    port: int


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            state = "ended" if process.poll() is not None else f"does not listen after {START_TIMEOUT:g} s"
            said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ServerFailed(f"the server {state}: {said[-1]} (more in {log})")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(command: list[str], port: int, log: Path, directory: Path) -> Iterator[Running]:
    """Run `command`, which listens on `port`, while the block runs. Its output goes to `log`."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)  # for the harness, not for the server
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
        )
        try:
            _await_listening(process, port, log)
            yield Running(process.pid, port)
        finally:
            _stop(process)
