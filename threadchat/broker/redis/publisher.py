"""Publishes in a cluster without being one of its nodes: no thread, no subscription, nobody online."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from time import time

import msgspec

from threadchat.broker.redis.broker import ROOM_TTL
from threadchat.broker.redis.commands import NOTHING, Retention, inbox_retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.keys import PREFIX, KeyNames
from threadchat.broker.redis.node_messages import anonymous_direct, anonymous_event
from threadchat.broker.redis.publish_pipeline import Publication, PublishPipeline
from threadchat.broker.redis.whispers import WHISPER
from threadchat.chat.access.blocks import blocked
from threadchat.chat.inboxes import passing_frame
from threadchat.chat.log.events import Direct, Draft, Position, Record, UserId, is_inbox
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE
from threadchat.errors import CommandError
from threadchat.wire.threads.forking import begin_anew_after_fork


class RedisPublisher:
    """Every method may be called from any thread. All raise CommandError 100, temporary, if Redis is away."""

    def __init__(
        self,
        url: str,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        *,
        room_ttl: float = ROOM_TTL,
        inbox_size: int = INBOX_SIZE,
        inbox_age: float = INBOX_AGE,
        prefix: str = PREFIX,
    ) -> None:
        """The arguments are as for RedisBroker. Raises ConfigError."""
        self._names = KeyNames(prefix)
        self._url = url
        self._retention = Retention(history_size, history_bytes, 0.0, room_ttl)
        self._inboxes = inbox_retention(inbox_size, history_bytes, inbox_age)
        self.leave_behind()
        begin_anew_after_fork(self)

    def leave_behind(self) -> None:
        """Starts with new connections. Runs on: the only thread of a forked process, before anything else."""
        self._connection = RedisConnection(self._url)
        self._pipeline = PublishPipeline(self._connection, self._retention)

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in a room, which is created if needed."""
        names = self._names.room(room)
        self._connection.set_ready(True)  # it has no subscription that could be lost
        inbox = is_inbox(room)
        retention = self._inboxes if inbox else None
        positions = self._pipeline.publish(Publication(names, room, drafts, NOTHING, retention=retention))
        if any(position.offset == 1 for position in positions):
            index = self._names.inboxes if inbox else self._names.rooms
            # The event is published even if the room cannot be listed. A node that opens the room lists it.
            with contextlib.suppress(CommandError):
                self._connection.execute(("ZADD", index, "NX", int(time() * 1000), room))
        return positions

    def tell(self, room: str, told: Record) -> None:
        """Sends an event that is in no log to a room's subscribers on all nodes."""
        self._connection.set_ready(True)
        heading = b"%b %b\n" % (WHISPER, msgspec.json.encode(told.event.skip))
        self._connection.publish(self._names.room(room).channel, heading + passing_frame(told))

    def notify(self, user: UserId, told: Record, *, kept: bool) -> bool:
        """Sends an event to the nodes that have a person online. Returns whether there is one."""
        self._connection.set_ready(True)
        node_message = anonymous_event(user, told.json, kept=kept)
        return self._connection.publish(self._names.person(user), node_message) > 0

    def direct(self, direct: Direct) -> bool:
        """Sends a direct message to the nodes that have the person online. Returns whether there is one.

        Raises CommandError 103 if the person blocks the sender.
        """
        self._connection.set_ready(True)
        if direct.sender is not None:
            member = msgspec.json.encode(direct.sender)
            if self._connection.execute(("SISMEMBER", self._names.blocks(direct.to), member))[0]:
                raise blocked(direct.to)
        return self._connection.publish(self._names.person(direct.to), anonymous_direct(direct)) > 0

    def close(self) -> None:
        """Closes the connections. Later commands open new ones."""
        self._connection.close()
