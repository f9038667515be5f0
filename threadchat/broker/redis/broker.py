"""One node's part of a Redis cluster: rooms, people and ids that all nodes share."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from threadchat.broker.redis.commands import IN_USE, Retention, inbox_retention
from threadchat.broker.redis.connection import CLUSTER, RedisConnection
from threadchat.broker.redis.heartbeat import CANARY, SHORTEST_LIFE, Heartbeat
from threadchat.broker.redis.keys import PREFIX, KeyNames
from threadchat.broker.redis.log import RoomLog
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.people import People, RedisBlocks, RedisReads
from threadchat.broker.redis.presence import RedisPresence, Scope, scope_of
from threadchat.broker.redis.publish_pipeline import PublishPipeline
from threadchat.broker.redis.room_channel import RedisChannel
from threadchat.broker.redis.room_index import RoomIndex, SharedRooms
from threadchat.broker.redis.sanctions import RedisSanctions
from threadchat.broker.redis.storage import RedisStorage
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import RedisReports, Whispers
from threadchat.chat.access.revocations import Revocation
from threadchat.chat.broker_interface import Node, OpenInbox, Whispered
from threadchat.chat.delivery.stream import SEND_TIMEOUT
from threadchat.chat.log.events import is_inbox
from threadchat.chat.log.sequencer import Channel
from threadchat.chat.log.storage import STORAGE_BYTES, StorageBudget
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE
from threadchat.chat.presence import Presence
from threadchat.errors import CommandError
from threadchat.wire.threads.worker_pool import WorkerPool

log = logging.getLogger(__name__)

PRESENCE_TTL: Final = 15.0
"""Seconds within which the people of a dead node leave."""
ROOM_TTL: Final = 300.0
WORKERS: Final = 32  # threads, for work that may block
MAX_JOBS: Final = 1 << 16  # each room has at most one, so only answers can fill the queue


class RedisBroker(People, SharedRooms):
    """A Broker that is also a Cluster. Every method may be called from any thread.

    Its threads start when it is first used, so a process may create it, fork, and use it in each child. While
    Redis is away, operations that need it raise CommandError 100, temporary. Open rooms stay open and catch
    up later. `_lock` guards `_channels`, `_forgotten`, `highest_user`, `_started` and `_closed`. While it is
    held, only the lock of the connection or of a starting thread may be acquired.
    """

    def __init__(
        self,
        url: str,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        *,
        history_age: float = 0.0,
        room_ttl: float = ROOM_TTL,
        send_timeout: float = SEND_TIMEOUT,
        presence_ttl: float = PRESENCE_TTL,
        max_rooms: int = 0,
        inbox_size: int = INBOX_SIZE,
        inbox_age: float = INBOX_AGE,
        wait_replicas: int = 0,
        storage_bytes: int = STORAGE_BYTES,
        prefix: str = PREFIX,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`url` is as in the `broker` setting, with user, password and redis-py's options.

        Durations are in seconds. A `history_age` of 0 keeps events of any age. A `room_ttl` below
        `SHORTEST_LIFE` is raised to it. All nodes together have at most `max_rooms` rooms (0: any number); if
        there are more, unused rooms are dropped first. All rooms together take about `storage_bytes` bytes at
        most; see RedisStorage. A publication is acknowledged once `wait_replicas` replicas have it. Raises
        ConfigError.
        """
        self.names = KeyNames(prefix)
        self.retention = Retention(history_size, history_bytes, history_age, max(room_ttl, SHORTEST_LIFE))
        self._inbox_retention = inbox_retention(inbox_size, history_bytes, inbox_age)
        self.send_timeout = send_timeout
        self._url = url
        self._presence_ttl = presence_ttl
        self._wait_replicas = wait_replicas
        self._max_rooms = max_rooms
        self._storage_bytes = storage_bytes
        self._clock = clock
        self._announce_limit: int | None = None
        self._here: Node | None = None
        self._whispered: Whispered | None = None
        self._open_inbox: OpenInbox | None = None
        self._lock = threading.Lock()
        self._channels: dict[str, RedisChannel] = {}
        self._forgotten: set[str] = set()
        self._started = False
        self._closed = False
        self.sanctions = RedisSanctions(self, self.names.sanctions)
        self.revocations = RedisSanctions(self, self.names.revocations, Revocation)
        self.blocks = RedisBlocks(self)
        self.reads = RedisReads(self)
        self.reports = RedisReports(self.names.reports, clock)
        self._build()

    def _build(self) -> None:
        """Creates the parts. They belong to one process."""
        self._pid = os.getpid()
        self.node = secrets.token_hex(8)  # names its channel; the heartbeat's name may change
        self.highest_user = 0
        self.resume_secret = secrets.token_bytes(32)  # replaced by the cluster's once the node is ready
        self.connection = RedisConnection(self._url)
        budget = StorageBudget(self._storage_bytes)
        self.storage = RedisStorage(self.names, self.connection, self.log_of, self.retention, budget)
        self.pipeline = PublishPipeline(
            self.connection, self.retention, self.storage, replicas=self._wait_replicas
        )
        self.room_index = RoomIndex(self.names, self.connection, self.log_of, self._max_rooms)
        self.worker_pool = WorkerPool("redis-worker", WORKERS, MAX_JOBS, linger=1.0)
        self.heartbeat = Heartbeat(self, self._presence_ttl, clock=self._clock)
        self.subscriber = Subscriber(self.connection, self.heartbeat.disconnected, self.heartbeat.connected)
        self.messenger = NodeMessenger(
            self.node, self.names, self.connection, self.subscriber, self.worker_pool
        )
        self.messenger.here, self.messenger.open_inbox = self._here, self._open_inbox
        self.whispers = Whispers(self.node, self.names, self.connection, self._whispered)
        self.connection.on_trouble = self.heartbeat.trouble
        self.subscriber.subscribe(self.names.node(self.node), self._receive)
        self.sanctions.subscribe()
        self.revocations.subscribe()

    # Broker

    @property
    def resume_key(self) -> bytes:
        """Signs resume tokens on all nodes. Raises CommandError 100."""
        self.await_ready()
        return self.resume_secret

    def open(self, room: str) -> RedisChannel:
        """See Broker. The channel connects when it is attached."""
        self.start()
        return RedisChannel(self, room)

    def new_user(self) -> int:
        """Returns the cluster's next user id. Raises CommandError 100."""
        self.await_ready()
        keys = self.names.users, self.names.users_run
        user: int = self.connection.ask(CLUSTER(keys, "user", self.highest_user))[0]
        self.note_user(user)
        return user

    @property
    def ready(self) -> bool:
        """Whether Redis is reachable and this node receives what is published."""
        self.start()
        return self.connection.ready

    def wait_ready(self, timeout: float) -> bool:
        """Waits until `ready`, at most `timeout` seconds."""
        self.start()
        return self.connection.wait_ready(timeout)

    def counters(self) -> dict[str, int]:
        """Counts what happened: publications, round_trips, reconnects, filled (events read to fill holes),
        restarts (logs that began anew), canaries_lost, revivals, reaped (sessions of dead nodes).
        """
        return dict(self.connection.counters)

    def leave_behind(self) -> None:
        """Starts again as another node. Runs on: the only thread of a forked process, first."""
        self._lock = threading.Lock()
        self._channels, self._forgotten = {}, set()
        self._started = False  # the next use creates the parts
        self.sanctions.leave_behind()
        self.revocations.leave_behind()

    def close(self) -> None:
        """Leaves the cluster and ends all threads. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            started = self._started
        self.heartbeat.stop()  # it may run even if no other thread could start
        if started and self.connection.ready:
            with contextlib.suppress(CommandError):  # then the others will find this node dead
                self.heartbeat.retire()
        self.worker_pool.stop(wait=True)
        self.subscriber.stop()
        self.connection.close()

    @property
    def closed(self) -> bool:
        """Whether this node has left the cluster."""
        return self._closed

    # Cluster

    def presence(self, channel: Channel, announce_limit: int | None) -> Presence:
        """See Cluster."""
        assert isinstance(channel, RedisChannel), "each broker has the presence of its own rooms"
        self._announce_limit = announce_limit
        channel.presence = RedisPresence(
            channel.log,
            self.connection,
            lambda: self.heartbeat.node,
            scope_of(channel.room, announce_limit),
            life=IN_USE,
            on_unsettled=self.on_unsettled,
        )
        return channel.presence

    # For the parts of this broker

    def note_user(self, user: int) -> None:
        """Notes that an id was assigned, on any node, and must not be assigned again."""
        with self._lock:
            self.highest_user = max(self.highest_user, user)

    def retention_of(self, room: str) -> Retention:
        """How much of a room or an inbox is kept."""
        return self._inbox_retention if is_inbox(room) else self.retention

    def start(self) -> None:
        """Starts the threads if they do not run yet."""
        with self._lock:
            if self._started or self._closed:
                return
            if self._pid != os.getpid():
                self._build()
            self.connection.expect()
            # If one of them cannot start, `_started` stays false and the next use tries again.
            self.subscriber.thread.start()
            self.heartbeat.thread.start()
            self._started = True

    def await_ready(self) -> None:
        """Waits a moment until the node is part of the cluster. Raises CommandError 100 if it is not."""
        self.start()
        self.connection.check_ready()

    def note_room(self, channel: RedisChannel) -> None:
        """A room is being opened here. Raises CommandError 100, and 106 if Redis has too many rooms."""
        with self._lock:
            self._channels[channel.room] = channel
        self.room_index.admit(self.heartbeat.node, channel.room)

    def forget_room(self, channel: RedisChannel) -> None:
        """Notes that a room is no longer open here."""
        with self._lock:
            if self._channels.get(channel.room) is channel:
                del self._channels[channel.room]
                self._forgotten.add(channel.room)

    def take_forgotten(self, but: set[str]) -> set[str]:
        """Returns the rooms forgotten since the last call, but keeps those in `but` for the next call."""
        with self._lock:
            forgotten, self._forgotten = self._forgotten - but, self._forgotten & but
            return forgotten

    def open_rooms(self) -> list[RedisChannel]:
        """The channels of the rooms that are open here."""
        with self._lock:
            return list(self._channels.values())

    def presence_of(self, room: str) -> RedisPresence | None:
        """The presence of a room that is open here, otherwise None."""
        channel = self._channels.get(room)
        return channel.presence if channel is not None else None

    def log_of(self, room: str) -> RoomLog:
        """The log of a room, open here or not."""
        if (channel := self._channels.get(room)) is not None:
            return channel.log
        return RoomLog(room, self.names.room(room), self.connection, self.retention_of(room))

    def on_unsettled(self, log: RoomLog) -> None:
        """Called if Redis may not know whom this node has in that log's room."""
        self.heartbeat.unsettle(log)

    def scope(self, room: str) -> Scope:
        """How to announce the people of a dead node: in the same way as this node's own."""
        return scope_of(room, self._announce_limit)

    # Helpers

    def _receive(self, payloads: list[bytes]) -> None:
        """Takes messages for this node alone. Runs on: the subscriber's thread."""
        for payload in payloads:
            if payload.startswith(CANARY):
                self.heartbeat.canary_received(payload)
            else:
                self.messenger.answered(payload)
