"""A program that forks while another of its threads holds a lock, once for each lock; run by test_forks.py.

Its arguments: the broker, and the routing. Each child uses the chat as a worker would.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from threadchat import Chat, Config, Publisher, Room
from threadchat.errors import CommandError
from threadchat.testing import Peer

PATIENCE = 20
"""Seconds after which a child counts as stuck, and is killed by its alarm."""


def identity(chat: Chat) -> Peer:
    peer = Peer(chat.url.replace("http", "ws", 1).rstrip("/") + "/chat", timeout=PATIENCE)
    peer.ask("hello", nickname="ann")
    peer.ask("join", room="lobby")
    return peer


def locks_of(thing: object) -> Iterator[tuple[str, Any]]:
    """The locks that an object has, by name; conditions count by the lock that they have."""
    for name in getattr(thing, "__slots__", None) or vars(thing):
        value = getattr(thing, name)
        lock = value._lock if isinstance(value, threading.Condition) else value  # type: ignore[attr-defined]
        if isinstance(lock, type(threading.Lock())):
            yield f"{type(thing).__name__}.{name}", lock


def held_at_the_fork(lock: Any, child: Callable[[], None]) -> int:
    """Forks while a thread holds `lock`; what became of the child, which does `child`."""
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go.wait()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(PATIENCE), "somebody else keeps it"
    pid = os.fork()
    if not pid:
        signal.alarm(PATIENCE)
        try:
            child()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    go.set()
    holder.join()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def use(chat: Chat) -> None:
    """More publications than an outbox of the parent's holds, and a visitor of its own."""
    # What goes through Redis reaches the parent's visitor, too, who does not read.
    room = "workers" if chat.config.broker.startswith("redis") else "lobby"
    for number in range(150):
        chat.publish(room, f"from the child {number}", user=1, nickname="child")
    chat.listen(0)
    peer = identity(chat)  # kept: a peer that nobody refers to hangs up
    peer.ask("message", room=room, message="hello")
    assert len(chat.registry) == 1, len(chat.registry)
    peer.close()  # else the chat's end waits for a peer that does not read
    chat.close(PATIENCE)


def refused(chat: Chat) -> None:
    """A file is its opener's; that is said at once, and nothing hangs."""
    try:
        chat.publish("lobby", "from the child")
    except CommandError as error:
        if "forked" not in error.reason:
            raise
        chat.close(PATIENCE)
    else:
        raise AssertionError("the file is the parent's")


def main(broker: str, routing: str) -> None:
    chat = Chat(Config(port=0, broker=broker, routing=routing, room_ttl=60))
    chat.listen(0)
    peer = identity(chat)
    chat.publish("lobby", "from the parent", user=1, nickname="parent")
    hub, room = chat.hub, chat.hub.find("lobby")
    connection = chat.registry.connections()[0]
    alone = Room("alone")
    owners: list[Any] = [
        *(chat, chat.pinger, chat.turnstile, chat.registry, chat.shedder, chat.statistics, chat.inspector),
        *(chat._upgrade_handler._numbers, chat.pinger._thread, hub._sessions, hub._rooms, hub.sanctions),
        *(hub.broker, room, room.fanout, room.channel, connection, connection.deadlines),
        *(getattr(hub._routing, "_routing", hub._routing), *hub._parts),
    ]
    owners += filter(
        None,
        (
            getattr(hub.broker, name, None)
            for name in (
                *("connection", "pipeline", "subscriber", "messenger", "heartbeat", "worker_pool"),
                "room_index",
            )
        ),
    )
    work = refused if broker.startswith("sqlite") else use
    jobs = [(name, lock, lambda: work(chat)) for owner in owners for name, lock in locks_of(owner)]
    jobs.append(("Outbox.mutex", connection.outbox.mutex, lambda: work(chat)))
    for owner in (alone, alone.fanout, alone.channel):
        jobs += [(name, lock, lambda: check_alone(alone)) for name, lock in locks_of(owner)]
    if broker.startswith("redis"):
        publisher = Publisher(broker)
        publisher.publish("lobby", "from the parent")
        for owner in (publisher._redis._pipeline, publisher._redis._connection):
            jobs += [
                (name, lock, lambda: publisher.publish("lobby", "from the child") and None)
                for name, lock in locks_of(owner)
            ]
    seen: set[int] = set()
    stuck = []
    for name, lock, job in jobs:
        if id(lock) in seen:
            continue
        seen.add(id(lock))
        if code := held_at_the_fork(lock, job):
            stuck.append(f"{name}: {code}")
    assert peer.ask("ping")["type"] == "ok"
    peer.close()
    chat.close(PATIENCE)
    sys.stdout.write(f"{len(seen)} {', '.join(stuck)}\n")
    sys.stdout.flush()


def check_alone(alone: Room) -> None:
    """A room without a hub."""
    stream = alone.add("bob", "laptop")
    alone.message("bob", "hi")
    assert [stream.get(PATIENCE).type for _ in range(2)] == ["join", "message"]  # type: ignore[union-attr]
    alone.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
