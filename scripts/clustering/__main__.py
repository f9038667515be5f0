"""Starts a cluster to try out: prints its address, restarts what ends, stops it on Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import queue
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from clustering.cluster import NODES, Cluster
from clustering.programs import ProgramFailed

LOOK_SECONDS = 0.5  # between two checks whether all programs still run


class Interrupted(Exception):
    """A signal to stop arrived while a program was starting."""


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        description="Runs Redis, nodes and nginx on free ports of this machine until Ctrl-C.",
        epilog="All other flags go to every node: see scripts/run --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--nodes", type=count, default=NODES, metavar="N", help=f"default: {NODES}")
    parser.add_argument(
        "--port",
        type=port,
        default=0,
        metavar="PORT",
        help="port of nginx; 0, the default, chooses a free one",
    )
    parser.add_argument(
        "--by-room",
        action="store_true",
        help="keep people of a room on few nodes, if their clients connect to /chat?room=NAME",
    )
    parser.add_argument(
        "--redis-cluster",
        action="store_true",
        help="instead of one Redis, three masters among which the rooms are divided, and their replicas",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="start all of it, say so and stop; a Redis Cluster has no replicas then",
    )
    return parser.parse_known_args(argv)


def count(text: str) -> int:
    return whole(text, 1, 50)


def port(text: str) -> int:
    return whole(text, 0, 65_535)


def whole(text: str, low: int, high: int) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {low} to {high}")
    return number


class Stop:
    """Catches SIGINT and SIGTERM from its creation on. Create it on the main thread."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self._arrived.put(number))

    def came(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for a signal; returns whether one arrived."""
        try:
            self._arrived.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def check(self) -> None:
        """Raises Interrupted if a signal has arrived."""
        if self.came(0):
            raise Interrupted


def look_after(cluster: Cluster, stop: Stop) -> None:
    """Restarts programs that end, until a signal to stop arrives. Raises ProgramFailed and Interrupted."""
    while not stop.came(LOOK_SECONDS):
        for program in cluster.programs:
            if not program.running:
                tell(f"{program.name} ended with code {program.code}; starting it again")
                program.start(stop.check)


def tell(message: str) -> None:
    sys.stderr.write(f"threadchat: {message}\n")
    sys.stderr.flush()


def run(cluster: Cluster, stop: Stop, folder: str, *, quick: bool) -> None:
    """Runs the cluster until a signal to stop. If it is to be `quick`, stops as soon as all of it serves.

    Raises ProgramFailed and Interrupted; then nothing runs.
    """
    with cluster:
        listed = ", ".join(
            f"{program.name} (port {program.port}, pid {program.pid})" for program in cluster.programs
        )
        tell(f"{listed}; logs in {folder}")
        sys.stdout.write(f"threadchat: open {cluster.url} in a browser (Ctrl-C stops)\n")
        sys.stdout.flush()
        if not quick:
            look_after(cluster, stop)
        tell("stopping ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a cluster. Returns 0 after a signal, and 1 if a program could not be started."""
    given, flags = parse(argv)
    stop = Stop()
    with tempfile.TemporaryDirectory(prefix="threadchat-", ignore_cleanup_errors=True) as folder:
        try:
            cluster = Cluster(
                Path(folder),
                nodes=given.nodes,
                port=given.port,
                by_room=given.by_room,
                redis_cluster=given.redis_cluster,
                replicas=0 if given.quick else 1,
                flags=flags,
                check=stop.check,
            )
            run(cluster, stop, folder, quick=given.quick)
        except ProgramFailed as error:
            tell(str(error))
            return 1
        except Interrupted:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
