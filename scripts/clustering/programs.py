"""Runs one program of a cluster as a process of its own: started, waited for, ended by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_SECONDS = 20.0  # until a program answers; a cold disk and a busy machine may take some
STOP_SECONDS = 20.0  # from SIGTERM to SIGKILL: longer than a node takes to drain
LOOK_SECONDS = 0.05  # between two looks at a program that is starting
LAST_LINES = 5  # of its log that tell why a program failed


class ProgramFailed(Exception):
    """A program ended, or does not answer; the message says which, and shows the end of its log."""


class Program:
    """A process; where it is not told otherwise, it is as good as started once its port takes connections.

    Its group is its own, so that a Ctrl-C in a terminal reaches only whoever started it. To be used on one
    thread.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, log_path: Path) -> None:
        """Nothing runs yet. The log, which takes what the program says, is added to."""
        self.name = name
        self.port = port
        self.log_path = log_path
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Program {self.name} port={self.port} pid={self.pid} code={self.code}>"

    # Starting

    def launch(self) -> None:
        """Starts the process and returns at once. Raises ProgramFailed where there is no such program."""
        environ = {name: text for name, text in os.environ.items() if not name.startswith("THREADCHAT_")}
        try:
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                )
        except OSError as error:
            raise ProgramFailed(f"{self.name}: cannot run {self._command[0]}: {error.strerror}") from None

    def await_ready(self, check: Callable[[], None] = lambda: None, timeout: float = START_SECONDS) -> None:
        """Waits until the program does its work. Raises ProgramFailed, and what `check` does meanwhile."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            check()
            if self.code is not None:
                raise ProgramFailed(f"{self.name} ended with code {self.code}{self._last_words()}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} does not answer after {timeout:g} s{self._last_words()}")
            time.sleep(LOOK_SECONDS)

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """Launches the process and waits until it does its work; raises as `await_ready`."""
        self.launch()
        self.await_ready(check)

    def is_ready(self) -> bool:
        """Whether the program does its work, as far as can be seen from outside."""
        return self.talk(b"") is not None

    def talk(self, request: bytes) -> bytes | None:
        """Says something on the program's port; the first bytes of the reply, None where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                if not request:
                    return b""
                sock.sendall(request)
                return sock.recv(4096) or None
        except OSError:
            return None

    # Looking

    @property
    def pid(self) -> int | None:
        """The number of the process; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def code(self) -> int | None:
        """The exit code, as subprocess gives it; None while the process runs, and before the first start."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """All that the program has said so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # Ending

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process, and waits for nothing; nothing happens to one that has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout: float = STOP_SECONDS) -> int | None:
        """Waits for the process's end and returns its exit code; one that does not end in time is killed."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> int | None:
        """Ends the process in order and returns its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Ends the process as a power cut does."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def _last_words(self) -> str:
        lines = [line for line in self.log().splitlines() if line.strip()][-LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines) if lines else "; it said nothing"


def executable(*names: str) -> str:
    """The path of the first program of these that there is. Raises ProgramFailed.

    Debian puts servers where not everybody's PATH leads.
    """
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ProgramFailed(f"there is no {' and no '.join(names)} on this machine")
