"""`python -m threadchat` in a process of its own: started, stopped, and looked at from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.ports import free_port

START_LINE = re.compile(r"threadchat: open (https?://\S+/) in a browser \(Ctrl-C stops\)\n")
PATIENCE = 20.0  # seconds after which something that does not happen fails its test


def until(condition: Callable[[], bool], what: str) -> None:
    """Looks again and again until `condition` holds; for what another process does and nothing announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.02)


def command(*arguments: str) -> list[str]:
    """The command line of a server."""
    return [sys.executable, "-m", "threadchat", *arguments]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings that happen to be in it, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THREADCHAT_")}
    return {**kept, **(extra or {})}


class Child(subprocess.Popen[Any]):
    """A process that is ended where its `with` block fails. Popen would wait for it, perhaps without end."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.terminate()
            try:
                self.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        super().__exit__(kind, *rest)


class ServerProcess:
    """A server on a free port of loopback; `restart` takes the same port again.

    `descriptors` is the most files and sockets that it may have open; None leaves that to the system.
    """

    def __init__(
        self,
        log_path: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        descriptors: int | None = None,
    ) -> None:
        self.port = free_port()
        secure = "s" if "--tls-cert" in arguments else ""
        self.url = f"http{secure}://127.0.0.1:{self.port}"
        self.ws = f"ws{secure}://127.0.0.1:{self.port}"
        self.log_path = log_path
        self._command = command("--port", str(self.port), *arguments)
        if descriptors is not None:
            self._command = ["bash", "-c", f'ulimit -n {descriptors}; exec "$@"', "bash", *self._command]
        self._environ = environment(environ)
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Starts the process and waits for its start line."""
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environ
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not START_LINE.fullmatch(line):
            code = self.stop()
            raise AssertionError(f"the server did not start, exit code {code}: {line}{self.log()}")

    def log(self) -> str:
        """All that the process has logged so far."""
        return self.log_path.read_text()

    def send_signal(self, number: int) -> None:
        """Sends a signal, and does not wait for what comes of it."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for the process's end; returns its exit code. One that does not end is killed."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the process by its own pid; returns its exit code."""
        if self.process is not None and self.process.poll() is None:
            self.send_signal(number)
        return self.wait()

    def restart(self) -> None:
        """Stops and starts again, on the same port."""
        self.stop()
        self.start()

    def threads(self) -> int:
        """How many threads the process has now."""
        return int(self._status("Threads"))

    def resident_bytes(self) -> int:
        """The process's resident memory now."""
        return int(self._status("VmRSS").split()[0]) * 1024

    def peak_bytes(self) -> int:
        """The most resident memory that the process ever had."""
        return int(self._status("VmHWM").split()[0]) * 1024

    def descriptors(self) -> int:
        """How many files and sockets the process has open now."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status(self, key: str) -> str:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(line for line in status.splitlines() if line.startswith(key)).split(":")[1].strip()
