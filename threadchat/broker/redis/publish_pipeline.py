"""Combines publications that meet: a node has one pipeline in flight, with one script call for each room."""

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
from threadchat.broker.redis.log import Change
from threadchat.broker.redis.storage import RedisStorage
from threadchat.chat.log.events import DELETE, Draft, Position
from threadchat.chat.log.sequencer import KEY_TTL
from threadchat.errors import CommandError, ErrorCode, RoomClosed, ThreadchatError

log = logging.getLogger(__name__)

MAX_BATCH: Final = 256
"""The maximum number of publications in one pipeline."""
MAX_BATCH_BYTES: Final = 1 << 20
"""The maximum bytes in one pipeline. More would keep Redis, and all who wait for it, busy for too long."""
INTERRUPTED: Final = "the sender was interrupted; the message may have been published"


class OutdatedChange(ThreadchatError):
    """Somebody else was faster: a message to change is no longer what it was when it was read."""


class Publication:
    """Drafts of one publisher for one room, and later their positions or a failure."""

    __slots__ = (
        "count",
        "deletes",
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
        changes: Sequence[Sequence[Change]] = (),
        *,
        retention: Retention | None = None,
    ) -> None:
        """`known` is the newest event that the node has received.

        `changes` has, for each draft that refers to another event, what it changes in the log of `known`.
        `retention` is the room's own, or None for that of the pipeline.
        """
        self.retention = retention
        self.names = names
        self.room = room
        self.known = known
        self.count = len(drafts)
        self.deletes = any(draft.type == DELETE for draft in drafts)
        self.keys: list[str] = []
        self.drafts: list[bytes | int] = []  # as `publish` of room.lua takes them
        self.size = 0
        changed = iter(changes)
        for draft in drafts:
            if (draft.target or draft.details) and draft.refers:
                for change in next(changed):
                    self.drafts += (change.argument, -change.offset)
                    self.size += len(change.body)
            if draft.key:
                self.keys.append(names.message_key(draft.user, draft.key))
            body = body_of(draft, room)
            self.drafts += (body, 1 if draft.key else 0)
            self.size += len(body)
        self.positions: list[Position] | None = None
        self.failure: ThreadchatError | None = None
        self.turn = threading.Lock()  # released once there is an outcome, or the publisher leads
        self.turn.acquire()

    @property
    def done(self) -> bool:
        """Whether it has an outcome."""
        return self.positions is not None or self.failure is not None


class PublishPipeline:
    """A publisher that finds no pipeline in flight leads: it sends all waiting publications. The others wait.

    `_lock` guards `_waiting`, `_leader` and `_flight` and is a leaf. Each publisher has one publication here,
    so the number of threads bounds the queue. A signal handler may raise an exception anywhere in a publisher
    on the main thread. Therefore every publisher ends with `_leave`, which completes any unfinished step and
    can be repeated.
    """

    def __init__(
        self, connection: RedisConnection, retention: Retention, storage: RedisStorage | None = None
    ) -> None:
        """`retention` is that of rooms. `storage`, if there is one, admits what is published."""
        self._storage = storage
        self._connection = connection
        self._retention = retention
        self._lock = threading.Lock()
        self._waiting: deque[Publication] = deque()
        self._leader: Publication | None = None  # its publisher sends, or is about to
        self._flight: list[Publication] = []  # what the leader sends

    def publish(self, publication: Publication) -> list[Position]:
        """Returns the positions once Redis has assigned them. Runs on: any thread.

        Raises CommandError 100 if that failed, 106 if the storage is full, 112 if a draft refers to an event
        of another epoch, OutdatedChange, and RoomClosed.
        """
        if self._storage is not None and not publication.deletes:  # a deletion always finds room
            self._storage.admit(publication.room, publication.size, publication.count)
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
        """Whether the wait is over: there is an outcome, or this publication leads."""
        with self._lock:
            return publication.done or self._leader is publication

    def _lead(self) -> None:
        """Sends the waiting publications, the caller's own first."""
        self._take()
        try:
            self._send(self._flight)
        except Exception as error:
            if not isinstance(error, CommandError):
                log.exception("publishing failed")
            _fail(self._flight, str(error))

    def _leave(self, publication: Publication) -> None:
        """Passes on the lead and wakes the publishers of this pipeline.

        Withdraws a publication that was not sent.
        """
        with self._lock:
            leads = self._leader is publication
            if leads:
                _fail(self._flight, INTERRUPTED)  # only those without an outcome
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
        """Moves waiting publications to `_flight`, up to the limits."""
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
        for publication in batch:  # grouped by epoch, because offsets of two epochs cannot be compared
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
    """Fails publications without an outcome.

    Each gets its own exception, because several threads raise them.
    """
    for publication in publications:
        if not publication.done:
            publication.failure = CommandError(ErrorCode.INTERNAL, reason)


def _wake(publication: Publication) -> None:
    """Called with the pipeline's lock held, so that no other thread releases the turn at the same time."""
    if publication.turn.locked():
        publication.turn.release()


def _note_outcomes(together: list[Publication], epoch: str, offsets: Sequence[int | None] | None) -> None:
    """Gives publications the answer of room.lua. `offsets` is None if the room is closed.

    A single offset is None if the draft was not published, because it refers to an event of another epoch,
    and 0 because what it changes is no longer what it was.
    """
    places = iter(offsets or ())
    for publication in together:
        if offsets is None:
            publication.failure = RoomClosed(f"room {publication.room} is closed")
            continue
        given = [next(places) for _ in range(publication.count)]
        positions = [Position(offset, epoch) for offset in given if offset is not None]
        if len(positions) < len(given):
            publication.failure = CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        elif 0 in given:
            publication.failure = OutdatedChange()
        publication.positions = positions
