"""The kinds of programs in a cluster: a Redis with durable writes, nodes, and nginx."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ports import free_port

from clustering.nginx import configuration
from clustering.programs import Program, executable


class Redis(Program):
    """A redis-server that writes to disk before it acknowledges."""

    def __init__(self, folder: Path, name: str = "redis", flags: Sequence[str] = ()) -> None:
        """`folder` is for its data and its log, both called `name`. `flags` are further ones of the server.

        Raises ProgramFailed if no Redis is installed.
        """
        self.data = folder / name
        self.data.mkdir()
        port = free_port()
        command = [executable("redis-server", "valkey-server"), "--bind", "127.0.0.1", "--port", str(port)]
        command += [
            "--dir",
            str(self.data),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--daemonize",
            "no",
            *flags,
        ]
        super().__init__(name, command, port, folder / f"{name}.log")
        self.programs: list[Program] = [self]

    @property
    def url(self) -> str:
        """The URL that nodes use."""
        return f"redis://127.0.0.1:{self.port}/0"

    def is_ready(self) -> bool:
        """Whether it has loaded its data; until then it answers with an error."""
        return self.talk(b"PING\r\n") == b"+PONG\r\n"


class Node(Program):
    """A chat server."""

    def __init__(self, number: int, redis_url: str, folder: Path, flags: Sequence[str] = ()) -> None:
        """`flags` are those of `python -m threadchat`."""
        port = free_port()
        command = [sys.executable, "-m", "threadchat", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--broker", redis_url, "--trusted-proxy", "127.0.0.1", *flags]  # nginx
        super().__init__(f"node-{number}", command, port, folder / f"node-{number}.log")

    def is_ready(self) -> bool:
        """Whether it serves, and receives what other nodes publish."""
        return is_ok(self.talk(request("/readyz")))

    def pause(self) -> None:
        """Suspends the process, as if its network were cut: connections stay open, and nothing moves."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a suspended process."""
        self.send_signal(signal.SIGCONT)


class Nginx(Program):
    """The nginx in front of the nodes, with the adapted configuration of scripts/deploy."""

    def __init__(self, nodes: Sequence[Node], folder: Path, port: int = 0, *, by_room: bool = False) -> None:
        """Writes that configuration; port 0 chooses a free one. Raises ProgramFailed without nginx.

        `by_room` keeps people of a room on few nodes.
        """
        port = port or free_port()
        self.folder = folder / "nginx"
        self.folder.mkdir()
        self.configuration = self.folder / "nginx.conf"
        upstreams = [f"127.0.0.1:{node.port}" for node in nodes]
        text = configuration(f"127.0.0.1:{port}", upstreams, self.folder, by_room=by_room)
        self.configuration.write_text(text, encoding="utf-8")
        super().__init__("nginx", self.command("-g", "daemon off;"), port, folder / "nginx.log")

    def command(self, *flags: str) -> list[str]:
        """The command line of nginx with this configuration; `-t` tests it."""
        # -e: before nginx has read its configuration, it logs to a file that only root may open.
        return [
            executable("nginx"),
            "-p",
            f"{self.folder}/",
            "-c",
            str(self.configuration),
            "-e",
            "stderr",
            *flags,
        ]

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def is_ready(self) -> bool:
        """Whether it reaches a node."""
        return is_ok(self.talk(request("/healthz")))


def request(path: str) -> bytes:
    """A plain HTTP request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


def is_ok(response: bytes | None) -> bool:
    """Whether a response has the status 200."""
    return response is not None and response.startswith(b"HTTP/1.1 200 ")
