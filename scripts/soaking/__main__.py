"""Soaks a real server: people connect, talk, stall, break things and leave; all they receive is checked."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.arguments import positive
from soaking.conditions import CONDITIONS, Conditions, possible
from soaking.quiet import Quiet
from soaking.report import faults, table
from soaking.simulation import Simulation, Stopped
from tests.e2e.process import ServerProcess

HISTORY_SIZE = 300  # small, so that people who were away for long miss events
ARGUMENTS = (
    *("--history-size", str(HISTORY_SIZE)),
    *("--room-ttl", "3"),  # short, so that rooms are removed and created again with another epoch
    *("--ping-interval", "5", "--pong-timeout", "20"),
    *("--log-level", "warning"),
)
MOST_BETWEEN_DISTURBANCES = 20.0  # seconds, on average
PACE = 1.0  # seconds between two actions of one person, on average
MOST_QUIET_SECONDS = 60.0  # between two quiet points
GRAVE = ("Traceback", " ERROR ", " CRITICAL ")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=__doc__,
        epilog="All other flags go to the server: see scripts/run --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--seconds", type=positive, default=600, metavar="N", help="duration; default: 600")
    parser.add_argument("--people", type=positive, default=200, metavar="N", help="default: 200")
    parser.add_argument("--seed", type=positive, metavar="N", help="random seed; default: a new one")
    parser.add_argument(
        "--only",
        type=conditions_of,
        metavar="NAMES",
        help="conditions, separated by commas, or none; default: all that this machine supports of "
        + ", ".join(f"{name} ({what})" for name, what in CONDITIONS.items()),
    )
    parser.add_argument("--quick", action="store_true", help="40 people for 6 seconds, without redis")
    given, rest = parser.parse_known_args(argv)
    given.arguments, given.pace = rest, PACE
    if given.quick:
        given.seconds, given.people, given.pace = 6, 40, PACE / 8
    if given.only is None:
        given.only = [name for name in possible() if name != "redis" or not given.quick]
    if given.seed is None:
        given.seed = random.randrange(1, 1 << 31)
    return given


def conditions_of(text: str) -> list[str]:
    """Parses the names of conditions."""
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in CONDITIONS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CONDITIONS)}")
    return names


def soak(simulation: Simulation, quiet: Quiet, seconds: float) -> None:
    """Runs the simulation, with quiet points in between; at every second one of them, everybody leaves."""
    rounds = max(2, round(seconds / MOST_QUIET_SECONDS))
    quiet.begin()
    for number in range(rounds):
        simulation.run(seconds / rounds)
        quiet.look()
        if number % 2 or number == rounds - 1:
            quiet.everybody_leaves()
        print(
            f"soak: {simulation.elapsed():.0f} s: {simulation.counts['events received']:,} events checked, "
            f"faults: {simulation.checker.faults_in_all}",
            file=sys.stderr,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the soak. Returns 0 if no fault was found, 1 if there were faults, and 130 after Ctrl-C."""
    given = parse(argv)
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stops.append(number))
    print(f"soak: {given.people} people for {given.seconds} s, seed {given.seed}", file=sys.stderr)
    print(f"soak: with {', '.join(given.only) or 'nothing special'}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        every = min(MOST_BETWEEN_DISTURBANCES, given.seconds / 3)
        conditions = Conditions(given.only, Path(folder), random.Random(given.seed), every)
        arguments = (*ARGUMENTS, *conditions.arguments, *given.arguments)
        server = ServerProcess(Path(folder) / "server.log", *arguments)
        try:
            assert server.process is not None
            print(f"soak: server {server.process.pid}", file=sys.stderr)
            simulation = Simulation(
                server.port,
                given.people,
                given.seed,
                history_size=HISTORY_SIZE,
                pace=given.pace,
                conditions=conditions,
            )
            simulation.stopping = lambda: bool(stops)
            quiet = Quiet(simulation, server.process.pid)
            conditions.begin(server.process.pid, simulation.elapsed())
            with simulation.crowd:
                soak(simulation, quiet, given.seconds)
        except Stopped:
            print("soak: stopped", file=sys.stderr)
        finally:
            code = server.stop()
            conditions.close()
        complaints = server.log().splitlines()
    if stops:
        return 130
    if code:
        simulation.checker.fault("the server", f"ended with {code}")
    if any(word in line for line in complaints for word in GRAVE):
        simulation.checker.fault("the server", "logged an error", complaints[:60])
    for line in (*table(simulation, quiet), *faults(simulation, given.seed)):
        print(line)
    if simulation.checker.faults_in_all:
        print(f"soak: FAILED: {simulation.checker.faults_in_all} faults")
        return 1
    print(f"soak: ok: {given.people} people, {given.seconds} s, seed {given.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
