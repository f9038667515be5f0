"""Runs all probes on each peer and on ours, prints what differs, and fails where nobody knows why."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from parity_probes import flask_sock, simple_websocket, websocket_client, websockets_sync
from parity_probes.probing import Probe, Table, answer

TABLES = {
    "websockets": websockets_sync.TABLE,
    "simple-websocket": simple_websocket.TABLE,
    "flask-sock": flask_sock.TABLE,
    "websocket-client": websocket_client.TABLE,
}


AT_ONCE = 8  # probes, most of which wait


def ask(probe: Probe, peer: object, ours: object) -> tuple[object, object, float]:
    """What both answer, and the seconds that it took."""
    began = time.monotonic()
    return answer(probe, peer), answer(probe, ours), time.monotonic() - began


def compare(name: str, table: Table, peer: object, ours: object, *, quick: bool, verbose: bool) -> bool:
    """Runs one table; whether everything is as it should be."""
    counts = {"same": 0, "different": 0, "on purpose": 0}
    asked = [probe for probe in table.probes if not (quick and probe.slow)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for probe, first in zip(asked, pool.map(lambda probe: ask(probe, peer, ours), asked), strict=True):
            why = table.reason(probe.name)
            again = first[0] != first[1] and why is None  # a busy machine may have been to blame
            theirs, mine, took = ask(probe, peer, ours) if again else first
            verdict = "same" if theirs == mine else "on purpose" if why else "different"
            counts[verdict] += 1
            if verdict != "same" or verbose:
                print(f"{name}: {probe.name}: {verdict} ({took:.1f} s)")
            if verdict == "different" or (verdict == "on purpose" and verbose):
                print(f"    {name:>16}: {theirs!r:.400}\n    {'threadchat':>16}: {mine!r:.400}")
    total = sum(counts.values())
    print(f"{name}: {total} probes: {', '.join(f'{number} {word}' for word, number in counts.items())}")
    if total < table.least or counts["same"] / total < table.share:
        print(f"{name}: {table.least} probes are wanted, and {table.share:.0%} of them the same")
        return False
    return not counts["different"]


def rows() -> list[str]:
    """What is missing or different, and why: a table in Markdown."""
    lines = ["| library | the difference in threadchat |", "|---|---|"]
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
    parser.add_argument("--table", action="store_true", help="only print the table of docs/parity.md")
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
