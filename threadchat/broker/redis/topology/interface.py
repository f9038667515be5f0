"""What the rest of the broker needs of Redis, however many servers there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis.exceptions import ResponseError

Command = tuple[Any, ...]

CONNECTIONS: Final = 16
"""The number of connections to a server for commands. Publications share one at a time; the others are for
queries.
"""
CONFIRMATION: Final = 1.0
"""Seconds to wait until replicas have confirmed a write. Less than `TIMEOUT`, which ends the connection."""


class TooFewReplicas(ResponseError):
    """The write was done, but fewer replicas than wanted have confirmed it in time."""


class Topology(Protocol):
    """Every method may be called from any thread. All raise redis-py's RedisError if no server is reached.

    `on_changed` is called, on any thread, when channels may be on other servers than before.
    """

    on_changed: Callable[[], None]
    clustered: bool
    """Whether there are several servers, each with some of the slots."""
    sharded: bool
    """Whether messages go through SPUBLISH and SSUBSCRIBE, to the one server that has the channel's slot."""

    def send(self, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
        """Sends commands, each once, and returns their answers, which may be errors.

        Waits until that many replicas have confirmed what was written. If fewer do so within `CONFIRMATION`,
        the answers are TooFewReplicas.
        """

    def load(self, scripts: Sequence[bytes], commands: Sequence[Command]) -> None:
        """Loads scripts where these commands go."""

    def lasting_history(self) -> str:
        """The replication id of a server that has on disk what it answers, and no replica that could take
        over without it. Empty if there is none, or if that cannot be known.
        """

    def server_of(self, channel: bytes) -> Any:
        """Which server has the subscribers of a channel: None if there is only one."""

    def new_connection(self, server: Any) -> Any:  # redis-py's Connection, which is only partly typed
        """Creates a connection outside the pool, for subscriptions on a server. It is not connected yet."""

    def look_again(self) -> None:
        """Looks where the channels are now. Raises nothing: if it fails, all stays as it was."""

    def disconnect(self) -> None:
        """Ends the connections. The next command opens one to the server that is the master then."""
