"""Fuzzes all input from the network, and the models of outbox, room and subscriptions."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Sequence

from fuzzing.targets import NAMES, Target
from scripts.arguments import positive

EXAMPLES = 200  # for each seed


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=positive, default=180, metavar="N", help="for each target; default: 180"
    )
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--seed", type=positive, metavar="N", help="first seed; default: a random one")
    parser.add_argument("--atheris", action="store_true", help="fuzz frames guided by coverage, with atheris")
    given = parser.parse_args(argv)
    if given.seed is None:
        given.seed = random.randrange(1, 1 << 31)
    return given


def fuzz(target: Target, seed: int, seconds: float) -> bool:
    """Fuzzes one target for a number of seconds, or until it fails; returns whether it passed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before = time.monotonic()
        try:
            target.run(seed, EXAMPLES)
        except Exception:
            traceback.print_exc()
            done = f"{target.executions:,} executions"
            print(f"fuzz: {target.name}: FAILED, after {done}; again with --seed {seed}")
            return False
        seed += 1
        if time.monotonic() - before > seconds:
            break
    print(f"fuzz: {target.name}: ok, {target.executions:,} executions", flush=True)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzzes the chosen targets. Returns 0 if nothing was found, otherwise 1."""
    given = parse(argv)
    if given.atheris:
        from fuzzing.guided import run

        return run(given.seconds, given.seed)
    print(f"fuzz: seed {given.seed}, {given.seconds} s each", flush=True)
    try:
        found = [name for name in given.only if not fuzz(Target(name), given.seed, given.seconds)]
    except KeyboardInterrupt:
        print("fuzz: stopped", file=sys.stderr)
        return 130
    print(f"fuzz: FAILED: {', '.join(found)}" if found else "fuzz: ok: nothing was found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
