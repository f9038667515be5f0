"""A Redis Cluster of three masters and three replicas on free ports of loopback, ended by their pids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from scripts.ports import free_port
from scripts.redis_slots import MASTERS, SLOTS, await_complete, join
from tests.broker.redis_sentinel import LOGIN, REPLICATOR
from tests.broker.redis_server import RedisServer
from tests.e2e.process import until

TIMEOUT = 60_000  # ms without a sign of life of a server until the others take it for dead
VOTE_TIMEOUT = 500


class RedisCluster:
    """Real servers. Unless a test wants it, no replica takes over by itself, however busy this machine is.

    `options` are those of each server: its certificate and password, too.
    """

    def __init__(self, folder: Path, *, replicas: int = 1, **options: Any) -> None:
        self.servers: list[RedisServer] = []
        try:
            for number in range(MASTERS * (1 + replicas)):
                self.servers.append(_start(folder / str(number), {"lasting": False, **options}))
            self._join()
        except BaseException:
            self.kill()
            raise
        first = self.servers[0]
        seeds = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:MASTERS])
        self.url = first.url.replace("://", "-cluster://").replace(f"127.0.0.1:{first.port}/0", f"{seeds}/")

    def _join(self) -> None:
        ports = [
            (each.port, int(each.command[each.command.index("--cluster-port") + 1])) for each in self.servers
        ]
        self.ids = join(self._run, ports)

    def _run(self, number: int, *command: Any) -> Any:
        """See redis_slots.Run."""
        with self.servers[number].client() as client:
            client.response_callbacks.clear()  # answers as the server sends them
            return client.execute_command(*command)

    @staticmethod
    def do(server: RedisServer, *command: Any) -> Any:
        """Runs a command on one server."""
        with server.client() as client:
            answer = client.execute_command(*command)
        return answer.decode() if isinstance(answer, bytes) else answer

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Looks at the whole."""
        import redis

        client = redis.RedisCluster.from_url(self.url.replace("redis-cluster", "redis").split(",")[0])
        try:
            yield client
        finally:
            client.disconnect_connection_pools()  # close leaves them to the garbage collector
            client.close()

    def owner(self, key: str) -> RedisServer:
        """The master that has the slot of a key."""
        return self.master_of(key_slot(key.encode()))

    def master_of(self, slot: int) -> RedisServer:
        """The master that has a slot."""
        living = [server for server in self.servers if server.is_running]
        for first, last, master, *_ in self.do(living[-1], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == master[1])
        raise AssertionError(f"nobody has slot {slot}")

    def fail_over(self, key: str) -> RedisServer:
        """Kills the master that has a key, and makes its replica the master. Returns that.

        The replica does not wait until the others agree that it may.
        """
        before = self.owner(key)
        before.kill()
        return self._replace(before)

    def fail_over_by_vote(self, key: str) -> RedisServer:
        """As `fail_over`, but the masters find out that one is dead, and vote for its replica."""
        before = self.owner(key)
        self._set_timeout(VOTE_TIMEOUT)
        before.kill()
        until(lambda: self.owner(key) is not before, "the replica takes over")
        self._set_timeout(TIMEOUT)
        return self.owner(key)

    def heal(self) -> None:
        """Starts those that are dead, as replicas if possible, empties all, and waits until all is well."""
        for server in self.servers:
            if not server.is_running:
                if any(self._seen_as_master(server)):
                    self._replace(server)
                server.start()
            self.do(server, "ACL", "SETUSER", REPLICATOR, "on")
        until(lambda: sum(map(self._is_followed, self._masters())) == MASTERS, "each master has a replica")
        await_complete(self._run, len(self.servers))
        for server in self._masters():
            server.flush()

    def demote(self, key: str) -> RedisServer:
        """Has a replica take over from a master that lives on as its replica. Returns the new master."""
        before = self.owner(key)
        with before.client() as client:
            assert client.wait(1, 5000) == 1  # what was written is on its replica
        self._replace(before)
        until(lambda: not self._is_master(before), "the other follows")
        return self.owner(key)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """The server that follows a master, dead or alive."""
        name = self.ids[self.servers.index(master)]
        living = [server for server in self.servers if server.is_running]
        # What the others say of it may be out of date, but each knows whom it follows itself.
        return next(server for server in living if self._nodes(server)["myself"][3] == name)

    @contextmanager
    def without_replica(self, key: str) -> Iterator[None]:
        """What is written meanwhile where that key is reaches no replica."""
        master = self.owner(key)
        with master.client() as client:
            client.execute_command("ACL", "SETUSER", REPLICATOR, "off")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            until(lambda: client.info("replication")["connected_slaves"] == 0, "no replica follows")
        yield

    def begin_migration(self, slot: int) -> tuple[RedisServer, RedisServer]:
        """Declares a slot to be on its way. Returns the masters from where and to where."""
        source = self.master_of(slot)
        target = next(
            self.master_of(other) for other in (0, SLOTS - 1) if self.master_of(other) is not source
        )
        self.do(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[self.servers.index(source)])
        self.do(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[self.servers.index(target)])
        return source, target

    def migrate_keys(self, slot: int, source: RedisServer, target: RedisServer, count: int = 100) -> int:
        """Moves some keys. Returns how many."""
        with source.client() as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    def end_migration(self, slot: int, target: RedisServer) -> None:
        """Says whose slot it is now."""
        owner = self.ids[self.servers.index(target)]
        for server in [target, *[each for each in self.servers if each.is_running and each is not target]]:
            if self._is_master(server):
                self.do(server, "CLUSTER", "SETSLOT", slot, "NODE", owner)

    def kill(self) -> None:
        """Ends all of them."""
        for server in self.servers:
            server.kill()

    def start(self) -> None:
        """Starts all of them again."""
        for server in self.servers:
            server.start()
        await_complete(self._run, len(self.servers))

    def pause(self) -> None:
        """Stops all of them where they are."""
        for server in self.servers:
            server.pause()

    def go_on(self) -> None:
        """Ends a pause."""
        for server in self.servers:
            server.go_on()

    def flush(self) -> None:
        """Empties all of them."""
        for server in self.servers[:MASTERS]:
            server.flush()

    def kill_connections(self, kind: str) -> None:
        """As for one server."""
        for server in self.servers:
            server.kill_connections(kind)

    def _nodes(self, server: RedisServer) -> dict[str, list[str]]:
        """What a server says of all, by their ids: id, address, flags, master, and from the ninth on slots.

        It calls itself "myself", too.
        """
        lines = self._run(self.servers.index(server), "CLUSTER", "NODES").decode().splitlines()
        found = {words[0]: words for words in map(str.split, lines)}
        return {**found, "myself": next(words for words in found.values() if "myself" in words[2])}

    def _seen_as_master(self, server: RedisServer) -> list[bool]:
        """Of each server that lives: whether it says that this one has slots."""
        name = self.ids[self.servers.index(server)]
        return [len(self._nodes(each)[name]) > 8 for each in self.servers if each.is_running]

    def _masters(self) -> list[RedisServer]:
        """Those that have slots, as all say."""
        return [server for server in self.servers if all(self._seen_as_master(server))]

    def _replace(self, former: RedisServer) -> RedisServer:
        """No vote: the others refuse to vote twice for replicas of one master in a short time."""
        successor = self.replica_of(former)
        self.do(successor, "CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: not any(self._seen_as_master(former)), "all know of it")
        return successor

    def _set_timeout(self, milliseconds: int) -> None:
        for server in self.servers:
            if server.is_running:
                self.do(server, "CONFIG", "SET", "cluster-node-timeout", milliseconds)

    @staticmethod
    def _is_followed(master: RedisServer) -> bool:
        with master.client() as client:
            return bool(client.info("replication")["connected_slaves"] == 1)

    @staticmethod
    def _is_master(server: RedisServer) -> bool:
        with server.client() as client:
            return bool(client.info("replication")["role"] == "master")


def _start(folder: Path, options: dict[str, Any]) -> RedisServer:
    """Starts a server. It needs two ports, and another program may take one of them just before."""
    more = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(TIMEOUT), *LOGIN]
    more += ["--repl-diskless-sync-delay", "0"]
    for _ in range(2):
        with contextlib.suppress(AssertionError):
            return RedisServer(folder, more=[*more, "--cluster-port", str(free_port())], **options)
    return RedisServer(folder, more=[*more, "--cluster-port", str(free_port())], **options)
