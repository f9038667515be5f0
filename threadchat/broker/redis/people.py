"""What the parts of a broker use of each other; and one person: requests, read positions, block lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from threadchat.broker.redis.commands import NOTHING, Retention
from threadchat.broker.redis.connection import CLUSTER, RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.broker.redis.publish_pipeline import Publication, PublishPipeline
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import RedisReports, Whispers
from threadchat.chat.access.blocks import check_space
from threadchat.chat.broker_interface import Node, OpenInbox, Reach, Whispered
from threadchat.chat.log.events import Direct, Draft, Position, UserId, inbox_of
from threadchat.chat.log.read_positions import MAX_READ_ROOMS
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
    reports: RedisReports

    @property
    def closed(self) -> bool:
        """Whether this node has left the cluster."""

    def retention_of(self, room: str) -> Retention:
        """How much of a room or an inbox is kept."""

    def await_ready(self) -> None:
        """Waits a moment. Raises CommandError 100 if this node is not part of the cluster after that."""


class RedisReads:
    """See ReadPositions. Raises CommandError 100 if Redis is away."""

    def __init__(self, broker: People) -> None:
        self._broker = broker

    def of(self, user: UserId) -> dict[str, Position]:
        """See ReadPositions."""
        self._broker.await_ready()
        [stored] = self._broker.connection.ask(("HGETALL", self._broker.names.reads(user)))
        rows = [(room.decode(), *value.decode().split(" ")) for room, value in _pairs(stored)]
        rows.sort(key=lambda row: int(row[3]))
        return {room: Position(int(offset), epoch) for room, epoch, offset, _ in rows}

    def advance(self, user: UserId, room: str, position: Position) -> bool:
        """See ReadPositions."""
        self._broker.await_ready()
        life = int(self._broker.retention_of(inbox_of(user)).age * 1000)
        key, (offset, epoch) = self._broker.names.reads(user), position
        command = CLUSTER((key,), "read", room, epoch, offset, life, MAX_READ_ROOMS)
        return self._broker.connection.ask(command) == [1]


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


_encode = msgspec.json.encode
_read_user = msgspec.json.Decoder(UserId).decode


class People:
    """The part of a broker that passes these requests to its messenger; see Cluster. Runs on: any thread."""

    names: KeyNames
    pipeline: PublishPipeline
    messenger: NodeMessenger
    connection: RedisConnection
    whispers: Whispers
    _here: Node | None
    _whispered: Whispered | None
    _open_inbox: OpenInbox | None

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        """See Cluster."""
        self.messenger.here = self._here = node
        self.messenger.open_inbox = self._open_inbox = open_inbox
        self.whispers.pass_on = self._whispered = whispered

    def start(self) -> None:
        """Starts the broker's threads if they do not run yet."""
        raise NotImplementedError("RedisBroker implements this")

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster."""
        raise NotImplementedError("RedisBroker implements this")

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept."""
        raise NotImplementedError("RedisBroker implements this")

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

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        """See Cluster."""
        self.whispers.send(room, frame, but)

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


class RedisBlocks:
    """See Blocks. Every method may be called from any thread."""

    def __init__(self, broker: Services) -> None:
        self._broker = broker  # its parts are replaced after a fork

    def block(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        check_space(len(set(self.of(owner)) - {sender}))
        self._ask("SADD", owner, _encode(sender))

    def unblock(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        self._ask("SREM", owner, _encode(sender))

    def of(self, owner: UserId) -> list[UserId]:
        """See Blocks."""
        return [_read_user(member) for member in self._ask("SMEMBERS", owner)]

    def holds(self, owner: UserId, sender: UserId) -> bool:
        """See Blocks."""
        return bool(self._ask("SISMEMBER", owner, _encode(sender)))

    def _ask(self, command: str, owner: UserId, *values: bytes) -> Any:
        self._broker.await_ready()
        return self._broker.connection.ask((command, self._broker.names.blocks(owner), *values))[0]
