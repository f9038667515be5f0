"""One Redis or a Redis Cluster for a measurement, and what the servers say about the work that they did."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ports import free_port
from redis_slots import ask, join

from benchmark.process import ServerFailed, running

TIMEOUT = 10.0  # seconds for an answer


@dataclass(frozen=True)
class Work:
    """What servers have done by a time: CPU, in seconds like the time, reads of sockets, calls of scripts."""

    time: float
    cpu: float
    reads: int
    scripts: int
    servers: int = 1

    def since(self, before: Work) -> Work:
        """Return what was done between two looks; the second look itself is a read of each server."""
        return Work(
            self.time - before.time,
            self.cpu - before.cpu,
            self.reads - before.reads - self.servers,
            self.scripts - before.scripts,
            self.servers,
        )

    def __add__(self, other: Work) -> Work:
        """Return what both did by about the same time."""
        cpu, reads, scripts = self.cpu + other.cpu, self.reads + other.reads, self.scripts + other.scripts
        return Work(self.time, cpu, reads, scripts, self.servers + other.servers)


def work_of(info: str, time: float) -> Work:
    """Read what INFO said at a time. Every read but a few is a node's pipeline or command: a round trip."""
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    calls = lines.get("cmdstat_evalsha", "calls=0").partition("calls=")[2].partition(",")[0]
    cpu = float(lines["used_cpu_user"]) + float(lines["used_cpu_sys"])
    return Work(time, cpu, int(lines["total_reads_processed"]), int(calls))


@dataclass(frozen=True)
class Server:
    """One that runs, and a connection to look at it."""

    port: int
    bus_port: int
    sock: socket.socket

    def work(self) -> Work:
        """Return what it has done so far."""
        return work_of(ask(self.sock, "INFO", "cpu", "stats", "commandstats").decode(), time.monotonic())


@dataclass(frozen=True)
class Redis:
    """What nodes share: one server, or the masters of a Redis Cluster, which have no replicas."""

    servers: list[Server]

    @property
    def url(self) -> str:
        """Return what nodes call it."""
        addresses = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis://{addresses}/0" if len(self.servers) == 1 else f"redis-cluster://{addresses}/"

    def work(self) -> Work:
        """Return what all servers have done so far."""
        first, *others = [server.work() for server in self.servers]
        return sum(others, first)


@contextmanager
def redis_running(program: Path, masters: int, fsync: str, log: Path) -> Iterator[Redis]:
    """Run one or more, empty, for as long as the block lasts; `masters` and `fsync` as in Setup."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(_server(program, masters, fsync, log.with_suffix(f".{number}.log")))
            for number in range(1, masters + 1)
        ]
        if masters > 1:
            ports = [(server.port, server.bus_port) for server in servers]
            try:
                join(lambda number, *words: ask(servers[number].sock, *words), ports, masters)
            except TimeoutError as error:
                raise ServerFailed(str(error)) from None
        yield Redis(servers)


@contextmanager
def _server(program: Path, masters: int, fsync: str, log: Path) -> Iterator[Server]:
    port, bus_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="threadchat-bench-", ignore_cleanup_errors=True) as folder:
        command = [str(program), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
        if masters > 1:
            command += ["--cluster-enabled", "yes", "--cluster-port", str(bus_port)]
        with (
            running(command, port, log, Path(folder)),
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock,
        ):
            yield Server(port, bus_port, sock)


def version(program: Path) -> str:
    """Return what it calls itself; its answer is "Redis server v=7.0.15 sha=…"."""
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True).stdout
    return said.partition("v=")[2].partition(" ")[0] or "unknown"
