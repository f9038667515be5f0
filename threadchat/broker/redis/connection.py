"""Runs commands and scripts in Redis over a pool of connections, and maps failures to CommandError."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from threadchat.errors import CommandError, ConfigError, ErrorCode

TIMEOUT: Final = 2.0
"""Seconds to wait for a connection to Redis, or for an answer. After that, Redis counts as away."""
CONNECTIONS: Final = 16
"""The number of connections for commands. Publications share one at a time; the others are for queries."""
GRACE: Final = 1.0
"""Seconds for which a command waits after the node lost its connection, so that a short outage causes no
errors.
"""

_OURS: Final = {"protocol", "decode_responses", "encoding", "encoding_errors", "retry"}
"""Options of redis-py that change the form of its answers or make it send something twice."""

Command = tuple[Any, ...]


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
        """Connects with the first command. Raises ConfigError if redis-py does not understand the URL."""
        self._options = {
            "protocol": 2,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        _check(url)
        try:
            self._pool = redis.BlockingConnectionPool.from_url(
                url, max_connections=CONNECTIONS, timeout=timeout, **self._options
            )
            self.new_connection()  # does not connect yet, but checks the options
        except ValueError as error:
            # The text of the error may contain a part of the password.
            why = _UNQUOTED if "@" in url else error
            raise ConfigError(f"broker: {why}") from None
        except TypeError as error:
            raise ConfigError(f"broker: an option after the ? is not one of redis-py's: {error}") from error
        parts = self._pool.connection_kwargs
        self.address: Final[str] = parts.get("path") or f"{parts.get('host')}:{parts.get('port')}"
        """Where Redis is, without user and password."""
        self.on_trouble: Callable[[], None] = lambda: None
        self.counters: Counter[str] = Counter()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._unready_since = monotonic()

    # Commands

    def ask(self, *commands: Command) -> list[Any]:
        """Runs commands in one round trip and returns their answers.

        Raises CommandError 100, temporary, if Redis is away or refuses.
        """
        self.check_ready()
        try:
            return self.execute(*commands)
        except CommandError as error:
            if is_away(error) or isinstance(error.__cause__, ReadOnlyError):
                self.set_ready(False)  # so that the next caller does not run into the same timeout
                self.on_trouble()
            raise

    def execute(self, *commands: Command) -> list[Any]:
        """Like `ask`, whether the node is ready or not."""
        try:
            answers = self._send(commands)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:  # Redis was restarted; none of these was run
                self._send([("SCRIPT", "LOAD", script.source) for script in (ROOM, CLUSTER)])
                for i, answer in zip(missing, self._send([commands[i] for i in missing]), strict=True):
                    answers[i] = answer
        except RedisError as error:
            raise _as_command_error(error) from error
        for answer in answers:
            if isinstance(answer, ReadOnlyError):
                self._pool.disconnect()  # it is a replica now; its name resolves to the new primary
            if isinstance(answer, RedisError):
                raise _as_command_error(answer) from answer
        return answers

    def publish(self, channel: str, payload: bytes) -> int:
        """Publishes to a channel. Returns the number of subscribers. Raises CommandError as `ask` does."""
        count: int = self.ask(("PUBLISH", channel, payload))[0]
        return count

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            self.counters[name] += by

    def new_connection(self) -> Any:  # redis-py's Connection, which is only partly typed
        """Creates a connection outside the pool, for a subscription. It is not connected yet."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def close(self) -> None:
        """Closes the connections. The node is not ready from now on, and no command waits for it."""
        self.set_ready(False)
        with self._lock:
            self._unready_since = -inf
        self._pool.disconnect()

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

    # Helpers

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands and returns their answers, which may be errors.

        redis-py's own client is not used here: if a signal handler raises between sending and reading, it
        returns the connection to the pool with an answer still to come, and the next command would take that
        answer for its own.
        """
        self.count("round_trips")
        pool: Any = self._pool  # only partly typed
        connection = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [_read_answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)


def _read_answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def is_away(error: CommandError) -> bool:
    """Whether Redis did not answer at all, as opposed to refusing a command."""
    return isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError))


_UNQUOTED: Final = (
    "the URL cannot be read; percent-encode special characters in user and password, such as / as %2F"
)


def _check(url: str) -> None:
    """Raises ConfigError for parts of a URL that redis-py accepts but that cannot work."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"broker: {_UNQUOTED if '@' in url else error}") from None
    if "@" in parts.path + parts.query + parts.fragment and parts.scheme != "unix":
        raise ConfigError(f"broker: {_UNQUOTED}")
    if taken := sorted(parse_qs(parts.query).keys() & _OURS):
        raise ConfigError(f"broker: {taken[0]} cannot be set in the URL; the chat needs it as it is")
    if parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ConfigError(
            f"broker: {parts.path!r} names no database; it is a number, as in redis://host:6379/0"
        )


def _as_command_error(error: RedisError) -> CommandError:
    return CommandError(ErrorCode.INTERNAL, "the message store failed, try again later", detail=str(error))
