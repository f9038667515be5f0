"""Talks to Redis: commands and scripts over a pool of connections, failures as errors of this package."""

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
"""Seconds for connecting to Redis, and for its answer; then it counts as away."""
CONNECTIONS: Final = 16
"""Connections for commands. Publications share one at a time; the rest are for questions."""
GRACE: Final = 1.0
"""Seconds for which a command waits where the node stopped hearing just now: a blip costs no error."""

_OURS: Final = {"protocol", "decode_responses", "encoding", "encoding_errors", "retry"}
"""Options of redis-py that decide what its answers look like, or that something is sent twice."""

Command = tuple[Any, ...]


class Script:
    """A Lua script of this package, by its digest."""

    def __init__(self, name: str) -> None:
        self.source = importlib.resources.files(__package__).joinpath(name).read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], *arguments: Any) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


ROOM: Final = Script("room.lua")
CLUSTER: Final = Script("cluster.lua")


class RedisConnection:
    """One node's way to Redis. `ask` is for what people want, `execute` for the node's own upkeep.

    Nothing is ever sent twice: what was sent when a connection broke may have been done. All methods
    may be called from any thread. `_lock` guards `_deaf_since` and `counters`; a leaf.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        """Connects with the first command. Raises ConfigError for a URL that redis-py does not understand."""
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
            self.new_connection()  # connects to nothing yet, but knows its options
        except ValueError as error:
            # Its text may have a part of the password in it.
            why = _UNQUOTED if "@" in url else error
            raise ConfigError(f"broker: {why}") from None
        except TypeError as error:
            raise ConfigError(f"broker: an option behind the ? is not one of redis-py's: {error}") from error
        self.on_trouble: Callable[[], None] = lambda: None
        self.counters: Counter[str] = Counter()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._deaf_since = monotonic()

    # Commands

    def ask(self, *commands: Command) -> list[Any]:
        """Runs commands, in one round trip, and returns their answers.

        Raises CommandError 100, temporary, where Redis is away or refuses.
        """
        self.check_ready()
        try:
            return self.execute(*commands)
        except CommandError as error:
            if is_away(error) or isinstance(error.__cause__, ReadOnlyError):
                self.set_ready(False)  # whoever comes next does not wait for the same timeout
                self.on_trouble()
            raise

    def execute(self, *commands: Command) -> list[Any]:
        """As `ask`, whether the node is ready or not."""
        try:
            answers = self._send(commands)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:  # Redis was started anew; none of them was done
                self._send([("SCRIPT", "LOAD", script.source) for script in (ROOM, CLUSTER)])
                for i, answer in zip(missing, self._send([commands[i] for i in missing]), strict=True):
                    answers[i] = answer
        except RedisError as error:
            raise _as_command_error(error) from error
        for answer in answers:
            if isinstance(answer, ReadOnlyError):
                self._pool.disconnect()  # it is a replica now; the name leads to the new primary
            if isinstance(answer, RedisError):
                raise _as_command_error(answer) from answer
        return answers

    def publish(self, channel: str, payload: bytes) -> int:
        """Sends to whoever listens on a channel; returns how many do. Raises CommandError as `ask`."""
        count: int = self.ask(("PUBLISH", channel, payload))[0]
        return count

    def count(self, name: str, by: int = 1) -> None:
        """Adds to one of the counters."""
        with self._lock:
            self.counters[name] += by

    def new_connection(self) -> Any:  # redis-py's Connection, which is typed in part only
        """A connection outside the pool, for a subscription; not connected yet."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def close(self) -> None:
        """Closes connections. Nothing is ready from now on, and nobody waits for it."""
        self.set_ready(False)
        with self._lock:
            self._deaf_since = -inf
        self._pool.disconnect()

    # Readiness

    @property
    def ready(self) -> bool:
        """Whether Redis is there and the node hears what is published."""
        return self._ready.is_set()

    def expect(self) -> None:
        """Has commands wait longer the first time: the node is about to connect."""
        with self._lock:
            self._deaf_since = monotonic() + TIMEOUT

    def set_ready(self, ready: bool) -> bool:
        """Notes that the node hears, or is deaf from now on; whether that is a change."""
        with self._lock:
            if ready == self._ready.is_set():
                return False
            if ready:
                self._ready.set()
            else:
                self._ready.clear()
                self._deaf_since = monotonic()
            return True

    def wait_ready(self, timeout: float) -> bool:
        """Waits until the node hears."""
        return self._ready.wait(timeout)

    def check_ready(self) -> None:
        """Raises CommandError 100, temporary, while the node is deaf, after a moment's patience."""
        if self._ready.is_set():
            return
        with self._lock:
            since = self._deaf_since
        if not self._ready.wait(max(0.0, since + GRACE - monotonic())):
            raise CommandError(ErrorCode.INTERNAL, "the message store is away, try again later")

    # Helpers

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands and returns their answers, errors among them.

        redis-py's own client would give a connection back with an answer still to come, where a signal
        handler raises an exception between sending and reading; the next command would take that answer for
        its own.
        """
        self.count("round_trips")
        pool: Any = self._pool  # typed in part only
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
    """Whether Redis did not answer at all, as opposed to refusing one command."""
    return isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError))


_UNQUOTED: Final = (
    "the URL cannot be read; in user and password, all but letters and digits is written as %2F and the like"
)


def _check(url: str) -> None:
    """Raises ConfigError for what redis-py would take and make nothing good of."""
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
    return CommandError(ErrorCode.INTERNAL, f"the message store failed, try again later: {error}")
