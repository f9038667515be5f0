"""Breaks a cluster at random while people talk, and checks that the chat keeps its promises meanwhile."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final

from clustering.programs import ProgramFailed

from faulting import network, quiet
from faulting.catalogue import OF_CLOCKS, OF_CLUSTER, OF_NODES, OF_REDIS, Fault
from faulting.cluster_site import ClusterSite
from faulting.observations import Observations
from faulting.people import Person
from faulting.site import Site
from scripts.arguments import positive

ROOMS: Final = ("lobby", "games", "music", "news")
EACH_IN: Final = 2  # rooms
ROUND_SECONDS: Final = 30.0  # between two quiet points
QUICK_ROUND_SECONDS: Final = 7.0
PACE: Final = 1.0  # seconds between two messages of one person, on average
QUICK_PACE: Final = 0.3
FAULTS: Final = {fault.__name__: fault for fault in (*OF_NODES, *OF_REDIS, *OF_CLUSTER)}
GRAVE: Final = ("Traceback", " CRITICAL ")


class Stopped(Exception):
    """Ctrl-C, or SIGTERM."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=positive, default=600, metavar="N", help="duration; default: 600")
    parser.add_argument("--people", type=positive, default=50, metavar="N", help="default: 50")
    parser.add_argument("--seed", type=positive, metavar="N", help="random seed; default: a new one")
    parser.add_argument(
        "--only",
        type=faults_of,
        default=list(FAULTS),
        metavar="NAMES",
        help=f"faults, separated by commas; default: {','.join(FAULTS)}",
    )
    parser.add_argument(
        "--broken",
        default="",
        choices=("ack-before-append", "heal-without-epoch"),
        help="put a fault into the nodes, to see that it is found",
    )
    parser.add_argument(
        "--quick", action="store_true", help="12 people, two rounds of some seconds; with --broken up to ten"
    )
    parser.add_argument(
        "--proxies", action="store_true", help="no network namespaces, which are for root and lose packets"
    )
    parser.add_argument(
        "--redis-cluster", action="store_true", help="three masters and three replicas; needs namespaces"
    )
    given = parser.parse_args(argv)
    given.round, given.pace = ROUND_SECONDS, PACE
    if given.quick:
        rounds = 10 if given.broken else 2  # a fault need not show in the first ones
        given.seconds, given.people = int(rounds * QUICK_ROUND_SECONDS), 12
        given.round, given.pace = QUICK_ROUND_SECONDS, QUICK_PACE
    if given.seed is None:
        given.seed = random.randrange(1, 1 << 31)
    return given


def faults_of(text: str) -> list[str]:
    """Parses the names of faults."""
    for name in text.split(","):
        if name not in FAULTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(FAULTS)}")
    return text.split(",")


def say(text: str) -> None:
    print(f"faults: {text}", file=sys.stderr, flush=True)


@contextmanager
def crowd(site: Site, given: argparse.Namespace, observations: Observations) -> Iterator[list[Person]]:
    """People who have come, and who go in the end."""
    people: list[Person] = []
    with ExitStack() as stack:
        for number in range(given.people):
            own = Random(given.seed * 1000 + number)
            rooms = own.sample(ROOMS, EACH_IN)
            url = f"http://127.0.0.1:{site.to_nginx[number % len(site.to_nginx)].port}/"
            person = Person(number, url, rooms, observations, own, pace=given.pace)
            stack.callback(person.close)
            person.enter()
            people.append(person)
        for person in people:
            person.others = [other for other in people if other is not person]
        yield people


def disturb(site: Site, chosen: Sequence[str], seconds: float, own: Random, did: Counter[str]) -> None:
    """One or two faults at a time, one after the other, for so many seconds."""
    of_nodes: list[Fault] = [fault for fault in OF_NODES if fault.__name__ in chosen]
    here = OF_CLUSTER if isinstance(site, ClusterSite) else OF_REDIS
    of_redis: list[Fault] = [fault for fault in here if fault.__name__ in chosen]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with ExitStack() as stack:
            if of_nodes and (not of_redis or own.random() < 0.7):
                fault = own.choice(of_nodes)
                did[fault.__name__] += 1
                say(stack.enter_context(fault(site, own)))
                time.sleep(own.uniform(0.0, 3.0))
            if of_redis and (not of_nodes or own.random() < 0.5):
                fault = own.choice(of_redis)
                did[fault.__name__] += 1
                say(stack.enter_context(fault(site, own)))
            time.sleep(own.uniform(0.2, 5.0))
        time.sleep(own.uniform(0.0, 2.0))


def run(site: Site, given: argparse.Namespace, observations: Observations, did: Counter[str]) -> None:
    """Rounds of faults, each with a quiet point at its end."""
    own = Random(given.seed)
    until = time.monotonic() + given.seconds
    with crowd(site, given, observations) as people:
        while time.monotonic() < until:
            for person in people:
                person.speak()
            disturb(site, given.only, min(given.round, until - time.monotonic()), own, did)
            site.heal()
            for person in people:
                person.be_silent()
            quiet.look(site, people, observations)
            say(
                f"{observations.counts['events checked']:,} events checked, "
                f"faults: {observations.faults_in_all}"
            )
            if observations.faults_in_all:
                return


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it. Returns 0 if nothing was wrong, 1 if something was, and 130 after Ctrl-C."""
    given = parse(argv)

    def stop(number: int, frame: object) -> None:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    observations, did = Observations(say), Counter[str]()
    isolated = not given.proxies and network.enter()
    way = "network namespaces" if isolated else "proxies alone"
    say(f"{given.people} people for {given.seconds} s, seed {given.seed}, {way}")
    if given.redis_cluster and not isolated:
        say("--redis-cluster needs network namespaces, which are for root on Linux")
        return 2
    kind = ClusterSite if given.redis_cluster else Site
    with tempfile.TemporaryDirectory(prefix="threadchat-", ignore_cleanup_errors=True) as folder:
        site = kind(Path(folder), broken=given.broken, isolated=isolated)
        if not site.clocks:
            say("there is no C compiler, so no clock jumps")
            given.only = [name for name in given.only if FAULTS[name] not in OF_CLOCKS]
        try:
            with site:
                run(site, given, observations, did)
        except Stopped:
            say("stopped")
            return 130
        except (ProgramFailed, TimeoutError) as error:
            observations.fault("the cluster", str(error))
        for program in site.programs:
            said = program.log()
            found = [said.index(word) for word in GRAVE if word in said]
            if found:
                observations.fault(program.name, f"failed inside: {said[max(0, min(found) - 500) :][:5000]}")
    for name, count in (*sorted(observations.counts.items()), *sorted(did.items())):
        print(f"{name:<40}{count:>10,}")
    for what in observations.faults:
        print(f"FAULT: {what}")
    if observations.faults_in_all:
        print(f"faults: FAILED: {observations.faults_in_all} faults, seed {given.seed}")
        return 1
    print(f"faults: ok: {given.people} people, {given.seconds} s, seed {given.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
