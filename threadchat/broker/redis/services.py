"""What the parts of a Redis broker use of each other, so that none of them has to know the broker."""

from __future__ import annotations

from typing import Protocol

from threadchat.broker.redis.commands import Retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.publish_pipeline import PublishPipeline
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.broker.redis.whispers import Whispers
from threadchat.broker.redis.worker_pool import WorkerPool


class Services(Protocol):
    """One node's parts. To be looked up for each use: after a fork they are others."""

    names: KeyNames
    send_timeout: float
    connection: RedisConnection
    batch: PublishPipeline
    workers: WorkerPool
    listener: Subscriber
    whispers: Whispers

    @property
    def closed(self) -> bool:
        """Whether this node has left the cluster."""

    def retention_of(self, room: str) -> Retention:
        """How much of a room is kept, or of an inbox."""

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster, after a moment's patience."""
