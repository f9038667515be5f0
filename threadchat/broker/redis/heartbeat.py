"""Keeps a node in its cluster: signs of life, canaries, the heads of logs, and cleanup after dead nodes."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from threadchat.broker.redis.commands import IN_USE
from threadchat.broker.redis.connection import CLUSTER, PAGE, is_away
from threadchat.broker.redis.log import RoomLog
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.people import Services
from threadchat.broker.redis.presence import RedisPresence, Scope
from threadchat.broker.redis.room_channel import RedisChannel
from threadchat.broker.redis.room_index import RoomIndex
from threadchat.broker.redis.sanctions import RedisSanctions
from threadchat.broker.redis.storage import RedisStorage
from threadchat.chat.log.events import Position
from threadchat.errors import CommandError
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between canaries. A node that no longer receives anything notices after at most two of them."""
INSPECT: Final = 5.0
"""Seconds between checks of the heads of the rooms' logs. A lost last message is found within this time."""
SHORTEST_LIFE: Final = 3 * INSPECT
"""Minimum seconds for which Redis keeps an unused room: a node that uses it must report in that time."""
CANARY: Final = b"canary "


class Owner(Services, Protocol):
    """What the heartbeat needs from its broker."""

    node: str
    highest_user: int
    resume_secret: bytes
    messenger: NodeMessenger
    room_index: RoomIndex
    sanctions: RedisSanctions
    storage: RedisStorage
    revocations: RedisSanctions

    def note_user(self, user: int) -> None:
        """Notes that an id was assigned."""

    def open_rooms(self) -> list[RedisChannel]:
        """The channels of the rooms that are open here."""

    def take_forgotten(self, but: set[str]) -> set[str]:
        """Returns the rooms forgotten since the last call, but keeps those in `but` for the next call."""

    def presence_of(self, room: str) -> RedisPresence | None:
        """The presence of a room that is open here, otherwise None."""

    def log_of(self, room: str) -> RoomLog:
        """The log of a room, open here or not."""

    def scope(self, room: str) -> Scope:
        """How to announce the people of a dead node."""


