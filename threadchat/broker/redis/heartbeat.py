"""Keeps a node part of its cluster: signs of life, its own hearing, heads of logs, and what the dead left."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from threadchat.broker.redis.connection import CLUSTER, is_away
from threadchat.broker.redis.log import RoomLog
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.presence import RedisPresence, Scope
from threadchat.broker.redis.room_channel import RedisChannel
from threadchat.broker.redis.room_index import RoomIndex
from threadchat.broker.redis.sanctions import RedisSanctions
from threadchat.broker.redis.services import Services
from threadchat.chat.log.events import Position
from threadchat.errors import CommandError
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between canaries: a node is deaf for at most two of them before it knows."""
INSPECT: Final = 5.0
"""Seconds between looks at where the rooms' logs stand; a lost last message is found by then."""
CHUNK: Final = 200
"""Rooms inspected in one round trip, so that Redis has time for others between two."""
IN_USE: Final = 24 * 3600.0
"""Seconds that a room in use lives in Redis without a sign from its nodes: longer than an outage takes."""
SHORTEST_LIFE: Final = 3 * INSPECT
"""Seconds that an unused room lives at least: a node that uses it has to be heard of in between."""
CANARY: Final = b"canary "


class Owner(Services, Protocol):
    """What the heartbeat needs of its broker."""

    node: str
    highest_user: int
    resume_secret: bytes
    messenger: NodeMessenger
    room_index: RoomIndex
    sanctions: RedisSanctions

    def note_user(self, user: int) -> None:
        """That id was given."""

    def open_rooms(self) -> list[RedisChannel]:
        """The channels of the rooms that are open here."""

    def take_forgotten(self, but: set[str]) -> set[str]:
        """Rooms that were forgotten since the last time, but some that stay forgotten for the next."""

    def presence_of(self, room: str) -> RedisPresence | None:
        """Who is in a room that is open here."""

    def log_of(self, room: str) -> RoomLog:
        """A room's log, whether it is open here or not."""

    def scope(self, room: str) -> Scope:
        """How a dead node's people are announced."""


