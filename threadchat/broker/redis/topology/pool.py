"""Sends commands over connections of pools, one pool for each server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import RedisError, ResponseError

from threadchat.broker.redis.topology.interface import CONFIRMATION, Command, TooFewReplicas

_ENDED: Final = (AttributeError, ValueError)
"""If another thread ends the pool's connections meanwhile, redis-py finds no socket or a closed buffer."""


class Exchange:
    """Commands to one server and their answers, over a connection that this has alone until `end`.

    redis-py's own clients are not used here: if a signal handler raises between sending and reading, they
    return the connection to the pool with an answer still to come, and the next command would take that for
    its own.
    """

    def __init__(self, pool: redis.ConnectionPool, commands: Sequence[Command], replicas: int = 0) -> None:
        """`replicas` is as for Topology.send."""
        self._pool: Any = pool  # only partly typed
        self._commands, self._replicas = commands, replicas
        self._connection: Any = None
        self._complete = False

    def send(self) -> None:
        """Waits for a connection and sends the commands. Raises redis-py's RedisError."""
        commands = self._commands
        if self._replicas:
            commands = [*commands, ("WAIT", self._replicas, int(CONFIRMATION * 1000))]
        try:
            connection = self._connection = self._pool.get_connection()
        except _ENDED as error:
            raise _ended() from error
        packed = connection.pack_commands(commands)
        try:
            connection.send_packed_command(packed)
        except _ENDED as error:
            raise _ended() from error

    def receive(self) -> list[Any]:
        """Reads the answers, which may be errors. Raises redis-py's RedisError if the connection fails."""
        try:
            answers = [_read_answer(self._connection) for _ in self._commands]
            confirmed = _read_answer(self._connection) if self._replicas else 0
        except _ENDED as error:
            raise _ended() from error
        self._complete = True
        return answers if confirmed == self._replicas else _confirmed(answers, confirmed, self._replicas)

    def end(self) -> None:
        """Returns the connection to its pool. If not all answers were read, it is closed before."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if not self._complete:
                    connection.disconnect()
            finally:
                self._pool.release(connection)


def send(pool: redis.ConnectionPool, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
    """Sends commands to one server; see Topology."""
    exchange = Exchange(pool, commands, replicas)
    try:
        exchange.send()
        return exchange.receive()
    finally:
        exchange.end()


def _ended() -> redis.ConnectionError:
    return redis.ConnectionError("the connection was ended meanwhile")


def _read_answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _confirmed(answers: list[Any], confirmed: Any, wanted: int) -> list[Any]:
    """What to answer if WAIT answered this. If it says too little, or is an error, no write is confirmed."""
    if not isinstance(confirmed, RedisError):
        if confirmed >= wanted:
            return answers
        confirmed = TooFewReplicas(f"{confirmed} of {wanted} replicas have confirmed the write")
    return [answer if isinstance(answer, RedisError) else confirmed for answer in answers]
