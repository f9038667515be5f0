"""A Redis Cluster of three masters and their replicas, each server a program of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from ports import free_port
from redis_slots import MASTERS, ask, join

from clustering.parts import Redis
from clustering.programs import Program, ProgramFailed

TIMEOUT_MS = 2000  # without a sign of a master until its replica takes over


class Member(Redis):
    """One server of the cluster."""

    def __init__(self, folder: Path, number: int, host: str) -> None:
        """`folder` and errors as with Redis. `host` is the address on which it listens."""
        self.bus_port = free_port()
        flags = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        flags += ["--cluster-node-timeout", str(TIMEOUT_MS), "--repl-diskless-sync-delay", "0"]
        super().__init__(folder, f"redis-{number}", [*flags, "--bind", host, "--protected-mode", "no"])
        self.host = host

    def run(self, *words: object) -> bytes:
        """Runs a command; returns its answer. Raises ProgramFailed."""
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as sock:
                return ask(sock, *words)
        except OSError as error:
            raise ProgramFailed(f"{self.name}: {error}") from None


class RedisCluster:
    """Starts like one Redis. Afterwards, a server that ended may be started by itself."""

    def __init__(self, folder: Path, replicas: int = 1, host: str = "127.0.0.1") -> None:
        """`folder` is for data and logs. Each master has so many `replicas`. Raises ProgramFailed."""
        self._host = host
        self.members = [Member(folder, number, host) for number in range(1, MASTERS * (1 + replicas) + 1)]
        self.programs: list[Program] = [*self.members]

    @property
    def url(self) -> str:
        """The URL that nodes use: any of these servers names the others."""
        return f"redis-cluster://{','.join(f'{each.host}:{each.port}' for each in self.members[:MASTERS])}/"

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """Starts the servers and joins them. Raises ProgramFailed, and exceptions of `check`."""
        for each in self.members:
            each.launch()
        for each in self.members:
            each.await_ready(check)
        ports = [(each.port, each.bus_port) for each in self.members]
        try:
            join(self.run, ports, check=check, host=self._host)
        except TimeoutError as error:
            raise ProgramFailed(str(error)) from None

    def run(self, number: int, *words: object) -> bytes:
        """Runs a command on the server with a number from 0 on; see Member.run."""
        return self.members[number].run(*words)
