"""The faults: each begins, lasts for a while, and ends with everything whole again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from random import Random
from typing import Final

from clustering.programs import Program

from faulting.cluster_site import ClusterSite
from faulting.network import Link
from faulting.proxy import CUT, HANG, PASS, Proxy
from faulting.site import Site, await_true

Fault = Callable[[Site, Random], AbstractContextManager[str]]
"""Yields what it has done, in words; leaving it undoes that."""


@contextmanager
def node_dies(site: Site, random: Random) -> Iterator[str]:
    """A node is killed."""
    node = random.choice(site.nodes)
    node.kill()
    yield f"{node.name} is killed"
    node.start()


@contextmanager
def node_hangs(site: Site, random: Random) -> Iterator[str]:
    """A node stands still; if for longer than `presence_ttl`, its people leave."""
    node = random.choice(site.nodes)
    node.pause()
    yield f"{node.name} hangs"
    node.resume()


@contextmanager
def nginx_dies(site: Site, random: Random) -> Iterator[str]:
    """All clients lose their connections at once."""
    site.nginx.kill()
    yield "nginx is killed"
    site.nginx.start()


def _partition(way: Proxy | Link, random: Random) -> str:
    mode = random.choice(way.modes)
    way.set(mode)
    return mode


@contextmanager
def node_loses_redis(site: Site, random: Random) -> Iterator[str]:
    """One node cannot reach Redis, while others can."""
    number = random.randrange(len(site.nodes))
    yield f"node-{number + 1} and Redis are parted ({_partition(site.to_redis[number], random)})"
    site.to_redis[number].set(PASS)


@contextmanager
def node_loses_clients(site: Site, random: Random) -> Iterator[str]:
    """One node cannot be reached from nginx, but goes on talking to Redis."""
    number = random.randrange(len(site.nodes))
    yield f"nginx and node-{number + 1} are parted ({_partition(site.to_nodes[number], random)})"
    site.to_nodes[number].set(PASS)


@contextmanager
def clients_lose_nginx(site: Site, random: Random) -> Iterator[str]:
    """A part of the clients cannot reach nginx."""
    proxy = random.choice(site.to_nginx)
    yield f"some clients and nginx are parted ({_partition(proxy, random)})"
    proxy.set(PASS)


@contextmanager
def node_clock_jumps(site: Site, random: Random) -> Iterator[str]:
    """The clock of a node is up to an hour wrong, and then right again."""
    yield from _jump(site, random.choice(site.nodes), random.uniform(-3600.0, 3600.0))


@contextmanager
def redis_clock_jumps(site: Site, random: Random) -> Iterator[str]:
    """The clock of a Redis is up to a minute wrong, and then right again.

    By more than `room_ttl`, it would take every room for unused.
    """
    yield from _jump(site, random.choice(site.stores), random.uniform(-60.0, 60.0))


def _jump(site: Site, program: Program, seconds: float) -> Iterator[str]:
    site.clocks[program.name].set(seconds)
    yield f"the clock of {program.name} jumps by {seconds:+.1f} s"
    site.clocks[program.name].set(0.0)


@contextmanager
def redis_hangs(site: Site, random: Random) -> Iterator[str]:
    """Redis stands still. What was under way is done later, after its sender has given up on it."""
    store = site.primary
    store.send_signal(signal.SIGSTOP)
    yield "Redis hangs"
    store.send_signal(signal.SIGCONT)


@contextmanager
def redis_dies(site: Site, random: Random) -> Iterator[str]:
    """Redis is killed, and comes back with all that it acknowledged."""
    store = site.primary
    store.kill()
    yield "Redis is killed"
    site.restarts += 1
    store.start()


@contextmanager
def switchover(site: Site, random: Random) -> Iterator[str]:
    """The replica takes over in good order: nothing is lost."""
    former = site.primary
    with site.client(former) as client:
        client.execute_command("CLIENT", "PAUSE", "30000", "WRITE")
        await_true(site.level, "the replica to have everything")
        site.promote()
        _lead_nodes(site, random)
        site.follow(former)
        client.execute_command("CLIENT", "UNPAUSE")
    yield "the replica takes over in good order"


@contextmanager
def failover(site: Site, random: Random) -> Iterator[str]:
    """The primary dies, and the replica takes over without what it had not been told yet."""
    began = site.await_replica()
    former = site.primary
    lag = random.choice((0.0, 0.5, 2.0))
    if lag:
        site.replication.set(HANG)
        time.sleep(lag)
    former.kill()
    site.replication.set(CUT)  # what hung there is lost
    site.promote()
    _lead_nodes(site, random)
    site.losses.append((began, time.monotonic()))
    yield f"the primary dies, and the replica takes over; it lacks the last {lag:g} s"
    former.start()
    site.replication.set(PASS)
    site.follow(former)


@contextmanager
def split_brain(site: Site, random: Random) -> Iterator[str]:
    """The replica takes over although the primary lives, to which some nodes go on writing for a while."""
    began = site.await_replica()
    former = site.primary
    site.replication.set(HANG)
    site.promote()
    _lead_nodes(site, random, pauses=(0.0, 0.5, 2.0))
    site.losses.append((began, time.monotonic()))
    yield "the replica takes over while nodes still write to the primary"
    site.replication.set(PASS)
    site.follow(former)


@contextmanager
def master_hangs(site: Site, random: Random) -> Iterator[str]:
    """A master of the cluster stands still; if for longer than two seconds, its replica takes over."""
    assert isinstance(site, ClusterSite)
    master = random.choice(site.masters)
    with site.failing_over():
        master.send_signal(signal.SIGSTOP)
        yield f"{master.name} hangs, a master"
        master.send_signal(signal.SIGCONT)


@contextmanager
def master_dies(site: Site, random: Random) -> Iterator[str]:
    """A master of the cluster is killed, and comes back; if later than two seconds, as a replica."""
    assert isinstance(site, ClusterSite)
    master = random.choice(site.masters)
    with site.failing_over():
        master.kill()
        yield f"{master.name} is killed, a master"
        master.start()


@contextmanager
def replica_takes_over(site: Site, random: Random) -> Iterator[str]:
    """A replica of the cluster takes over in good order: nothing is lost."""
    assert isinstance(site, ClusterSite)
    site.await_redis()
    master = random.choice(site.masters)
    replica = site.replica_of(master)
    replica.run("CLUSTER", "FAILOVER")
    await_true(lambda: replica in site.masters, f"{replica.name} to take over")
    site.await_redis()
    site.restarts += 1
    yield f"{replica.name} takes over from {master.name} in good order"


def _lead_nodes(site: Site, random: Random, pauses: Sequence[float] = (0.0, 0.0, 0.3)) -> None:
    """Nodes learn of the new primary one after the other."""
    for proxy in random.sample(site.to_redis, len(site.to_redis)):
        assert isinstance(proxy, Proxy)
        proxy.lead_to(site.primary.port)
        time.sleep(random.choice(pauses))


OF_NODES: Final[tuple[Fault, ...]] = (
    node_dies,
    node_hangs,
    nginx_dies,
    node_loses_redis,
    node_loses_clients,
    clients_lose_nginx,
    node_clock_jumps,
)
OF_REDIS: Final[tuple[Fault, ...]] = (
    redis_hangs,
    redis_dies,
    redis_clock_jumps,
    switchover,
    failover,
    split_brain,
)
OF_CLUSTER: Final[tuple[Fault, ...]] = (
    master_hangs,
    master_dies,
    redis_clock_jumps,
    replica_takes_over,
)
OF_CLOCKS: Final[tuple[Fault, ...]] = (node_clock_jumps, redis_clock_jumps)
