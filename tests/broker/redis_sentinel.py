"""A master, its replicas and a Sentinel on free ports of loopback: real servers, ended by their pids."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.ports import free_port
from tests.broker.redis_server import EXECUTABLE, RedisServer
from tests.e2e.process import until

SERVICE = "chat"
REPLICATOR = "replicator"  # the user as whom a replica reads, so that a test can lock it out

LOGIN = ["--masteruser", REPLICATOR, "--masterauth", "secret", "--repl-diskless-sync-delay", "0"]
LOGIN += ["--user", REPLICATOR, "on", ">secret", "+psync", "+replconf", "+ping"]


class Service:
    """Redis that fails over. `server` is the master of the moment.

    Sentinel replaces it when a test wants that, never by itself, however busy this machine is.
    With a certificate, chain and key, all of it speaks TLS only; with a password, Sentinel wants it, too.
    """

    def __init__(
        self,
        folder: Path,
        replicas: int = 1,
        *,
        certificate: tuple[Path, Path] | None = None,
        password: str = "",
    ) -> None:
        self._folder = folder
        self._certificate = certificate
        self._password = password
        self.servers: list[RedisServer] = []
        self._sentinel: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        try:
            self._build(replicas)
        except BaseException:
            self.close()
            raise
        nobody = free_port()  # a Sentinel that is away must not matter
        sentinels = f"127.0.0.1:{nobody},127.0.0.1:{self.port}/{SERVICE}"
        self.url = f"redis-sentinel://{sentinels}"
        if password:
            self.url = f"redis-sentinel://:{password}@{sentinels}?sentinel_password={password}"
        if certificate:
            self.url = self.url.replace("redis-", "rediss-", 1) + "?&"["?" in self.url]
            self.url += f"ssl_ca_certs={certificate[0]}"

    def _build(self, replicas: int) -> None:
        for number in range(replicas + 1):
            of = ["--replicaof", "127.0.0.1", str(self.servers[0].port)] if number else []
            self._add_server(self._folder / str(number), of)
        self.server = self.servers[0]
        until(lambda: self._replicas() == replicas, "the replicas follow")
        self._start_sentinel(replicas)

    def client(self) -> Any:
        """A connection to the master; close it."""
        return self.server.client()

    def sentinel(self) -> Any:
        """A connection to the Sentinel; close it."""
        import redis

        return redis.Redis(
            port=self.port,
            socket_timeout=5,
            decode_responses=True,
            password=self._password or None,
            ssl=self._certificate is not None,
            ssl_ca_certs=str(self._certificate[0]) if self._certificate else None,
        )

    @contextmanager
    def without_replicas(self) -> Iterator[None]:
        """What is written meanwhile reaches no replica."""
        master = self.server
        with master.client() as client:
            client.execute_command("ACL", "SETUSER", REPLICATOR, "off")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            until(lambda: client.info("replication")["connected_slaves"] == 0, "no replica follows")
        yield
        if master.is_running:
            with master.client() as client:
                client.execute_command("ACL", "SETUSER", REPLICATOR, "on")

    def fail_over(self, *, kill: bool) -> None:
        """Another server becomes the master; this one dies before, or goes on as its replica."""
        before = self.server
        if kill:
            before.kill()
        with self.sentinel() as client:
            until(lambda: self._ordered(client), "Sentinel has begun")
        until(lambda: self._master_port() != before.port, "Sentinel has chosen another master")
        self.server = next(each for each in self.servers if each.port == self._master_port())
        with self.server.client() as client:
            until(lambda: client.info("replication")["role"] == "master", "it is the master")
        if before.is_running:  # Sentinel would do the same some seconds later
            with before.client() as client:
                client.replicaof("127.0.0.1", self.server.port)
                until(
                    lambda: client.info("replication").get("master_link_status") == "up", "the other follows"
                )

    def add_replica(self) -> None:
        """Starts one more."""
        of = ["--replicaof", "127.0.0.1", str(self.server.port)]
        self._add_server(self._folder / str(len(self.servers)), of)

    def close(self) -> None:
        """Ends all of them."""
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for server in self.servers:
            server.kill()

    def _add_server(self, folder: Path, of: list[str]) -> None:
        security: dict[str, Any] = {"certificate": self._certificate, "password": self._password}
        self.servers.append(RedisServer(folder, lasting=False, more=[*LOGIN, *of], **security))

    def _security(self) -> Iterator[str]:
        """What a Sentinel's configuration says of it, after it has named the service."""
        if self._password:
            yield f"sentinel auth-pass {SERVICE} {self._password}"
            yield f"requirepass {self._password}"
        if self._certificate:
            chain, key = self._certificate
            yield f"tls-cert-file {chain}\ntls-key-file {key}\ntls-ca-cert-file {chain}"
            yield "tls-auth-clients no\ntls-replication yes"

    def _start_sentinel(self, replicas: int) -> None:
        assert EXECUTABLE is not None
        config = self._folder / "sentinel.conf"
        port = f"port 0\ntls-port {self.port}" if self._certificate else f"port {self.port}"
        # It never promotes a replica that was apart from its master for ten times `down-after`, nor anything
        # for `tilt-period`, half a minute, after it did not run for two seconds. It gives up if it does not
        # see within `failover-timeout` that the replica is the master.
        config.write_text(
            f"{port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.server.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 600000\n"
            f"sentinel failover-timeout {SERVICE} 600000\n" + "\n".join(self._security())
        )
        self._sentinel = subprocess.Popen([EXECUTABLE, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        until(lambda: self._known_replicas() == replicas, "the Sentinel knows the replicas")
        with self.sentinel() as client:
            client.execute_command("SENTINEL", "DEBUG", "tilt-period", "1")

    def _replicas(self) -> int:
        with self.server.client() as client:
            found = client.info("replication")
            return sum(found[f"slave{i}"]["state"] == "online" for i in range(found["connected_slaves"]))

    def _known_replicas(self) -> int:
        import redis

        try:
            with self.sentinel() as client:
                return sum(each["flags"] == {"slave"} for each in _replicas_of(client))
        except redis.ConnectionError:
            return -1

    def _ordered(self, client: Any) -> bool:
        import redis

        try:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError:  # the one before is not over yet, or no replica is known to be good
            return False
        return True

    def _master_port(self) -> int:
        with self.sentinel() as client:
            return int(client.sentinel_master(SERVICE)["port"])


def _replicas_of(client: Any) -> list[dict[str, Any]]:
    found = []
    for each in client.execute_command("SENTINEL", "REPLICAS", SERVICE):
        known = each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        flags = known["flags"]
        found.append({**known, "flags": set(flags.split(",")) if isinstance(flags, str) else set(flags)})
    return found
