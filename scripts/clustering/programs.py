"""Runs one program of a cluster as a process: starts it, waits until it is ready, ends it by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_SECONDS = 20.0  # for a program to answer; a cold disk or a busy machine may need some
STOP_SECONDS = 20.0  # from SIGTERM to SIGKILL; longer than a node takes to drain
LOOK_SECONDS = 0.05  # between two checks of a program that is starting
LAST_LINES = 5  # of its log, which show why a program failed


class ProgramFailed(Exception):
    """A program ended, or does not answer; the message says which, and shows the end of its log."""


class Program:
    """A process. Unless a subclass checks more, it is ready once its port accepts connections.

    It has a process group of its own, so that Ctrl-C in a terminal reaches only the program that started it.
    Used on one thread.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, log_path: Path) -> None:
        """Does not start the process. Its output is appended to the log."""
        self.name = name
        self.host = "127.0.0.1"
        self.port = port
        self.environ: dict[str, str] = {}  # added to this process's
        self.log_path = log_path
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Program {self.name} port={self.port} pid={self.pid} code={self.code}>"

    # Starting

    def launch(self) -> None:
        """Starts the process and returns at once.

        Raises ProgramFailed if the program cannot be run, or if another one, which would be taken for it,
        listens on its port.
        """
        if self.talk(b"") is not None:
            raise ProgramFailed(f"{self.name}: another program listens on port {self.port}")
        failures: list[OSError] = []
        # On another thread, because an exception of a signal handler between the fork and the assignment
        # would leave a process that nobody ends.
        launching = threading.Thread(target=self._launch, args=(failures,))
        launching.start()
        try:
            launching.join()
        except BaseException:
            launching.join()
            raise
        for error in failures:
            raise ProgramFailed(f"{self.name}: cannot run {self._command[0]}: {error.strerror}")

    def _launch(self, failures: list[OSError]) -> None:
        environ = {name: text for name, text in os.environ.items() if not name.startswith("THREADCHAT_")}
        try:
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**environ, "PYTHONUNBUFFERED": "1", **self.environ},
                    start_new_session=True,
                )
        except OSError as error:
            failures.append(error)

    def await_ready(self, check: Callable[[], None] = lambda: None, timeout: float = START_SECONDS) -> None:
        """Waits until the program is ready. Raises ProgramFailed, and exceptions of `check`."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            check()
            if self.code is not None:
                raise ProgramFailed(f"{self.name} ended with code {self.code}{self._last_words()}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} does not answer after {timeout:g} s{self._last_words()}")
            time.sleep(LOOK_SECONDS)

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """Launches the process and waits until it is ready; raises like `await_ready`."""
        self.launch()
        self.await_ready(check)

    def is_ready(self) -> bool:
        """Whether the program is ready, as far as can be seen from outside."""
        return self.talk(b"") is not None

    def talk(self, request: bytes) -> bytes | None:
        """Sends bytes to the program's port; returns the first bytes of the reply, or None."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as sock:
                if not request:
                    return b""
                sock.sendall(request)
                return sock.recv(4096) or None
        except OSError:
            return None

    # Looking

    @property
    def pid(self) -> int | None:
        """The process id; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def code(self) -> int | None:
        """The exit code, as in subprocess; None while the process runs and before the first start."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """The output of the program so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # Ending

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process, unless it has ended; does not wait."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout: float = STOP_SECONDS) -> int | None:
        """Waits until the process ends, kills it after `timeout` seconds, and returns its exit code."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> int | None:
        """Stops the process with SIGTERM and returns its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kills the process, as a power cut would."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def _last_words(self) -> str:
        lines = [line for line in self.log().splitlines() if line.strip()][-LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines) if lines else "; it said nothing"


def executable(*names: str) -> str:
    """The path of the first of these programs that is installed. Raises ProgramFailed.

    Debian installs servers in a folder that is not in everybody's PATH.
    """
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ProgramFailed(f"there is no {' and no '.join(names)} on this machine")
