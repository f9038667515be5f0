"""Publications of a node that meet travel together: one pipeline at a time, one script call a room."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from threadchat.broker.redis.commands import Known, Retention, room_command
from threadchat.broker.redis.connection import Command, RedisConnection
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
INTERRUPTED: Final = "the sender was interrupted; the message may have been published"


class Publication:
    """Drafts of one publisher for one room, and in the end their places or a failure."""

    __slots__ = (
        "count",
        "drafts",
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
        known: Known,
        blanks: Sequence[tuple[int, bytes]] = (),
        *,
        retention: Retention | None = None,
    ) -> None:
        """`known` is the newest event that the node has had. `blanks` has the offset of each message that the
        drafts delete, in the log that `known` is of, and what takes the place of its body. `retention` is the
        room's own; None: the pipeline's."""
        self.retention = retention
        self.names = names
        self.room = room
        self.known = known
        self.count = len(drafts)
        self.keys: list[str] = []
        self.drafts: list[bytes | int] = []  # as `publish` of room.lua takes them
        self.size = 0
        deleted = iter(blanks)
        for draft in drafts:
            if draft.target:
                offset, blank = next(deleted)
                self.drafts += (blank, -offset)
            if draft.key:
                self.keys.append(names.message_key(draft.user, draft.key))
            body = body_of(draft, room)
            self.drafts += (body, 1 if draft.key else 0)
            self.size += len(body)
        self.positions: list[Position] | None = None
        self.failure: ThreadchatError | None = None
        self.turn = threading.Lock()  # let go of when there is an outcome, or the publisher is to lead
        self.turn.acquire()

    @property
    def done(self) -> bool:
        """Whether it has an outcome."""
        return self.positions is not None or self.failure is not None


class PublishPipeline:
    """Whoever finds no pipeline in flight leads: sends all that has gathered. The others wait for their turn.

    `_lock` guards `_waiting`, `_leader` and `_flight`; a leaf. Each publisher has one publication here, so
    that threads bound the queue. A signal handler may raise an exception anywhere in a publisher on the main
    thread. So every publisher ends with `_leave`, which finishes what it finds unfinished and may be
    begun again.
    """

    def __init__(self, connection: RedisConnection, retention: Retention) -> None:
        self._connection = connection
        self._retention = retention
        self._lock = threading.Lock()
        self._waiting: deque[Publication] = deque()
        self._leader: Publication | None = None  # whose publisher sends, or is about to
        self._flight: list[Publication] = []  # what the leader sends

    def publish(self, publication: Publication) -> list[Position]:
        """Returns the places once Redis has given them. Runs on: any thread.

        Raises CommandError 100 where that failed, 112 where a message to delete is of another epoch, and
        RoomClosed.
        """
        try:
            with self._lock:
                self._waiting.append(publication)
                if self._leader is None:
                    self._leader = publication
            while not self._is_over(publication):
                publication.turn.acquire()
            if not publication.done:
                self._lead()
        finally:
            try:
                self._leave(publication)
            except BaseException:  # raised by a signal handler, in the middle
                self._leave(publication)
                raise
        if publication.failure is not None:
            raise publication.failure
        assert publication.positions is not None, "it has an outcome"
        return publication.positions

    def _is_over(self, publication: Publication) -> bool:
        """Whether the wait is: there is an outcome, or this one leads."""
        with self._lock:
            return publication.done or self._leader is publication

    def _lead(self) -> None:
        """Sends what waits, the caller's own first."""
        self._take()
        try:
            self._send(self._flight)
        except Exception as error:
            if not isinstance(error, CommandError):
                log.exception("publishing failed")
            _fail(self._flight, str(error))

    def _leave(self, publication: Publication) -> None:
        """Hands the lead on and wakes whoever travelled along; withdraws a publication that was not sent."""
        with self._lock:
            leads = self._leader is publication
            if leads:
                _fail(self._flight, INTERRUPTED)  # those without an outcome
                if self._flight and self._waiting and self._waiting[0] is self._flight[-1]:
                    self._waiting.popleft()  # `_take` was interrupted between its two steps
            if not publication.done and publication in self._waiting:
                self._waiting.remove(publication)
            if leads:
                if self._waiting:
                    _wake(self._waiting[0])  # first: the next pipeline starts while the others wake up
                for each in self._flight:
                    _wake(each)
                self._flight = []
                self._leader = self._waiting[0] if self._waiting else None

    def _take(self) -> None:
        """Moves what waits to `_flight`, up to its bounds."""
        size = 0
        with self._lock:
            while self._waiting and len(self._flight) < MAX_BATCH:
                size += self._waiting[0].size
                if self._flight and size > MAX_BATCH_BYTES:
                    break
                self._flight.append(self._waiting[0])
                self._waiting.popleft()

    def _send(self, batch: list[Publication]) -> None:
        rooms: dict[tuple[str, str], list[Publication]] = {}
        for publication in batch:  # those of one epoch together: offsets of two cannot be compared
            rooms.setdefault((publication.names.base, publication.known.epoch), []).append(publication)
        answers = self._connection.ask(*[self._command(together) for together in rooms.values()])
        self._connection.count("publications", sum(publication.count for publication in batch))
        for together, (epoch, offsets) in zip(rooms.values(), answers, strict=True):
            _note_outcomes(together, epoch.decode(), offsets)

    def _command(self, together: list[Publication]) -> Command:
        first = together[0]
        known = max((publication.known for publication in together), key=lambda known: known.offset)
        drafts: list[Any] = [int(KEY_TTL * 1000)]
        for publication in together:
            drafts += publication.drafts
        keys = [key for publication in together for key in publication.keys]
        retention = first.retention or self._retention
        return room_command(first.names, retention, known, "publish", *drafts, message_keys=keys)


def _fail(publications: Sequence[Publication], reason: str) -> None:
    """Gives those that have no outcome a failure; each its own, for they are raised on several threads."""
    for publication in publications:
        if not publication.done:
            publication.failure = CommandError(ErrorCode.INTERNAL, reason)


def _wake(publication: Publication) -> None:
    """Its batch's lock is held, so that nobody else lets go of the turn meanwhile."""
    if publication.turn.locked():
        publication.turn.release()


def _note_outcomes(together: list[Publication], epoch: str, offsets: Sequence[int | None] | None) -> None:
    """Gives publications what room.lua answered: no offsets where the room is closed, and none for a draft
    that was not published because what it deletes is of another epoch."""
    places = iter(offsets or ())
    for publication in together:
        if offsets is None:
            publication.failure = RoomClosed(f"room {publication.room} is closed")
            continue
        given = [next(places) for _ in range(publication.count)]
        positions = [Position(offset, epoch) for offset in given if offset is not None]
        if len(positions) < len(given):
            publication.failure = CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        publication.positions = positions
