"""Publications of a node that meet travel together: one pipeline at a time, one script call a room."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from threadchat.broker.redis.connection import ROOM, Command, RedisConnection
from threadchat.broker.redis.encoding import body_of
from threadchat.broker.redis.keys import RoomNames
from threadchat.chat.log.events import Draft, Position
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.errors import CommandError, ErrorCode, RoomClosed, ThreadchatError

log = logging.getLogger(__name__)

MAX_BATCH: Final = 256
"""Publications in one pipeline."""
MAX_BATCH_BYTES: Final = 1 << 20
"""Bytes of them: more would keep Redis, and all who wait for it, busy for too long."""


class Retention(NamedTuple):
    """What is kept: events, bytes of them, their age in seconds (0: any); and for how long an unused room."""

    events: int
    size: int
    age: float
    room_ttl: float


def inbox_retention(events: int, size: int, age: float) -> Retention:
    """What is kept of an inbox: it lasts as long as its events do."""
    return Retention(events, size, age, age)


def room_command(names: RoomNames, retention: Retention, command: str, *arguments: Any) -> Command:
    """A command of room.lua."""
    return ROOM(names.keys, *_common(names, retention, command), *arguments)


def _common(names: RoomNames, retention: Retention, command: str) -> tuple[Any, ...]:
    return (
        command,
        secrets.token_hex(8),
        names.channel,
        retention.events,
        retention.size,
        int(retention.age * 1000),
        int(retention.room_ttl * 1000),
    )


class Publication:
    """Drafts of one publisher for one room, and in the end their places or a failure."""

    __slots__ = (
        "blanks",
        "bodies",
        "done",
        "failure",
        "keys",
        "known",
        "names",
        "positions",
        "retention",
        "room",
        "size",
        "turn",
    )

    def __init__(
        self,
        names: RoomNames,
        room: str,
        drafts: Sequence[Draft],
        known: Position,
        blanks: Sequence[tuple[int, bytes]] = (),
        *,
        retention: Retention | None = None,
    ) -> None:
        """`blanks` take the places of the bodies of older events, which are given by their offsets.

        `retention` is the room's own; None: the batch's.
        """
        self.retention = retention
        self.blanks = blanks
        self.names = names
        self.room = room
        self.known = known  # the last event that the node has had
        self.bodies = [body_of(draft, room) for draft in drafts]
        self.keys = [draft.key and names.message_key(draft.user, draft.key) for draft in drafts]
        self.size = sum(map(len, self.bodies))
        self.positions: list[Position] = []
        self.failure: ThreadchatError | None = None
        self.done = False
        self.turn = threading.Semaphore(0)  # released when it is done, or is to lead


class PublishPipeline:
    """Whoever finds no pipeline in flight sends all that has gathered; the others wait for theirs.

    `_lock` guards `_waiting` and `_flying`; a leaf. Each publisher has one publication here, so that
    threads bound the queue.
    """

    def __init__(self, connection: RedisConnection, retention: Retention) -> None:
        self._connection = connection
        self._retention = retention
        self._lock = threading.Lock()
        self._waiting: deque[Publication] = deque()
        self._flying = False

    def publish(self, publication: Publication) -> list[Position]:
        """Returns the places once Redis has given them. Raises CommandError 100. Runs on: any thread."""
        with self._lock:
            self._waiting.append(publication)
            leads = not self._flying
            self._flying = True
        if not leads:
            publication.turn.acquire()
        if not publication.done:
            self._lead()
        if publication.failure is not None:
            raise publication.failure
        return publication.positions

    def _lead(self) -> None:
        """Sends what waits, the caller's own first, and hands the lead on."""
        with self._lock:
            batch = self._take_locked()
        try:
            self._send(batch)
        except Exception as error:
            if not isinstance(error, CommandError):
                log.exception("publishing failed")
            for publication in batch:  # each its own: raised on several threads, one would be shared
                publication.failure = CommandError(ErrorCode.INTERNAL, str(error))
        finally:
            with self._lock:
                successor = self._waiting[0] if self._waiting else None
                self._flying = successor is not None
            if successor is not None:
                successor.turn.release()
            for publication in batch:
                publication.done = True
                publication.turn.release()

    def _take_locked(self) -> list[Publication]:
        batch: list[Publication] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH:
            size += self._waiting[0].size
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _send(self, batch: list[Publication]) -> None:
        rooms: dict[str, list[Publication]] = {}
        for publication in batch:
            rooms.setdefault(publication.names.base, []).append(publication)
        answers = self._connection.ask(*[self._command(together) for together in rooms.values()])
        self._connection.count("publications", sum(len(publication.bodies) for publication in batch))
        for together, (epoch, offsets) in zip(rooms.values(), answers, strict=True):
            places = iter(offsets or ())
            for publication in together:
                if offsets is None:
                    publication.failure = RoomClosed(f"room {publication.room} is closed")
                    continue
                count = len(publication.bodies)
                publication.positions = [Position(next(places), epoch.decode()) for _ in range(count)]

    def _command(self, together: list[Publication]) -> Command:
        names = together[0].names
        known = max((publication.known for publication in together), key=lambda position: position.offset)
        keys = [key for publication in together for key in publication.keys if key]
        drafts: list[Any] = []
        for publication in together:
            for offset, blank in publication.blanks:
                drafts += (blank, -offset)
            for body, key in zip(publication.bodies, publication.keys, strict=True):
                drafts += (body, 1 if key else 0)
        return ROOM(
            (*names.keys, *keys),
            *_common(names, together[0].retention or self._retention, "publish"),
            known.epoch,
            known.offset,
            int(KEY_TTL * 1000),
            *drafts,
        )
