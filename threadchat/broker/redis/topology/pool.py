"""Sends commands over one of a pool's connections to a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from threadchat.broker.redis.topology.interface import CONFIRMATION, Command, TooFewReplicas


def send(pool: redis.ConnectionPool, commands: Sequence[Command], replicas: int = 0) -> list[Any]:
    """See Topology.

    redis-py's own client is not used here: if a signal handler raises between sending and reading, it returns
    the connection to the pool with an answer still to come, and the next command would take that answer for
    its own.
    """
    if replicas:
        commands = [*commands, ("WAIT", replicas, int(CONFIRMATION * 1000))]
    connection: Any = pool.get_connection()  # only partly typed
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        answers = [_read_answer(connection) for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    return _confirmed(answers, replicas) if replicas else answers


def _read_answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _confirmed(answers: list[Any], wanted: int) -> list[Any]:
    """The answers without that of WAIT. If that says too little, or is an error, no write is confirmed."""
    confirmed = answers.pop()
    if not isinstance(confirmed, RedisError):
        if confirmed >= wanted:
            return answers
        confirmed = TooFewReplicas(f"{confirmed} of {wanted} replicas have confirmed the write")
    return [answer if isinstance(answer, RedisError) else confirmed for answer in answers]
