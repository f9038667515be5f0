"""What is to be broken: two Redis, three nodes and nginx, with a proxy on every way between them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from clustering.parts import Nginx, Node, Redis
from clustering.programs import Program, ProgramFailed

from faulting import clock
from faulting.clock import Clock
from faulting.network import Link, LinkedProxy, Namespace
from faulting.proxy import PASS, Proxy

NODES: Final = 3
ENTRANCES: Final = 3  # of nginx; each client has one
PRESENCE_TTL: Final = 3
KEY: Final = "for-the-tokens-of-scripts-faults-alone"
FLAGS: Final = (
    *("--presence-ttl", str(PRESENCE_TTL), "--token-key", KEY, "--log-level", "info"),
    # All that is said stays in the logs, so that at the end everything can be looked up.
    *("--history-size", "1000000", "--history-bytes", "256MiB", "--logs-bytes", "8192MiB"),
    *("--storage-bytes", "8192MiB", "--inbox-size", "1000000", "--message-rate", "0"),
)
PATIENCE: Final = 30.0


class SiteNode(Node):
    """A node, with proxies on its ways to Redis and from nginx, in a network namespace if there is one.

    `broken` is a fault that somebody has put in, to see whether it is found.
    """

    def __init__(
        self, number: int, redis: int | str, folder: Path, *, broken: str, namespace: Namespace | None
    ) -> None:
        """`redis` is the port of Redis, or the URL of a cluster, to whose servers no proxy can lead."""
        flags = []
        if namespace is not None:
            back, front = Link(namespace, 0), Link(namespace, 1)
            flags = ["--host", front.there, "--trusted-proxy", front.here]
        self.to_redis: Proxy | Link
        if isinstance(redis, str):
            assert namespace is not None
            self.to_redis, url = back, redis
            back.carry_all()
        else:
            self.to_redis = proxy = LinkedProxy(redis, back, inward=False) if namespace else Proxy(redis)
            url = f"redis://{proxy.host}:{proxy.port}/0"
        super().__init__(number, url, folder, [*FLAGS, *flags])
        if broken:
            self._command = [sys.executable, "-m", "faulting.broken", broken, *self._command[3:]]
        if namespace is None:
            self.entrance = Proxy(self.port)
        else:
            self.host = front.there
            self._command[:0] = namespace.prefix
            self.entrance = LinkedProxy(self.port, front, inward=True)


class Site:
    """A context manager: leaving it stops everything. Used on one thread, except for `restarts`.

    `isolated` says that each node has a network namespace of its own; see network.enter.
    """

    def __init__(self, folder: Path, *, broken: str = "", isolated: bool = False) -> None:
        folder.chmod(0o711)  # nginx's workers may run as another user
        self.between_redis: list[Proxy] = []
        redis = self._make_redis(folder)
        self._namespaces = [Namespace(number) if isolated else None for number in range(NODES)]
        self.nodes = [
            SiteNode(number, redis, folder, broken=broken, namespace=namespace)
            for number, namespace in enumerate(self._namespaces, 1)
        ]
        self.to_redis = [node.to_redis for node in self.nodes]
        self.to_nodes = [node.entrance for node in self.nodes]
        self.nginx = Nginx(self.to_nodes, folder)  # type: ignore[arg-type]  # it reads nothing but their ports
        self.to_nginx = [Proxy(self.nginx.port) for _ in range(ENTRANCES)]
        self.clocks = self._make_clocks(folder)
        """By the programs, nodes and Redis, that have one of their own; empty without a C compiler."""
        self.restarts = 0  # of Redis: an epoch may end with each, and for no other reason
        self.losses: list[tuple[float, float]] = []
        """When Redis may have lost what it acknowledged, from when on and until when, by time.monotonic."""

    def _make_redis(self, folder: Path) -> int | str:
        """Returns where nodes find it; see SiteNode."""
        self.stores: list[Redis] = [Redis(folder, "redis-1"), Redis(folder, "redis-2")]
        self.primary, self.replica = self.stores
        self.replication = Proxy(self.primary.port)
        self.between_redis.append(self.replication)
        return self.primary.port

    def _start_redis(self) -> None:
        for store in self.stores:
            store.start()
        self.follow(self.replica)

    @property
    def programs(self) -> list[Program]:
        """All of them."""
        return [*self.stores, *self.nodes, self.nginx]

    @property
    def ways(self) -> list[Proxy | Link]:
        """All that can be parted."""
        return [*self.between_redis, *self.to_redis, *self.to_nodes, *self.to_nginx]

    def _make_clocks(self, folder: Path) -> dict[str, Clock]:
        library = clock.build(folder)
        clocks: dict[str, Clock] = {}
        if library is None:
            return clocks
        for program in (*self.stores, *self.nodes):
            clocks[program.name] = made = Clock(folder / f"{program.name}.clock", library)
            program.environ |= made.environ
        return clocks

    def __enter__(self) -> Site:
        with ExitStack() as undo:
            undo.callback(self._stop)
            self._start_redis()
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.await_ready()
            self.nginx.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        for group in (self.nodes, [self.nginx], self.stores):
            for program in group:
                program.send_signal(signal.SIGCONT)
                program.send_signal(signal.SIGTERM)
            for program in group:
                program.wait()
        for way in self.ways:
            if isinstance(way, Proxy):
                way.stop()
        for namespace in filter(None, self._namespaces):
            namespace.close()

    def heal(self) -> None:
        """Makes everything whole again. Raises ProgramFailed if something does not come back."""
        for way in self.ways:
            way.set(PASS)
        for each in self.clocks.values():
            each.set(0.0)
        for program in self.programs:
            program.send_signal(signal.SIGCONT)
            if not program.running:
                program.launch()
        for program in self.programs:
            program.await_ready(timeout=PATIENCE)
        self.await_redis()

    # Redis

    @contextmanager
    def client(self, store: Redis) -> Iterator[Any]:
        """A connection to a Redis; typed as Any because redis-py's answers are."""
        with redis.Redis(port=store.port, socket_timeout=10) as client:
            yield client

    def follow(self, store: Redis) -> None:
        """Makes a Redis the replica of the primary, and waits until it has everything."""
        self.replication.lead_to(self.primary.port)
        with self.client(self.primary) as client:
            client.config_set("repl-diskless-sync-delay", 0)
        with self.client(store) as client:
            client.replicaof("127.0.0.1", self.replication.port)
        self.await_redis()

    def await_redis(self) -> None:
        """Waits until all of it is there again. Raises ProgramFailed."""

        def is_up() -> bool:
            with self.client(self.replica) as client:
                return bool(client.info("replication").get("master_link_status") == "up")

        await_true(is_up, "the replica to have everything")

    def describe_presence(self, room: str) -> str:
        """What each Redis has of a room's sessions and of the nodes, to explain a fault."""
        told = []
        for store in self.stores:
            with redis.Redis(host=store.host, port=store.port, socket_timeout=10) as client:
                try:
                    sessions = client.hgetall(f"threadchat:{{{room}}}:sessions")
                    told.append(f"{store.name}: {room}: {sessions}")
                    told.append(
                        f"{store.name}: nodes: {client.zrange('threadchat:nodes', 0, -1, withscores=True)}"
                    )
                except redis.RedisError as error:
                    told.append(f"{store.name}: {error}")
        return "\n".join(told)

    def await_replica(self) -> float:
        """Waits until the replica has all that was acknowledged by now. Returns what time it was, monotonic.

        It may be seconds behind: its connection takes that long to come back after Redis has restarted.
        """
        now = time.monotonic()
        with self.client(self.primary) as client:
            history = client.info("replication")
        head = history["master_repl_offset"]

        def has_it() -> bool:
            with self.client(self.replica) as client:
                found = client.info("replication")
            follows = found.get("master_link_status") == "up"
            same = found["master_replid"] == history["master_replid"]
            return bool(follows and same and found["slave_repl_offset"] >= head)

        await_true(has_it, "the replica to have what was acknowledged")
        return now

    def level(self) -> bool:
        """Whether the replica has all that the primary has."""
        with self.client(self.primary) as one, self.client(self.replica) as other:
            head = one.info("replication")["master_repl_offset"]
            return bool(other.info("replication").get("slave_repl_offset") == head)

    def promote(self) -> None:
        """Makes the replica the primary. Nodes still go to the former one."""
        with self.client(self.replica) as client:
            client.replicaof("NO", "ONE")
        self.restarts += 1
        self.primary, self.replica = self.replica, self.primary


def await_true(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Waits until a condition holds. Raises ProgramFailed."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ProgramFailed(f"still waiting for {what} after {timeout:g} s")
        time.sleep(0.05)
