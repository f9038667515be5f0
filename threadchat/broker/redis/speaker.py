"""Speaks in a cluster without being one of its nodes: no thread, no subscription, nobody online."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from threadchat.broker.redis.batch import Batch, Publication, Retention
from threadchat.broker.redis.broker import ROOM_TTL
from threadchat.broker.redis.link import Link
from threadchat.broker.redis.names import PREFIX, Names
from threadchat.broker.redis.post import letter_from_nobody
from threadchat.chat.events import Direct, Draft, Position
from threadchat.chat.log import HISTORY_BYTES, HISTORY_SIZE


class Speaker:
    """To be used on any thread. All methods raise CommandError 100, temporary, where Redis is away."""

    def __init__(
        self,
        url: str,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        *,
        room_ttl: float = ROOM_TTL,
        prefix: str = PREFIX,
    ) -> None:
        """As for RedisBroker. Raises ConfigError."""
        self._names = Names(prefix)
        self._link = Link(url)
        self._batch = Batch(self._link, Retention(history_size, history_bytes, 0.0, room_ttl))

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in a room, which begins with it where there is none."""
        names = self._names.room(room)
        self._link.set_ready(True)  # there is nothing that it could be deaf to
        positions = self._batch.publish(Publication(names, room, drafts, Position(0, "")))
        if any(position.offset == 1 for position in positions):
            self._link.execute(("ZADD", self._names.rooms, "NX", int(time() * 1000), room))
        return positions

    def direct(self, direct: Direct) -> bool:
        """Sends to the nodes that have that person online; whether there is one."""
        self._link.set_ready(True)
        return self._link.publish(self._names.person(direct.to), letter_from_nobody(direct)) > 0

    def close(self) -> None:
        """Closes the connections; later commands open new ones."""
        self._link.close()
