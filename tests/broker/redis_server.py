"""A Redis of a test's own: a real server on a free port of loopback, ended by its pid."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.ports import free_port
from tests.e2e.process import until

if TYPE_CHECKING:
    import redis

EXECUTABLE = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")
"""The variable names another server than the installed one, such as a newer version of Redis or Valkey."""


def why_not() -> str:
    """Why tests of Redis cannot run here; empty where they can."""
    if EXECUTABLE is None:
        return "no redis-server is installed"
    return "" if importlib.util.find_spec("redis") else "redis-py is not installed"


class RedisServer:
    """Appends every write to its file before it answers, so that a kill loses nothing.

    With `lasting=False` it keeps nothing, and is empty after a restart. With a certificate, chain and
    key, it speaks TLS only, and with a password it wants that.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lasting: bool = True,
        certificate: tuple[Path, Path] | None = None,
        password: str = "",
        more: list[str] | None = None,
    ) -> None:
        """`more` are further arguments of the server."""
        assert EXECUTABLE is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        security = ["--requirepass", password] if password else []
        if certificate is not None:
            chain, key = map(str, certificate)
            self.url = f"rediss{self.url[5:]}?ssl_ca_certs={chain}"
            security += ["--tls-port", str(self.port), "--tls-cert-file", chain, "--tls-key-file", key]
            security += ["--tls-ca-cert-file", chain, "--tls-auth-clients", "no"]
            security += ["--tls-replication", "yes", "--tls-cluster", "yes"]
        persistence = ["yes", "--appendfsync", "always"] if lasting else ["no"]
        port = "0" if certificate else str(self.port)
        address = ["--bind", "127.0.0.1", "--port", port, "--dir", str(folder), *security]
        self.command = [EXECUTABLE, *address, "--save", "", "--appendonly", *persistence, *(more or [])]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        until(self._answers, "Redis answers")

    def client(self) -> redis.Redis:
        """A connection to look at it; close it."""
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=5)

    def flush(self) -> None:
        """Empties it."""
        with self.client() as client:
            client.flushall()

    def kill_connections(self, kind: str) -> None:
        """Cuts off every connection of a kind: `normal`, or `pubsub` for those that listen."""
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    @property
    def is_running(self) -> bool:
        """Whether it was not killed."""
        return self._process is not None

    def pause(self) -> None:
        """Stops the process where it is: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "Redis did not start"
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
