"""Runs commands and scripts in Redis, and maps failures to CommandError."""

from __future__ import annotations

import hashlib
import importlib.resources
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from threadchat.broker.redis.topology.interface import Command
from threadchat.broker.redis.topology.opening import open_topology
from threadchat.errors import CommandError, ErrorCode

TIMEOUT: Final = 2.0
"""Seconds to wait for a connection to Redis, or for an answer. After that, Redis counts as away."""
GRACE: Final = 1.0
"""Seconds for which a command waits after the node lost its connection, so that a short outage causes no
errors.
"""
PAGE: Final = 200
"""The number of rooms or inboxes in one round trip, so that others get their turn in Redis and here."""


class Script:
    """A Lua script of this package, run by its digest."""

    def __init__(self, name: str) -> None:
        self.source = importlib.resources.files(__package__).joinpath(name).read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], *arguments: Any) -> Command:
        """The command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


ROOM: Final = Script("room.lua")
CLUSTER: Final = Script("cluster.lua")


class RedisConnection:
    """One node's access to Redis. `ask` is for what users request, `execute` for the node's own maintenance.

    Nothing is ever sent twice, because a command may have been done when its connection broke. All methods
    may be called from any thread. `_lock` guards `_unready_since` and `counters` and is a leaf.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        """Connects with the first command. Raises ConfigError if the URL cannot work."""
        self.topology = open_topology(url, timeout)
        parts = urlsplit(url)
        self.address: Final = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
        """Where Redis is, without user and password."""
        self.on_trouble: Callable[[], None] = lambda: None
        self.counters: Counter[str] = Counter()
        self.lasting = ""
        """The replication id of a server that has on disk what it answers, or empty; see `inspect`."""
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._unready_since = monotonic()

    # Commands

    def ask(self, *commands: Command, replicas: int = 0) -> list[Any]:
        """Runs commands in one round trip and returns their answers.

        Waits until that many replicas have confirmed what was written. Raises CommandError 100, temporary, if
        Redis is away or refuses, or if too few replicas confirm in time; what was written stays.
        """
        self.check_ready()
        try:
            return self.execute(*commands, replicas=replicas)
        except CommandError as error:
            if is_away(error) or isinstance(error.__cause__, ReadOnlyError):
                self.set_ready(False)  # so that the next caller does not run into the same timeout
                self.on_trouble()
            raise

    def execute(self, *commands: Command, replicas: int = 0) -> list[Any]:
        """Like `ask`, whether the node is ready or not."""
        self.count("round_trips")
        try:
            answers = self.topology.send(commands, replicas)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:  # Redis was restarted; none of these was run
                again = [commands[i] for i in missing]
                self.topology.load([script.source for script in (ROOM, CLUSTER)], again)
                for i, answer in zip(missing, self.topology.send(again, replicas), strict=True):
                    answers[i] = answer
        except RedisError as error:
            raise self._refused(error) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise self._refused(answer) from answer
        return answers

    def pages(self, scan: str, key: str) -> Iterator[list[bytes]]:
        """The content of a set (SSCAN) or a sorted set (ZSCAN), about `PAGE` members in a round trip.

        A member that is there all the time is yielded at least once. Raises CommandError.
        """
        cursor = b"0"
        while True:
            [[cursor, page]] = self.execute((scan, key, cursor, "COUNT", PAGE))
            yield page
            if cursor == b"0":
                return

    def inspect(self) -> None:
        """Finds out where channels are, and whether a restart of the server loses something, for `lasting`.

        Raises CommandError. Runs on: the heartbeat's thread, every few seconds and with each new connection.
        """
        self.topology.look_again()
        try:
            self.lasting = self.topology.lasting_history()
        except RedisError as error:
            raise self._refused(error) from error

    def publish(self, channel: str, payload: bytes) -> int:
        """Publishes to a channel. Returns the number of subscribers. Raises CommandError as `ask` does."""
        count: int = self.ask(self.publication(channel, payload))[0]
        return count

    def publication(self, channel: str, payload: bytes) -> Command:
        """The command that publishes to a channel and returns the number of subscribers."""
        publish = self.script_context[1]
        if self.topology.clustered:  # a server that does not have the slot any more would count its own
            return CLUSTER((channel,), "publish", publish, payload)
        return publish, channel, payload

    def subscribers(self, channel: str) -> int:
        """The number of subscribers of a channel. Raises CommandError."""
        count = "SHARDNUMSUB" if self.topology.sharded else "NUMSUB"
        found: int = self.execute(CLUSTER((channel,), "subscribers", count))[0]
        return found

    @property
    def script_context(self) -> tuple[str, str]:
        """What scripts must know of the servers: `lasting`, and the command that publishes."""
        return self.lasting, "SPUBLISH" if self.topology.sharded else "PUBLISH"

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            self.counters[name] += by

    def new_connection(self, server: Any) -> Any:  # redis-py's Connection, which is only partly typed
        """Creates a connection outside the pool, for subscriptions on a server. It is not connected yet."""
        return self.topology.new_connection(server)

    def close(self) -> None:
        """Closes the connections. The node is not ready from now on, and no command waits for it."""
        self.set_ready(False)
        with self._lock:
            self._unready_since = -inf
        self.topology.disconnect()

    # Readiness

    @property
    def ready(self) -> bool:
        """Whether Redis is reachable and the node receives what is published."""
        return self._ready.is_set()

    def expect(self) -> None:
        """Makes commands wait longer at first, because the node is about to connect."""
        with self._lock:
            self._unready_since = monotonic() + TIMEOUT

    def set_ready(self, ready: bool) -> bool:
        """Notes whether the node receives what is published. Returns whether that is a change."""
        with self._lock:
            if ready == self._ready.is_set():
                return False
            if ready:
                self._ready.set()
            else:
                self._ready.clear()
                self._unready_since = monotonic()
            return True

    def wait_ready(self, timeout: float) -> bool:
        """Waits until the node is ready, at most `timeout` seconds."""
        return self._ready.wait(timeout)

    def check_ready(self) -> None:
        """Waits a moment until the node is ready.

        Raises CommandError 100, temporary, if it does not become ready.
        """
        if self._ready.is_set():
            return
        with self._lock:
            since = self._unready_since
        if not self._ready.wait(max(0.0, since + GRACE - monotonic())):
            raise self.away()

    def away(self) -> CommandError:
        """The error for a command that cannot reach Redis. Only the program learns the address."""
        detail = f"Redis at {self.address} does not answer; see broker and /readyz"
        return CommandError(ErrorCode.INTERNAL, "the message store is away, try again later", detail=detail)

    def _refused(self, error: RedisError) -> CommandError:
        detail = f"Redis at {self.address}: {error}"
        return CommandError(ErrorCode.INTERNAL, "the message store failed, try again later", detail=detail)


def is_away(error: CommandError) -> bool:
    """Whether Redis did not answer at all, as opposed to refusing a command."""
    return isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError))
