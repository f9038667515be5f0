"""Somebody else's server in a process of its own, with the chat mounted in what it serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

from scripts.ports import free_port
from tests.e2e.process import PATIENCE, environment, until
from tests.wire.helpers import Peer

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent
HANDSHAKE = (
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
EXAMPLES = ROOT / "scripts" / "examples"


class Host:
    """A server started by `command`, in which `{port}` stands for a free port; a context manager.

    It has a process group of its own, so that no worker of its outlives a test.
    """

    def __init__(self, folder: Path, *command: str, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"
        self.log_path = folder / "server.log"
        paths = {"PYTHONPATH": f"{ROOT}:{APPS}:{EXAMPLES}", "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(word.replace("{port}", str(self.port)) for word in command)],
                cwd=folder,
                env=environment({**paths, "PORT": str(self.port), **environ}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            until(self._listens, "the server to listen")
        except BaseException:
            self.kill()
            raise AssertionError(f"the server did not start: {self.log()}") from None

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def log(self) -> str:
        """All that the server has written so far."""
        return self.log_path.read_text()

    def wait_for_log(self, text: str) -> None:
        """Waits for a line that has `text` in it."""
        until(lambda: text in self.log(), f"{text!r} in the log")

    def get(self, path: str = "/", data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request, with a connection of its own; redirections are followed. Status and body."""
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def cookie(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        """One request that logs in, by form where there are `data`; status and cookie."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("GET" if data is None else "POST", path, data, form)
        response = connection.getresponse()
        connection.close()
        return response.status, (response.getheader("Set-Cookie") or "").partition(";")[0]

    def knock(self, *headers: str, path: str = "/chat", more: bytes = b"") -> tuple[int, Peer]:
        """Asks for a WebSocket, with `headers` in place of the usual ones; status and connection."""
        peer = Peer(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE))
        given = {line.partition(":")[0] for line in headers}
        usual = [line for line in HANDSHAKE if line.partition(":")[0] not in given]
        lines = [f"GET {path} HTTP/1.1", *usual, *headers, "", ""]
        peer.send("\r\n".join(lines).encode(), more)
        return int(peer.response().split()[1]), peer

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the server by its own pid and waits for it, not for ever; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends the whole process group at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError("it ended")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def gunicorn(folder: Path, app: str, *arguments: str, **environ: str) -> Host:
    """gunicorn with one worker of the gthread kind, unless `arguments` say otherwise."""
    return Host(
        folder,
        *(
            "-m",
            "gunicorn",
            "--bind",
            "127.0.0.1:{port}",
            "--worker-class",
            "gthread",
            "--access-logfile",
            "-",
        ),
        *(*arguments, app),
        **environ,
    )
