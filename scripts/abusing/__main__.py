"""Abuses servers in all ways, one after the other, and prints the results; see `scripts/abuse --help`."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from watching.pair import HealthyPair

from abusing.abuse import Abuse
from abusing.attempt import LONGEST_ROUND, MOST_MEMORY, Result, attempt
from abusing.catalogue import ABUSES
from abusing.served import AbusedServer

HEADS = ("abuse", "took", "growth", "worst", "p99", "newcomer", "settled", "answers")
COLUMNS = "{:<34} {:>7} {:>9} {:>9} {:>8} {:>9} {:>8}  {}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/abuse",
        description="Abuses a server in every way that it must withstand, a new one each time, while two"
        " healthy people talk and newcomers join."
        f" Fails if the server grew by {MOST_MEMORY // 10**6} MB, kept a thread or a descriptor, refused"
        f" wrongly, logged too much, or delayed a message or a newcomer by {LONGEST_ROUND * 1000:.0f} ms.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="run abuses whose name contains one of these; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="smaller amounts of each")
    parser.add_argument("--list", action="store_true", help="print the names and exit")
    return parser.parse_args(argv)


def chosen(names: Sequence[str]) -> list[Abuse]:
    """The abuses whose name contains one of `names`; all if there are none."""
    return [it for it in ABUSES if not names or any(name in it.name for name in names)]


def row(result: Result) -> str:
    """One line of the table."""
    health = result.health
    return COLUMNS.format(
        result.abuse.name,
        f"{result.seconds:.1f} s",
        f"{result.growth / 1e6:.1f} MB",
        f"{health.worst * 1000:.1f} ms",
        f"{health.p99 * 1000:.1f} ms",
        f"{health.slowest * 1000:.1f} ms" if result.abuse.newcomers else "full",
        "yes" if result.settled else "NO",
        ", ".join(f"{answer} × {count:,}" for answer, count in sorted(result.answers.items())),
    )


def run(abuse: Abuse, folder: Path, *, quick: bool) -> Result:
    """Runs one abuse against a server of its own."""
    log = folder / f"{abuse.name.replace(' ', '-')}.log"
    server = AbusedServer(log, abuse)
    try:
        with HealthyPair(server.port, newcomers=abuse.newcomers) as pair:
            return attempt(abuse, server, pair, quick=quick)
    finally:
        server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the abuses. Returns 0 if the server withstood all of them, otherwise 1."""
    given = parse(argv)
    abuses = chosen(given.names)
    if given.list or not abuses:
        print("\n".join(it.name for it in ABUSES))
        return 0 if given.list else 1
    print(COLUMNS.format(*HEADS), flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for it in abuses:
            result = run(it, Path(folder), quick=given.quick)
            print(row(result), flush=True)
            for what, (value, most) in result.measured.items():
                print(f"    {what}: {value:.3g} (at most {most:.3g})")
            breaches = result.breaches(timed=True)
            for breach in breaches:
                print(f"    BREACH: {breach}", flush=True)
            failed += bool(breaches)
    print(f"abuse: {'FAILED: ' + str(failed) if failed else 'ok: none'} of {len(abuses)} broke a promise")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
