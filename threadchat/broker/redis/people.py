"""What the parts of a broker use of each other, and requests to other nodes about people and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from threadchat.broker.redis.commands import NOTHING, Retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.publish_pipeline import Publication, PublishPipeline
from threadchat.broker.redis.room_index import RoomIndex
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import Whispers
from threadchat.chat.broker_interface import Reach, RoomInfo
from threadchat.chat.log.events import Direct, Draft, Position, UserId
from threadchat.wire.threads.worker_pool import WorkerPool


class Services(Protocol):
    """One node's parts. Look them up on each use, because they are replaced after a fork."""

    names: KeyNames
    send_timeout: float
    connection: RedisConnection
    pipeline: PublishPipeline
    worker_pool: WorkerPool
    subscriber: Subscriber
    whispers: Whispers

    @property
    def closed(self) -> bool:
        """Whether this node has left the cluster."""

    def retention_of(self, room: str) -> Retention:
        """How much of a room or an inbox is kept."""

    def await_ready(self) -> None:
        """Waits a moment. Raises CommandError 100 if this node is not part of the cluster after that."""


class People:
    """The part of a broker that passes these requests on; see Cluster. Runs on: any thread."""

    names: KeyNames
    pipeline: PublishPipeline
    messenger: NodeMessenger
    room_index: RoomIndex
    whispers: Whispers

    def start(self) -> None:
        """Starts the broker's threads if they do not run yet."""
        raise NotImplementedError("RedisBroker implements this")

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster."""
        raise NotImplementedError("RedisBroker implements this")

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept."""
        raise NotImplementedError("RedisBroker implements this")

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

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position]:
        """See Cluster. The log is in Redis, so no node needs to have the room open."""
        self.await_ready()
        retention = self.retention_of(room)
        publication = Publication(self.names.room(room), room, drafts, NOTHING, retention=retention)
        return self.pipeline.publish(publication)

    def arrive(self, user: UserId) -> None:
        """See Cluster."""
        self.start()
        self.messenger.arrive(user)

    def depart(self, user: UserId) -> None:
        """See Cluster."""
        self.messenger.depart(user)

    def direct(self, direct: Direct, here: Reach) -> Reach:
        """See Cluster."""
        return self.messenger.direct(direct, here)

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        """See Cluster."""
        return self.messenger.disconnect(user, code, reason)

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """See Cluster."""
        return self.messenger.kick(user, room, reason)

    def addresses(self, user: UserId) -> set[str]:
        """See Cluster."""
        return self.messenger.addresses(user)

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """See Cluster."""
        return self.messenger.notify(user, json, kept=kept)

    def sessions(self, user: UserId) -> list[str]:
        """See Cluster."""
        self.await_ready()
        return self.messenger.sessions(user)

    def is_connected(self, user: UserId) -> bool:
        """See Cluster."""
        self.await_ready()
        return self.messenger.is_connected(user)

    def move(self, user: UserId, action: str, room: str) -> int:
        """See Cluster."""
        self.await_ready()
        return self.messenger.move(user, action, room)
