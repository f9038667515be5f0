"""Fills a room, floods it from one sender, and checks that everybody got every message, once and in order."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.arguments import positive
from tests.e2e.crowd import Crowd, Member
from tests.e2e.process import ServerProcess

ROOM = "order"
SPARE_DESCRIPTORS = 50  # what a process has open besides its connections
MOST_FAULTS_SHOWN = 10


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/order", description=__doc__)
    parser.add_argument("--connections", type=positive, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--messages", type=positive, default=300, metavar="M", help="default: 300")
    parser.add_argument("--quick", action="store_true", help="100 connections, 100 messages")
    given = parser.parse_args(argv)
    if given.quick:
        given.connections = given.messages = 100
    return given


def fault(member: Member, expected: list[str]) -> str | None:
    """What is wrong with what one connection got, or None."""
    got = member.messages
    if member.faults:
        return member.faults[0]
    if got != expected[: len(got)]:
        pairs = enumerate(zip(got, expected, strict=False))
        place = next((at for at, (one, other) in pairs if one != other), len(expected))
        return f"message {place + 1} is {got[place]!r} instead of number {place + 1}"
    if not member.has_no_hole():
        return "the events' ids are not consecutive"
    if len(got) < len(expected):
        ended = "still open" if member.closed is None else f"closed with {member.closed}"
        return f"got {len(got):,} of {len(expected):,} messages, {ended}"
    return None


def flood(crowd: Crowd, connections: int, messages: int) -> tuple[list[str], float]:
    """Fills the room and floods it; returns the faults, and how many seconds the flood took."""
    members = crowd.enter(connections, ROOM)
    expected = [f"{number:06} {'.' * 60}" for number in range(messages)]
    started = time.monotonic()
    members[0].say(ROOM, expected)
    with contextlib.suppress(TimeoutError):  # what is missing then is found below
        crowd.run(lambda: all(len(it.messages) >= messages or it.closed is not None for it in members))
    seconds = time.monotonic() - started
    # Whoever was given too much is given it before the answer to another question.
    with contextlib.suppress(TimeoutError, AssertionError):
        crowd.ask_all([it for it in members if it.closed is None], "ping")
    found = ((number, fault(member, expected)) for number, member in enumerate(members, start=1))
    return [f"connection {number}: {what}" for number, what in found if what], seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the check; 0 where everything was as it should be, 1 where something was not."""
    given = parse(argv)
    possible = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
    if given.connections > possible:
        print(f"order: this machine allows {possible} connections, not {given.connections} (ulimit -n)")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        server = ServerProcess(log, "--log-level", "warning")
        try:
            with Crowd(server.port) as crowd:
                faults, seconds = flood(crowd, given.connections, given.messages)
        finally:
            server.stop()
        complaints = server.log().splitlines()
    deliveries = given.connections * given.messages
    size = f"{given.connections:,} connections x {given.messages:,} messages = {deliveries:,} deliveries"
    for line in [*faults, *(f"server: {line}" for line in complaints)][:MOST_FAULTS_SHOWN]:
        print(f"order: {line}", file=sys.stderr)
    if faults or complaints:
        print(f"order: FAILED: {size}; connections at fault: {len(faults)}, complaints: {len(complaints)}")
        return 1
    print(f"order: ok: {size}, all in order, in {seconds:.1f} s ({deliveries / seconds:,.0f} a second)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