class Heartbeat:
    """One thread that looks after one node. Everything runs on it but where it says otherwise.

    `_changed`, a leaf, guards `_heard`, `_alarm`, `_connected`, `_unsettled` and `_stopped`, and is told of
    whatever must not wait for the next tick.
    """

    def __init__(self, broker: Owner, ttl: float, *, clock: Callable[[], float] = monotonic) -> None:
        """`ttl` is the time, in seconds, within which a dead node's people leave.

        Its last sign of life is then two thirds of that old; others look whenever they give one of their
        own, which is every sixth.
        """
        self.node = secrets.token_hex(8)
        self._broker = broker
        self._ttl = ttl
        self._pause = min(TICK, ttl / 6)
        self._clock = clock
        self._new = True  # Redis does not know `node` yet
        self._changed = threading.Condition(threading.Lock())
        self._heard = 0  # the newest canary that came back
        self._sent = 0
        self._alarm = False
        self._connected = False
        self._unsettled: dict[str, RoomLog] = {}  # rooms where Redis does not know whom this node has
        self._stopped = False
        self._beat_at = self._inspect_at = clock()
        self.thread = LateThread("redis-heartbeat", self.run)

    # For others

    def connected(self) -> None:
        """The listener has a new connection. Runs on: the listener's thread."""
        with self._changed:
            self._connected = True
            self._changed.notify_all()

    def deaf(self) -> None:
        """The listener has lost its connection. Runs on: the listener's thread."""
        self._broker.connection.set_ready(False)
        with self._changed:
            self._connected = False

    def trouble(self) -> None:
        """A command failed: time to look whether Redis is there. Runs on: any thread."""
        with self._changed:
            self._alarm = True
            self._changed.notify_all()

    def unsettle(self, log: RoomLog) -> None:
        """Redis does not know whom this node has in that log's room: it is told with the next tick.

        Runs on: any thread.
        """
        with self._changed:
            self._unsettled.setdefault(log.room, log)  # the first: it may be one that ended here only

    def heard(self, payload: bytes) -> None:
        """A canary came back. Runs on: the listener's thread."""
        with self._changed:
            self._heard = int(payload.removeprefix(CANARY))
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends the thread. Runs on: any thread but its own."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.thread.join()

    # The thread

    def run(self) -> None:
        """Looks after the node, every second and whenever something is wrong, until it is stopped."""
        while not self._stopped:
            try:
                self.tick()
            except CommandError as error:
                if self._broker.connection.set_ready(False):
                    log.warning("Redis is away: %s", error)
            except Exception:
                log.exception("%s failed", self.thread.name)
            with self._changed:
                if not self._broker.connection.ready:  # which may take connections, and nothing else
                    self._changed.wait_for(lambda: self._stopped, TICK / 10)
                self._changed.wait_for(self._is_urgent_locked, self._pause)
                self._alarm = False

    def tick(self) -> None:
        """Everything that is due. Raises CommandError where Redis is away."""
        if not self._connected:
            return
        if not self._sing():
            self._broker.connection.count("canaries_lost")
            if self._broker.connection.set_ready(False):
                log.warning("nothing that is published is heard here; subscribing anew")
            self._broker.listener.reset()
            return
        now = self._clock()
        recovered = not self._broker.connection.ready
        if recovered or now >= self._beat_at:
            self._beat_at = now + self._ttl / 6
            self._beat()
        if recovered or now >= self._inspect_at:
            self._inspect_at = now + INSPECT
            self.inspect()
            self._broker.sanctions.inspect()
        if recovered:
            self.sync()
            if self._broker.connection.set_ready(True):
                log.info("connected to Redis")
            self._broker.workers.submit(self._broker.messenger.find_inboxes)
        self.settle()  # what changed while others were told, too

    def inspect(self) -> None:
        """Compares this node's place in each room with the log's, and keeps the rooms that are in use."""
        room_index = self._broker.room_index
        with self._changed:
            unsettled = set(self._unsettled)  # this node may still have people there
        # One that is open again: see below.
        room_index.forget(self.node, self._broker.take_forgotten(unsettled))
        channels = self._broker.open_rooms()
        for start in range(0, len(channels), CHUNK):
            some = channels[start : start + CHUNK]
            answers = self._broker.connection.execute(*[channel.inspection(IN_USE) for channel in some])
            for channel, (epoch, head) in zip(some, answers, strict=True):
                channel.inspect(Position(head, epoch.decode()))
        room_index.register(self.node, [channel.room for channel in channels])
        room_index.prune()

    def sync(self) -> None:
        """Tells Redis who is here, whatever it knows of that. Raises CommandError where it is away."""
        for channel in self._broker.open_rooms():
            self.unsettle(channel.log)
        self.settle()

    def settle(self) -> None:
        """Tells Redis who is here in the rooms where it does not know; where it refuses, again next time.

        Raises CommandError where Redis is away.
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
                    log.info("room %s: who is here is told to others later: %s", room.room, error)
                else:
                    del rooms[room.room]
        finally:
            with self._changed:
                self._unsettled = {**self._unsettled, **rooms}

    # Helpers

    def _settle(self, log: RoomLog) -> None:
        broker, room = self._broker, log.room
        if broker.log_of(room) is not log:  # it may have ended here only, with an event that Redis never had
            broker.connection.execute(log.command("inspect", 0, 0))
        presence = broker.presence_of(room)
        if presence is None:
            self._reap(room, self.node)
            presence = broker.presence_of(room)  # it was opened meanwhile
        if presence is not None:
            presence.sync()

    def _is_urgent_locked(self) -> bool:
        return self._stopped or self._alarm or (self._connected and not self._broker.connection.ready)

    def _sing(self) -> bool:
        """Whether this node hears what it publishes."""
        self._sent += 1
        sent = self._sent
        channel = self._broker.names.node(self._broker.node)
        self._broker.connection.execute(("PUBLISH", channel, b"%b%d" % (CANARY, sent)))
        with self._changed:
            self._changed.wait_for(lambda: self._heard >= sent or self._stopped, TICK)
            return self._heard >= sent or self._stopped

    def _beat(self) -> None:
        """Gives a sign of life, under a new name where others took this node for dead; buries the dead."""
        alive, dead = self._sign()
        if not alive:
            log.warning("others took this node for dead; it comes back")
            self._broker.connection.count("revivals")
            self._rename()
            self._sign()
            self.sync()  # before the former name is buried: whoever is still here does not leave
        for node in dead:
            self._bury(node.decode())

    def _sign(self) -> tuple[int, list[bytes]]:
        broker = self._broker
        names = broker.names
        beat = CLUSTER((names.nodes,), "beat", self.node, int(self._ttl * 1000 * 2 / 3), int(self._new))
        users = CLUSTER((names.users, names.users_run), "highest", broker.highest_user)
        (alive, dead), highest, _, broker.resume_secret = broker.connection.execute(
            beat, users, ("SET", names.resume_key, broker.resume_secret, "NX"), ("GET", names.resume_key)
        )
        broker.note_user(highest)
        self._new = False
        return alive, dead

    def _rename(self) -> None:
        """Takes another name, so that nobody who buries the former one takes what is entered from now on."""
        name = secrets.token_hex(8)
        self._broker.room_index.register(name, [channel.room for channel in self._broker.open_rooms()])
        self.node, self._new = name, True

    def _bury(self, node: str) -> None:
        """Has a dead node's people leave. Others may do the same: each goes once."""
        broker = self._broker
        rooms = broker.names.rooms_of(node)
        for name in broker.connection.execute(("SMEMBERS", rooms))[0]:
            room = name.decode()
            if gone := self._reap(room, node):
                log.info("node %s is gone: %d sessions left room %s", node, gone, room)
                broker.connection.count("reaped", gone)
        broker.connection.execute(("DEL", rooms), ("ZREM", broker.names.nodes, node))

    def _reap(self, room: str, node: str) -> int:
        """Has all whom a node has in a room leave it; returns how many sessions that were."""
        command = self._broker.log_of(room).command("reap", *self._broker.scope(room), node)
        gone: int = self._broker.connection.execute(command)[0]
        return gone

    def retire(self) -> None:
        """Takes the node out of the cluster in order. Runs on: any thread, once the heartbeat's has ended."""
        self._bury(self.node)
