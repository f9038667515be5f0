"""What the parts of a Redis broker use of each other, so that they need not know the broker."""

from __future__ import annotations

from typing import Protocol

from threadchat.broker.redis.commands import Retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.publish_pipeline import PublishPipeline
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import Whispers
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
