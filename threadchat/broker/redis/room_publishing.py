"""Publishes in one room, and waits until this node has delivered the events."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Final

from threadchat.broker.redis.connection import TIMEOUT
from threadchat.broker.redis.log import RoomLog, changes_of
from threadchat.broker.redis.people import Services
from threadchat.broker.redis.publish_pipeline import OutdatedChange, Publication
from threadchat.broker.redis.reorder_buffer import DeliveryWaiter, ReorderBuffer
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position
from threadchat.chat.log.sequencer import Outlet
from threadchat.errors import CommandError, ErrorCode, RoomClosed

PATIENCE: Final = 0.25
"""Seconds for which a publisher waits for its own node to deliver its event. So it finds the event wherever
it looks, and a node that falls behind is not outrun by its own publishers.
"""
ATTEMPTS: Final = 20
"""How often to try a change of a message that other nodes change at the same time."""


class RoomPublishing:
    """The part of a room's channel that publishes; `RedisChannel` says what `_lock` guards.

    `_changing` lets one thread of this node at a time change messages of the room, as each has to read the
    message first. It is held for two round trips or three, and no other lock is held meanwhile.
    """

    room: str
    log: RoomLog
    _broker: Services
    _buffer: ReorderBuffer
    _delivery_waiter: DeliveryWaiter
    _lock: threading.Lock
    _changing: threading.Lock
    _outlet: Outlet | None
    _closed: bool

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """See Channel. Waits up to `PATIENCE` for this node to deliver. Raises CommandError 100."""
        if not self._closed:
            self._broker.connection.check_ready()
        for draft in drafts:
            if (draft.target or draft.details) and draft.refers:
                with self._changing:
                    return self._publish_each(drafts)
        return self._publish(drafts)

    def _publish_each(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """Publishes drafts that refer to other events, one at a time: each may have to be tried again."""
        if len(drafts) > 1:
            for draft in drafts:  # first, so that nothing is published if one of them is refused
                changes_of(self.log, draft, self._buffer.epoch)
        positions: list[Position] = []
        for draft in drafts:
            answer = self._persist(draft)
            while isinstance(answer, Gate):
                if not positions:
                    return answer
                answer.wait(self._broker.send_timeout)
                answer = self._persist(draft)
            positions += answer
        return positions

    def _persist(self, draft: Draft) -> list[Position] | Gate:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(OutdatedChange):
                return self._publish([draft])
        raise CommandError(ErrorCode.TOO_MANY_REQUESTS, "many people change this message; try again")

    def _publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """Publishes drafts; one that refers to another event has to be the only one."""
        assert self._outlet is not None
        with self._lock:
            if self._closed:
                raise RoomClosed(f"room {self.room} is closed")
            if (gate := self._outlet.gate) is not None:
                return gate
            known = self._buffer.newest
            closing = Position(self._buffer.delivered + 1, known.epoch)
        try:
            changes = []
            for draft in drafts:
                if (draft.target or draft.details) and draft.refers:
                    if (found := changes_of(self.log, draft, known.epoch)) is None:
                        return [Position(0, known.epoch)]
                    changes.append(found)
            names, retention = self.log.names, self.log.retention
            publication = Publication(names, self.room, drafts, known, changes, retention=retention)
            positions = self._broker.pipeline.publish(publication)
        except RoomClosed:
            self._await(closing, TIMEOUT)  # closed on another node: wait for its last event
            raise
        if positions:
            self._await(max(positions), PATIENCE)  # all have the same epoch
        return positions

    def _await(self, position: Position, timeout: float) -> None:
        """Waits until this node has delivered that event, or never will."""
        with self._lock:
            buffer = self._buffer
            if self._closed or position.epoch != buffer.epoch or position.offset <= buffer.delivered:
                return
            arrival = self._delivery_waiter.expect(position.offset)
        arrival.acquire(timeout=timeout)
