"""One node's part of a cluster over Redis: rooms, people and ids that all nodes share."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from threadchat.broker.redis.commands import Retention, inbox_retention
from threadchat.broker.redis.connection import CLUSTER, RedisConnection
from threadchat.broker.redis.heartbeat import CANARY, IN_USE, SHORTEST_LIFE, Heartbeat
from threadchat.broker.redis.keys import PREFIX, KeyNames
from threadchat.broker.redis.log import RoomLog
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.people import People
from threadchat.broker.redis.presence import RedisPresence, Scope, scope_of
from threadchat.broker.redis.publish_pipeline import PublishPipeline
from threadchat.broker.redis.room_channel import RedisChannel
from threadchat.broker.redis.room_index import RoomIndex
from threadchat.broker.redis.sanctions import RedisSanctions
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import Whispers
from threadchat.broker.redis.worker_pool import WorkerPool
from threadchat.chat.broker_interface import Node, OpenInbox, RoomInfo, Whispered
from threadchat.chat.delivery.stream import SEND_TIMEOUT
from threadchat.chat.log.events import UserId, is_inbox
from threadchat.chat.log.sequencer import Channel
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE
from threadchat.chat.presence import Presence
from threadchat.errors import CommandError

log = logging.getLogger(__name__)

PRESENCE_TTL: Final = 15.0
"""Seconds within which the people of a node that died leave."""
ROOM_TTL: Final = 300.0


class RedisBroker(People):
    """A Broker that is a Cluster too: every method may be called from any thread.

    Its threads start with its first use: a process that forks before that may use it in each child.
    While Redis is away, what needs it raises CommandError 100, temporary; what is open stays open and catches
    up later. `_lock` guards `_channels`, `_forgotten`, `highest_user`, `_started` and `_closed`. Of other
    locks, only the connection's and a starting thread's are acquired while it is held.
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
        prefix: str = PREFIX,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`url` is redis://, rediss:// (TLS) or unix://, with user, password and redis-py's options.

        Durations are in seconds; a `history_age` of 0 keeps events of any age, and a `room_ttl` below
        `SHORTEST_LIFE` counts as that. There are `max_rooms` rooms on all nodes, 0 for any number; rooms that
        nobody uses go first. Raises ConfigError.
        """
        self.names = KeyNames(prefix)
        self.retention = Retention(history_size, history_bytes, history_age, max(room_ttl, SHORTEST_LIFE))
        self._inbox_retention = inbox_retention(inbox_size, history_bytes, inbox_age)
        self.send_timeout = send_timeout
        self._url = url
        self._presence_ttl = presence_ttl
        self._max_rooms = max_rooms
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
        self.sanctions = RedisSanctions(self)
        self._build()

    def _build(self) -> None:
        """Makes the parts, which one process has for itself."""
        self._pid = os.getpid()
        self.node = secrets.token_hex(8)  # its channel's name; in lists of the living it may change its name
        self.highest_user = 0
        self.resume_secret = secrets.token_bytes(32)  # the cluster's, once it is ready
        self.connection = RedisConnection(self._url)
        self.batch = PublishPipeline(self.connection, self.retention)
        self.room_index = RoomIndex(self.names, self.connection, self.log_of, self._max_rooms)
        self.workers = WorkerPool()
        self.heartbeat = Heartbeat(self, self._presence_ttl, clock=self._clock)
        self.listener = Subscriber(self.connection, self.heartbeat.deaf, self.heartbeat.connected)
        self.messenger = NodeMessenger(self.node, self.names, self.connection, self.listener, self.workers)
        self.messenger.here, self.messenger.open_inbox = self._here, self._open_inbox
        self.whispers = Whispers(self.node, self.names, self.connection, self._whispered)
        self.connection.on_trouble = self.heartbeat.trouble
        self.listener.subscribe(self.names.node(self.node), self._hear)
        self.listener.subscribe(self.names.sanctions, self.sanctions.hear)

    # Broker

    @property
    def resume_key(self) -> bytes:
        """Signs resume tokens on all nodes. Raises CommandError 100."""
        self.await_ready()
        return self.resume_secret

    def open(self, room: str) -> RedisChannel:
        """See Broker. The channel connects with `attach`."""
        self.start()
        return RedisChannel(self, room)

    def new_user(self) -> int:
        """The next user id of the cluster. Raises CommandError 100."""
        self.await_ready()
        keys = self.names.users, self.names.users_run
        user: int = self.connection.ask(CLUSTER(keys, "user", self.highest_user))[0]
        self.note_user(user)
        return user

    @property
    def ready(self) -> bool:
        """Whether Redis is there and this node hears what is published."""
        self.start()
        return self.connection.ready

    def wait_ready(self, timeout: float) -> bool:
        """Waits for that, at most `timeout` seconds."""
        self.start()
        return self.connection.wait_ready(timeout)

    def counters(self) -> dict[str, int]:
        """What happened so far: publications, round_trips, reconnects, filled (events read to close holes),
        restarts (logs that began anew), canaries_lost, revivals, reaped (sessions of dead nodes)."""
        return dict(self.connection.counters)

    def leave_behind(self) -> None:
        """Begins anew, as another node. Runs on: the only thread of a forked process, first."""
        self._lock = threading.Lock()
        self._channels, self._forgotten = {}, set()
        self._started = False  # the parts are made with the next use
        self.sanctions.leave_behind()

    def close(self) -> None:
        """Leaves the cluster and ends all threads; a second time nothing happens."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            started = self._started
        self.heartbeat.stop()  # it may run where nothing else could start
        if started and self.connection.ready:
            with contextlib.suppress(CommandError):  # others find this node dead, then
                self.heartbeat.retire()
        self.workers.stop()
        self.listener.stop()
        self.connection.close()

    @property
    def closed(self) -> bool:
        """Whether this node has left the cluster."""
        return self._closed

    # Cluster

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        """See Cluster."""
        self.messenger.here = self._here = node
        self.messenger.open_inbox = self._open_inbox = open_inbox
        self.whispers.pass_on = self._whispered = whispered

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

    def exists(self, room: str) -> bool:
        """See Cluster."""
        self.await_ready()
        return self.room_index.exists(room)

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        """See Cluster."""
        self.await_ready()
        return self.room_index.rooms()

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        """See Cluster."""
        self.whispers.send(room, frame, but)

    # For the parts of this broker

    def note_user(self, user: int) -> None:
        """That id was given, here or elsewhere, and must not be given again."""
        with self._lock:
            self.highest_user = max(self.highest_user, user)

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept, or of an inbox."""
        return self._inbox_retention if is_inbox(room) else self.retention

    def start(self) -> None:
        """Starts the threads, if they do not run yet."""
        with self._lock:
            if self._started or self._closed:
                return
            if self._pid != os.getpid():
                self._build()
            self.connection.expect()
            # Where one of them cannot start, nothing counts as started: the next use tries again.
            self.listener.thread.start()
            self.heartbeat.thread.start()
            self._started = True

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster, after a moment's patience."""
        self.start()
        self.connection.check_ready()

    def note_room(self, channel: RedisChannel) -> None:
        """A room is being opened here. Raises CommandError 100, and 106 where Redis has too many."""
        with self._lock:
            self._channels[channel.room] = channel
        self.room_index.admit(self.heartbeat.node, channel.room)

    def forget_room(self, channel: RedisChannel) -> None:
        """A room is not open here any more."""
        with self._lock:
            if self._channels.get(channel.room) is channel:
                del self._channels[channel.room]
                self._forgotten.add(channel.room)

    def take_forgotten(self, but: set[str]) -> set[str]:
        """Rooms that were forgotten since the last time, but some that stay forgotten for the next."""
        with self._lock:
            forgotten, self._forgotten = self._forgotten - but, self._forgotten & but
            return forgotten

    def open_rooms(self) -> list[RedisChannel]:
        """The channels of the rooms that are open here."""
        with self._lock:
            return list(self._channels.values())

    def presence_of(self, room: str) -> RedisPresence | None:
        """Who is in a room that is open here."""
        channel = self._channels.get(room)
        return channel.presence if channel is not None else None

    def log_of(self, room: str) -> RoomLog:
        """A room's log, whether it is open here or not."""
        if (channel := self._channels.get(room)) is not None:
            return channel.log
        return RoomLog(room, self.names.room(room), self.connection, self.retention_of(room))

    def on_unsettled(self, log: RoomLog) -> None:
        """Redis does not know whom this node has in that log's room."""
        self.heartbeat.unsettle(log)

    def scope(self, room: str) -> Scope:
        """How a dead node's people are announced: as this node announces its own."""
        return scope_of(room, self._announce_limit)

    # Helpers

    def _hear(self, payloads: list[bytes]) -> None:
        """What is for this node alone. Runs on: the listener's thread."""
        for payload in payloads:
            if payload.startswith(CANARY):
                self.heartbeat.heard(payload)
            else:
                self.messenger.answered(payload)