class Heartbeat:
    """One thread that maintains one node. Everything runs on it unless stated otherwise.

    `_changed`, a leaf, guards `_received`, `_alarm`, `_connected`, `_unsettled` and `_stopped`. It is
    notified of whatever cannot wait for the next tick.
    """

    def __init__(self, broker: Owner, ttl: float, *, clock: Callable[[], float] = monotonic) -> None:
        """`ttl` is the number of seconds within which the people of a dead node leave.

        A node counts as dead when its last heartbeat is older than two thirds of `ttl`. Each node sends one
        every sixth of `ttl`, and looks for dead nodes at the same time.
        """
        self.node = secrets.token_hex(8)
        self._broker = broker
        self._ttl = ttl
        self._pause = min(TICK, ttl / 6)
        self._clock = clock
        self._new = True  # Redis does not know the name `node` yet
        self._changed = threading.Condition(threading.Lock())
        self._received = self._sent = 0  # the newest canary that came back, or was sent
        self._alarm = False
        self._connected = False
        self._unsettled: dict[str, RoomLog] = {}  # rooms whose people Redis may not know
        self._stopped = False
        self._beat_at = self._inspect_at = clock()
        self.thread = LateThread("redis-heartbeat", self.run)

    # For others

    def connected(self) -> None:
        """The subscriber has a new connection. Runs on: the subscriber's thread."""
        with self._changed:
            self._connected = True
            self._changed.notify_all()

    def disconnected(self) -> None:
        """The subscriber has lost its connection. Runs on: the subscriber's thread."""
        self._broker.connection.set_ready(False)
        with self._changed:
            self._connected = False

    def trouble(self) -> None:
        """A command failed, so check whether Redis is reachable. Runs on: any thread."""
        with self._changed:
            self._alarm = True
            self._changed.notify_all()

    def unsettle(self, log: RoomLog) -> None:
        """Redis may not know whom this node has in a room. The next tick tells it. Runs on: any thread."""
        with self._changed:
            self._unsettled.setdefault(log.room, log)  # the first: its room may have ended here only

    def canary_received(self, payload: bytes) -> None:
        """A canary came back. Runs on: the subscriber's thread."""
        with self._changed:
            self._received = int(payload.removeprefix(CANARY))
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends the thread. Runs on: any other thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.thread.join()

    # The thread

    def run(self) -> None:
        """Maintains the node every second, and whenever something is wrong, until it is stopped."""
        while not self._stopped:
            try:
                self.tick()
            except CommandError as error:
                if self._broker.connection.set_ready(False):
                    log.warning("Redis is away: %s", error)
                self._broker.connection.topology.look_again()
            except Exception:
                log.exception("%s failed", self.thread.name)
            with self._changed:
                if not self._broker.connection.ready:  # Redis may accept connections but answer nothing
                    self._changed.wait_for(lambda: self._stopped, TICK / 10)
                self._changed.wait_for(self._is_urgent_locked, self._pause)
                self._alarm = False

    def tick(self) -> None:
        """Does everything that is due. Raises CommandError if Redis is away."""
        if not self._connected:
            return
        if not self._check_canary():
            self._broker.connection.count("canaries_lost")
            if self._broker.connection.set_ready(False):
                log.warning("this node no longer receives what is published; subscribing again")
            self._broker.subscriber.reset()
            return
        now = self._clock()
        recovered = not self._broker.connection.ready
        if recovered or now >= self._beat_at:
            self._beat_at = now + self._ttl / 6
            self._beat()
        if recovered or now >= self._inspect_at:
            self._inspect_at = now + INSPECT
            self._broker.connection.inspect()
            self.inspect()
            self._broker.sanctions.inspect()
            self._broker.revocations.inspect()
        if recovered:
            self.sync()
            if self._broker.connection.set_ready(True):
                log.info("connected to Redis")
            self._broker.worker_pool.submit(self._broker.messenger.find_inboxes)
        self._broker.storage.tick(self.node, self._broker.worker_pool)
        self.settle()  # including what changed during this tick

    def inspect(self) -> None:
        """Compares this node's position in each room with the head of the log, and keeps rooms in use."""
        room_index = self._broker.room_index
        with self._changed:
            unsettled = set(self._unsettled)  # Redis may still list people of this node there
        # A forgotten room may be open again. It is registered again below.
        room_index.forget(self.node, self._broker.take_forgotten(unsettled))
        channels = self._broker.open_rooms()
        for start in range(0, len(channels), PAGE):
            some = channels[start : start + PAGE]
            answers = self._broker.connection.execute(*[channel.inspection(IN_USE) for channel in some])
            for channel, (epoch, head) in zip(some, answers, strict=True):
                channel.inspect(Position(head, epoch.decode()))
        room_index.register(self.node, [channel.room for channel in channels])
        room_index.prune()

    def sync(self) -> None:
        """Tells Redis who is on this node, whatever it knows already. Raises CommandError if it is away."""
        for channel in self._broker.open_rooms():
            self.unsettle(channel.log)
        self.settle()

    def settle(self) -> None:
        """Tells Redis who is in the unsettled rooms, and tries again later if it refuses one of them.

        Raises CommandError if Redis is away.
        """
        with self._changed:
            rooms, self._unsettled = self._unsettled, {}
        try:
            for room in list(rooms.values()):
                try:
                    self._settle(room)
                except CommandError as error:
                    if is_away(error):
                        raise
                    log.info("room %s: other nodes will learn later who is here: %s", room.room, error)
                else:
                    del rooms[room.room]
        finally:
            with self._changed:
                self._unsettled = {**self._unsettled, **rooms}

    # Helpers

    def _settle(self, log: RoomLog) -> None:
        broker, room = self._broker, log.room
        if broker.log_of(room) is not log:  # its room may have ended here only, unknown to Redis
            broker.connection.execute(log.command("inspect", 0, 0))
        presence = broker.presence_of(room)
        if presence is None:
            self._reap(room, self.node)
            presence = broker.presence_of(room)  # it was opened meanwhile
        if presence is not None:
            presence.sync()

    def _is_urgent_locked(self) -> bool:
        return self._stopped or self._alarm or (self._connected and not self._broker.connection.ready)

    def _check_canary(self) -> bool:
        """Whether this node receives what it publishes."""
        self._sent = sent = self._sent + 1
        channel, connection = self._broker.names.node(self._broker.node), self._broker.connection
        connection.execute(connection.publication(channel, b"%b%d" % (CANARY, sent)))
        with self._changed:
            self._changed.wait_for(lambda: self._received >= sent or self._stopped, TICK)
            return self._received >= sent or self._stopped

    def _beat(self) -> None:
        """Sends a heartbeat, under a new name if others considered this node dead. Removes dead nodes."""
        alive, dead = self._sign()
        if not alive:
            log.warning("other nodes considered this node dead; it returns under a new name")
            self._broker.connection.count("revivals")
            self._rename()
            self._sign()
            self.sync()  # before the old name is removed, so that nobody leaves
        for node in dead:
            self._remove_node(node.decode())
        self._broker.reports.exchange(self.node, self._broker.connection)

    def _sign(self) -> tuple[int, list[bytes]]:
        broker, names = self._broker, self._broker.names
        beat = CLUSTER((names.nodes,), "beat", self.node, int(self._ttl * 1000 * 2 / 3), int(self._new))
        users = CLUSTER((names.users, names.users_run), "highest", broker.highest_user)
        (alive, dead), highest, _, broker.resume_secret = broker.connection.execute(
            beat, users, ("SET", names.resume_key, broker.resume_secret, "NX"), ("GET", names.resume_key)
        )
        broker.note_user(highest)
        self._new = False
        return alive, dead

    def _rename(self) -> None:
        """Takes a new name, so that whoever removes the old one spares what is entered from now on."""
        name = secrets.token_hex(8)
        self._broker.room_index.register(name, [channel.room for channel in self._broker.open_rooms()])
        self.node, self._new = name, True

    def _remove_node(self, node: str) -> None:
        """Makes the people of a dead node leave. Other nodes may do the same; each person leaves once."""
        broker = self._broker
        for room in broker.room_index.rooms_of(node):
            if gone := self._reap(room, node):
                log.info("node %s is gone: %d sessions left room %s", node, gone, room)
                broker.connection.count("reaped", gone)
        broker.connection.execute(("UNLINK", broker.names.rooms_of(node)), ("ZREM", broker.names.nodes, node))
        broker.reports.forget(node, broker.connection)

    def _reap(self, room: str, node: str) -> int:
        """Makes everybody whom a node has in a room leave it. Returns the number of sessions."""
        reaping = self._broker.log_of(room).command("reap", *self._broker.scope(room), node)
        return int(self._broker.connection.execute(reaping)[0])

    def retire(self) -> None:
        """Takes the node out of the cluster. Runs on: any thread, after the heartbeat thread has ended."""
        self._remove_node(self.node)
