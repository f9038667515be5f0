"""A Redis for one measurement, and what it says about the work that it did."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

from benchmark.process import running

TIMEOUT = 10.0  # seconds for an answer


@dataclass(frozen=True)
class Work:
    """What a Redis has done by a time: CPU, in seconds like the time, reads of sockets, calls of scripts."""

    time: float
    cpu: float
    reads: int
    scripts: int

    def since(self, before: Work) -> Work:
        """Return what was done between two looks; the second look itself is one of the reads."""
        return Work(
            self.time - before.time,
            self.cpu - before.cpu,
            self.reads - before.reads - 1,
            self.scripts - before.scripts,
        )


def work_of(info: str, time: float) -> Work:
    """Read what INFO said at a time. Every read but a few is a node's pipeline or command: a round trip."""
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    calls = lines.get("cmdstat_evalsha", "calls=0").partition("calls=")[2].partition(",")[0]
    cpu = float(lines["used_cpu_user"]) + float(lines["used_cpu_sys"])
    return Work(time, cpu, int(lines["total_reads_processed"]), int(calls))


@dataclass(frozen=True)
class Redis:
    """One that runs, and a connection to look at it."""

    port: int
    sock: socket.socket

    @property
    def url(self) -> str:
        """Return what nodes call it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def work(self) -> Work:
        """Return what it has done so far."""
        self.sock.sendall(b"INFO cpu stats commandstats\r\n")
        with self.sock.makefile("rb") as answer:
            length = int(answer.readline()[1:])
            return work_of(answer.read(length + 2).decode(), time.monotonic())


@contextmanager
def redis_running(program: Path, fsync: str, log: Path) -> Iterator[Redis]:
    """Run an empty one for as long as the block lasts; `fsync` as in Setup."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="threadchat-bench-", ignore_cleanup_errors=True) as folder:
        command = [str(program), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
        with (
            running(command, port, log, Path(folder)),
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock,
        ):
            yield Redis(port, sock)


def version(program: Path) -> str:
    """Return what it calls itself; its answer is "Redis server v=7.0.15 sha=…"."""
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True).stdout
    return said.partition("v=")[2].partition(" ")[0] or "unknown"
