"""A site with a Redis Cluster of three masters and three replicas, instead of two Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clustering.redis_cluster import Member, RedisCluster
from redis_slots import MASTERS

from faulting import network
from faulting.site import Site, await_true

HOST: Final = "198.18.255.1"  # of all servers, so that nodes reach them from their namespaces


class ClusterSite(Site):
    """Needs network namespaces. Unless a fault wants it, no replica takes over, however busy all is."""

    def _make_redis(self, folder: Path) -> str:
        network.add_address(HOST)
        self.cluster = RedisCluster(folder, host=HOST)
        self.stores = [*self.cluster.members]
        return self.cluster.url

    def _start_redis(self) -> None:
        self.cluster.start()
        self._may_fail_over(False)

    def await_redis(self) -> None:
        """See Site."""
        await_true(self._is_whole, "three masters to have a replica each")

    @property
    def masters(self) -> list[Member]:
        """Those that say so. Raises ProgramFailed if a server is away."""
        return [each for each in self.cluster.members if "role:master" in _replication(each)]

    def replica_of(self, master: Member) -> Member:
        """Its replica. Raises StopIteration if there is none."""
        port = f"master_port:{master.port}\r"
        return next(each for each in self.cluster.members if port in _replication(each))

    @contextmanager
    def failing_over(self) -> Iterator[None]:
        """A replica may take over meanwhile. What was acknowledged until all is whole again may be lost."""
        began = self._await_replicas()
        self._may_fail_over(True)
        yield
        self.await_redis()
        self._may_fail_over(False)
        self.restarts += 1
        self.losses.append((began, time.monotonic()))

    def _await_replicas(self) -> float:
        """Waits until replicas have all that was acknowledged by now, and returns what time it was."""
        self.await_redis()
        now = time.monotonic()
        for master in self.masters:
            head = _offset(_replication(master), "master_repl_offset")
            replica = self.replica_of(master)
            await_true(
                lambda replica=replica, head=head: (
                    _offset(_replication(replica), "slave_repl_offset") >= head
                ),  # type: ignore[misc]
                "the replica to have what was acknowledged",
            )
        return now

    def _may_fail_over(self, may: bool) -> None:
        for each in self.cluster.members:
            each.run("CONFIG", "SET", "cluster-replica-no-failover", "no" if may else "yes")

    def _is_whole(self) -> bool:
        told = [_replication(each) for each in self.cluster.members]
        following = sum("master_link_status:up" in each for each in told)
        states = [each.run("CLUSTER", "INFO") for each in self.cluster.members]
        return following == len(told) - MASTERS and all(b"cluster_state:ok" in each for each in states)


def _replication(member: Member) -> str:
    return member.run("INFO", "replication").decode()


def _offset(told: str, name: str) -> int:
    [found] = [line for line in told.split("\r\n") if line.startswith(f"{name}:")]
    return int(found.partition(":")[2])
