"""Runs one server as a process: starts it, waits until it is up, and ends it by its pid."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

START_TIMEOUT = 20.0  # seconds until a server must be up; imports from a cold disk are slow
STOP_TIMEOUT = 5.0  # seconds from SIGTERM to SIGKILL; measurements are over by then

IsUp = Callable[[int, Path], bool]  # is given the port and the log


class ServerFailed(Exception):
    """Raised if a server did not start; the message has the last line that it wrote."""


@dataclass(frozen=True)
class Running:
    """A server that is up."""

    pid: int
    port: int

    @property
    def pids(self) -> list[int]:
        """Its process and all that this one started, such as workers."""
        return _family(self.pid)


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def listens(port: int, _log: Path) -> bool:
    """Return whether the port accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_ready(port: int, log: Path) -> bool:
    """Return whether a threadchat has announced itself, which all workers precede, and hears its broker."""
    if b"http://" not in log.read_bytes():
        return False
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def _await(is_up: IsUp, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not is_up(port, log):
        if process.poll() is not None or time.monotonic() > deadline:
            state = "ended" if process.poll() is not None else f"is not up after {START_TIMEOUT:g} s"
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
def running(
    command: list[str], port: int, log: Path, directory: Path, is_up: IsUp = listens
) -> Iterator[Running]:
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
            _await(is_up, process, port, log)
            yield Running(process.pid, port)
        finally:
            _stop(process)
