"""Joins running Redis servers to a Redis Cluster: who knows whom, who has which slots, who follows whom."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

SLOTS = 16384
MASTERS = 3
JOIN_SECONDS = 30.0  # a master of a new cluster takes commands after two seconds
LOOK_SECONDS = 0.05

Run = Callable[..., Any]
"""Runs a command on the server with a number, the first argument; returns what it answers."""


def ask(sock: socket.socket, *words: object) -> bytes:
    """Returns what a server answers to a command: a line, or a string of bytes. Raises OSError."""
    sock.sendall(b" ".join(str(word).encode() for word in words) + b"\r\n")
    with sock.makefile("rb") as answer:
        line = answer.readline()
        if line[:1] == b"$":
            return answer.read(int(line[1:]) + 2)[:-2]
    if line[:1] not in (b"+", b":"):
        raise OSError(f"{words[0]} was refused: {line.decode(errors='replace').strip()}")
    return line[1:-2]


def join(
    run: Run,
    ports: Sequence[tuple[int, int]],
    masters: int = MASTERS,
    check: Callable[[], None] = lambda: None,
    host: str = "127.0.0.1",
) -> list[str]:
    """Makes empty servers one cluster, and waits until it is complete. Returns the ids of the servers.

    `ports` are those of each server on `host`: for clients and for the other servers. The first `masters`
    servers share the slots; the others follow them in turn. `check` is called repeatedly, and an exception
    from it ends the wait. Raises TimeoutError.
    """
    ids = [_text(run(number, "CLUSTER", "MYID")) for number in range(len(ports))]
    for number in range(len(ports)):
        run(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < masters:
            first, end = SLOTS * number // masters, SLOTS * (number + 1) // masters
            run(number, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for port, bus in ports[:number]:
            run(number, "CLUSTER", "MEET", host, port, bus)
    numbers = range(len(ports))
    _await(lambda: all(_knows(run, number, ids) for number in numbers), check)
    for number in numbers[masters:]:
        run(number, "CLUSTER", "REPLICATE", ids[number % masters])
    await_complete(run, len(ports), check)
    return ids


def await_complete(run: Run, count: int, check: Callable[[], None] = lambda: None) -> None:
    """Waits until all slots are served, and each replica follows its master. Raises TimeoutError."""
    _await(lambda: all(_is_good(run, number) for number in range(count)), check)


def _knows(run: Run, number: int, ids: Sequence[str]) -> bool:
    """Whether a server has shaken hands with all: before that, it knows them by other ids."""
    lines = _text(run(number, "CLUSTER", "NODES")).splitlines()
    return {line.split()[0] for line in lines if "handshake" not in line.split()[2]} >= set(ids)


def _is_good(run: Run, number: int) -> bool:
    if "cluster_state:ok" not in _text(run(number, "CLUSTER", "INFO")):
        return False
    replication = _text(run(number, "INFO", "replication"))
    return "role:master" in replication or "master_link_status:up" in replication


def _await(condition: Callable[[], bool], check: Callable[[], None]) -> None:
    deadline = time.monotonic() + JOIN_SECONDS
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Redis servers are no complete cluster after {JOIN_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)
