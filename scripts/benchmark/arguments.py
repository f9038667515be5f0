"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from benchmark.servers import ALL_PEERS, Server
from benchmark.workloads import Workload

EXAMPLES = """\
examples:
  scripts/bench                                        everything, three rounds
  scripts/bench --only fanout-1000-w64 --peers websockets.sync --rounds 1
  scripts/bench --only direct-1000-w1 --peers --rounds 1 --seconds 20
                                                       threadchat alone, for as long as a profiler wants
  scripts/bench --only rooms-50x20 --rate 800 --peers go-hub
                                                       small rooms at this rate
  scripts/bench --only storm --clients 2000            a storm of 2,000
  scripts/bench --compare bench-results/history/results-OLD.json
                                                       everything, and the ratio of each row to that run's
  scripts/bench --list                                 the workloads by name
  scripts/bench --cluster                              several nodes over Redis beside one in memory
"""


class Unknown(ValueError):
    """Raised for an unknown name; the message lists the known ones."""


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed arguments."""
    parser = argparse.ArgumentParser(
        "scripts/bench",
        description="Measures threadchat on this machine, against its peers or as a cluster.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(peer.name for peer in ALL_PEERS)
    add = parser.add_argument
    add("--quick", action="store_true", help="a small, short run of some workloads: does all of it work?")
    add("--only", nargs="+", metavar="WORKLOAD", help="names, or patterns such as 'fanout-*'")
    add("--peers", nargs="*", metavar="PEER", help=f"of {names}; none of them for threadchat alone")
    add("--no-ours", action="store_true", help="the peers alone")
    add("--rounds", type=int, help="3, or 1 with --quick")
    add("--seconds", type=float, help="measured time of each run, instead of each workload's own")
    add("--rate", type=float, metavar="MESSAGES", help="a second, from all talkers of a workload with a rate")
    add("--clients", type=int, help="how many come back in the storm (10,000, or what this machine can hold)")
    add("--out", type=Path, metavar="DIR", help="where the results go (bench-results)")
    add("--python", default=sys.executable, help="interpreter to make the environment from")
    add("--no-setup", action="store_true", help="use --python as it is, and those peers that it has")
    add("--our-arguments", default="", metavar="WORDS", help="further arguments of threadchat, as one string")
    add("--list", action="store_true", help="list the workloads and end")
    add(
        "--compare",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="the JSON of a run, to compare this one with; of two: compare them, and measure nothing",
    )
    add(
        "--cluster",
        action="store_true",
        help="threadchat alone: 1, 2 and 3 nodes over Redis, 3 over a Redis Cluster, and 1 in memory",
    )
    given = parser.parse_args(words)
    if given.rounds is None:
        given.rounds = 1 if given.quick else 3
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    if given.compare and len(given.compare) > 2:
        parser.error("--compare takes one or two files")
    if given.cluster and (given.peers or given.no_ours):
        parser.error("--cluster measures threadchat alone: it takes neither --peers nor --no-ours")
    return given


def chosen_peers(names: list[str] | None) -> list[Server]:
    """Return the peers of these names, all of them for None."""
    known = {peer.name: peer for peer in ALL_PEERS}
    for name in names or []:
        if name not in known:
            raise Unknown(f"no peer is called {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in (known if names is None else names)]


def chosen_workloads(patterns: list[str] | None, quick: bool, known: list[Workload]) -> list[Workload]:
    """Return the workloads that match, and the workloads with which these are compared."""
    for pattern in patterns or []:
        if not any(fnmatchcase(workload.name, pattern) for workload in known):
            raise Unknown(f"no workload matches {pattern!r}; there are: {', '.join(w.name for w in known)}")
    if patterns:
        chosen = [w for w in known if any(fnmatchcase(w.name, pattern) for pattern in patterns)]
    else:
        chosen = [w for w in known if w.in_quick or not quick]
    baselines = {workload.baseline for workload in chosen}
    return [workload for workload in known if workload in chosen or workload.name in baselines]
