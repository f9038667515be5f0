"""Runs all probes on each peer and on ours, prints what differs, and fails where nobody knows why."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings

from parity_probes import flask_sock, simple_websocket, websockets_sync
from parity_probes.probing import Table, answer

TABLES = {
    "websockets": websockets_sync.TABLE,
    "simple-websocket": simple_websocket.TABLE,
    "flask-sock": flask_sock.TABLE,
}


def compare(name: str, table: Table, peer: object, ours: object, *, quick: bool, verbose: bool) -> bool:
    """Runs one table; whether everything is as it should be."""
    counts = {"same": 0, "different": 0, "on purpose": 0}
    good = True
    for probe in table.probes:
        if quick and probe.slow:
            continue
        theirs, mine = answer(probe, peer), answer(probe, ours)
        why = table.reason(probe.name)
        verdict = "same" if theirs == mine else "on purpose" if why else "different"
        counts[verdict] += 1
        if verdict == "same" and why and not quick:
            print(f"{name}: {probe.name}: the same, though it is said to differ: {why}")
        if verdict == "different":
            good = False
        if verdict != "same" or verbose:
            print(f"{name}: {probe.name}: {verdict}")
        if verdict == "different" or (verdict == "on purpose" and verbose):
            print(f"    {name:>16}: {theirs!r}\n    {'threadchat':>16}: {mine!r}")
    total = sum(counts.values())
    share = counts["same"] / total
    print(f"{name}: {total} probes: {', '.join(f'{number} {word}' for word, number in counts.items())}")
    if share < table.share or (not quick and total < table.least):
        print(f"{name}: {table.least} probes are wanted, and {table.share:.0%} of them the same")
        good = False
    return good


def rows() -> list[str]:
    """What is not there, or otherwise, and why: a table in Markdown."""
    lines = ["| as in | what is otherwise here |", "|---|---|"]
    for name, table in TABLES.items():
        for why in dict.fromkeys(table.on_purpose.values()):
            lines.append(f"| {name} | {why} |")
    return lines


def main() -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/parity", description=__doc__)
    parser.add_argument("peers", nargs="*", choices=[*TABLES, []], help="which peers (all)")
    parser.add_argument("--quick", action="store_true", help="without the probes that wait")
    parser.add_argument("--verbose", action="store_true", help="every probe, and both answers")
    parser.add_argument(
        "--table", action="store_true", help="only print the README's table of what is not there"
    )
    options = parser.parse_args()
    if options.table:
        print("\n".join(rows()))
        return 0
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    good = True
    for name in options.peers or TABLES:
        table = TABLES[name]
        module = sys.modules[f"parity_probes.{table.peer}"]
        peer, ours = module.libraries()
        good &= compare(name, table, peer, ours, quick=options.quick, verbose=options.verbose)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
