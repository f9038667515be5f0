"""One room as this node has it: live by what it hears, catching up by what it reads in the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from threadchat.broker.redis import encoding
from threadchat.broker.redis.connection import TIMEOUT, Command
from threadchat.broker.redis.delivery_waiter import DeliveryWaiter
from threadchat.broker.redis.log import NEWEST, RoomLog
from threadchat.broker.redis.presence import RedisPresence
from threadchat.broker.redis.publish_pipeline import Publication
from threadchat.broker.redis.reorder_buffer import MAX_HELD, ReorderBuffer
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, Draft, Position, record
from threadchat.chat.log.sequencer import Outlet, Page
from threadchat.errors import CommandError, RoomClosed

if TYPE_CHECKING:
    from threadchat.broker.redis.broker import RedisBroker

log = logging.getLogger(__name__)

PATIENCE: Final = 0.25
"""Seconds for which a publisher waits until its own node has delivered what Redis has: so it finds what it
said wherever it looks, and a node that falls behind is not outrun by its own publishers."""
STEP: Final = 25
"""Events delivered at once while catching up: a quarter of an outbox, which has room for it."""
PAGE_BYTES: Final = 256 << 10
"""Bytes read from the log at a time while catching up."""
WHISPER: Final = b"~"
"""Begins a message of the room's channel that is in no log; an epoch never does."""


class RedisChannel:
    """See Channel. `_lock` guards everything but `_outlet`; an outlet's `deliver` runs under it.

    Level, the listener's thread delivers what it hears. A hole, another epoch or a shut gate makes it
    lag: then a worker reads the log, and what is heard meanwhile is held.
    """

    def __init__(self, broker: RedisBroker, room: str) -> None:
        self.room = room
        self.presence: RedisPresence | None = None
        self._broker = broker
        self.log = RoomLog(room, broker.names.room(room), broker.connection, broker.retention_of(room))
        self._outlet: Outlet | None = None
        self._lock = threading.Lock()
        self._held = ReorderBuffer()
        self._delivery_waiter = DeliveryWaiter()
        self._begun = False
        self._closed = False
        self._lagging = False  # a worker is on it
        self._was_idle = False

    # See Channel

    def attach(self, outlet: Outlet) -> None:
        """See Channel. Raises CommandError 100 where Redis is away."""
        self._outlet = outlet
        connection, listener = self._broker.connection, self._broker.listener
        connection.check_ready()
        confirmed = listener.subscribe(self.log.names.channel, self.hear)
        try:
            listener.await_confirmed(confirmed, TIMEOUT)
            self._begin()
        except BaseException:
            self._leave()
            raise
        self._broker.note_room(self)

    def publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """See Channel. Returns once this node has delivered it too, unless that takes `PATIENCE`.

        Raises CommandError 100, temporary, while Redis is away.
        """
        assert self._outlet is not None
        if not self._closed:
            self._broker.connection.check_ready()
        with self._lock:
            if self._closed:
                raise RoomClosed(f"room {self.room} is closed")
            if (gate := self._outlet.gate) is not None:
                return gate
            known = Position(self._held.delivered, self._held.epoch)
        try:
            blanks = [self.log.blank(known.epoch, draft.target) for draft in drafts if draft.target]
            publication = Publication(
                self.log.names, self.room, drafts, known, blanks, retention=self.log.retention
            )
            positions = self._broker.batch.publish(publication)
        except RoomClosed:
            self._await(known._replace(offset=known.offset + 1), TIMEOUT)  # closed elsewhere: hear of it
            raise
        self._await(max(positions, default=known), PATIENCE)
        return positions

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel. Raises CommandError 100 while Redis is away."""
        self._broker.connection.check_ready()
        return self.log.history(self._held.epoch, since, limit, reverse)

    def close(self) -> None:
        """See Channel. Where others cannot be told, or the broker is closed, the room ends here only."""
        with self._lock:
            if self._closed:
                return
        try:
            if not self._broker.closed:
                self._broker.connection.ask(
                    self.log.command("close", encoding.body_of(Draft(CLOSE), self.room))
                )
                return  # it ends when that is heard
        except CommandError as error:
            log.error("room %s is closed here, but others do not know: %s", self.room, error)
        with self._lock:
            head = Position(self._held.delivered, self._held.epoch)
            self._held.begin(head, [record(Draft(CLOSE), head.offset + 1, self.room, int(time()))])
            self._deliver_locked(1)
        self._after_delivery()

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """See Channel: this node forgets the room. Others may have it still; Redis forgets it by itself."""
        with self._lock:
            if self._closed or not may_go():
                return False
            self._closed = True
        self._leave()
        return True

    @property
    def weight(self) -> int:
        """See Channel: the log and its keys are in Redis."""
        return 0

    def forget(self, floor: int) -> None:
        """See Channel: Redis keeps them."""

    # What is heard

    def hear(self, payloads: list[bytes]) -> None:
        """Delivers what follows, or starts to catch up. Runs on: the listener's thread."""
        heard = []
        for payload in payloads:
            if payload.startswith(WHISPER):
                self._broker.hear_whisper(self.room, payload)
            else:
                heard.append(encoding.heard(payload))
        with self._lock:
            if not self._begun or self._closed:
                self._held.hole = True
                return
            for message in heard:
                self._held.hear(message)
            if not self._lagging:
                while self._held and self._may_deliver_locked():
                    self._deliver_locked(STEP)
                self._lag_if_behind_locked()
        self._after_delivery()

    def inspect(self, head: Position) -> None:
        """Told where the log stands: what was lost leaves no hole. Runs on: the heartbeat's thread."""
        with self._lock:
            level = head.epoch == self._held.epoch and head.offset <= self._held.newest
            if self._begun and not level and not self._lagging:
                self._held.hole = True
                self._lag_if_behind_locked()

    def catch_up(self) -> None:
        """One step of delivering what is held or in the log. Runs on: a worker."""
        self._wait_at_gate()
        with self._lock:
            if self._closed:
                return
            hole, self._held.hole = self._held.hole, False
        if hole:
            try:
                self._fill()
            except CommandError as error:  # the next inspection finds the hole again
                log.info("room %s cannot catch up: %s", self.room, error)
                with self._lock:
                    self._held.hole, self._lagging = True, False
                return
        with self._lock:
            if self._may_deliver_locked():
                self._deliver_locked(STEP)
            self._lagging = False
            self._lag_if_behind_locked()
        self._after_delivery()

    # For the heartbeat

    def inspection(self, life: float) -> Command:
        """Asks where the log stands and keeps the room, which may live for `life` seconds if it is in use."""
        assert self._outlet is not None
        idle = self._outlet.idle_for() > 0 and not self.presence
        shorten = idle and not self._was_idle
        self._was_idle = idle
        if idle:
            life = self.log.retention.room_ttl if shorten else 0
        with self._lock:
            known = self._held.epoch, self._held.delivered
        return self.log.command("inspect", *known, int(shorten), int(life * 1000))

    # Helpers

    def _await(self, position: Position, timeout: float) -> None:
        """Waits until this node has delivered that event, or will not."""
        with self._lock:
            if self._closed or position.epoch != self._held.epoch or position.offset <= self._held.delivered:
                return
            arrival = self._delivery_waiter.expect(position.offset)
        arrival.acquire(timeout=timeout)

    def _begin(self) -> None:
        """Gives the outlet all of the log that it may keep, and goes on from there."""
        assert self._outlet is not None
        kept = self.log.retention
        head, _, records = self.log.read(NEWEST, kept.events, kept.size, backwards=True)
        records.reverse()
        with self._lock:
            self._outlet.begin(self._held.begin(head, records))
            self._delivery_waiter.arrived()  # of another log, maybe; nobody waits for what cannot come
            self._deliver_locked(len(records))
            self._begun = True
            if not self._lagging:
                self._lag_if_behind_locked()  # something was said while this was read
        self._after_delivery()

    def _fill(self) -> None:
        """Reads the log from what is held, or begins anew where it is another or does not reach."""
        with self._lock:
            epoch, newest = self._held.epoch, self._held.newest
        head, floor, records = self.log.read(newest + 1, MAX_HELD, PAGE_BYTES, backwards=False, epoch=epoch)
        if head.epoch != epoch or floor > newest:
            log.warning("room %s: %s", self.room, _why_anew(head.epoch != epoch))
            self._broker.connection.count("restarts")
            self._begin()
            return
        self._broker.connection.count("filled", len(records))
        with self._lock:
            self._held.add(records)
            self._held.hole = self._held.hole or self._held.newest < head.offset

    def _may_deliver_locked(self) -> bool:
        assert self._outlet is not None
        gate = self._outlet.gate
        return gate is None or gate.passed

    def _deliver_locked(self, count: int) -> None:
        """Delivers some of what is held."""
        assert self._outlet is not None
        records = self._held.take(count)
        if not records:
            return
        if records[-1].event.type == CLOSE:
            self._outlet.close()  # first: nobody may begin to listen behind the last event
            self._closed = True
        self._outlet.deliver(records)
        self._delivery_waiter.arrived(inf if self._closed else records[-1].event.id)

    def _after_delivery(self) -> None:
        assert self._outlet is not None
        self._outlet.delivered()
        if self._closed:
            self._leave()

    def _lag_if_behind_locked(self) -> None:
        if (self._held or self._held.hole) and not self._closed:
            self._lagging = self._broker.workers.submit(self.catch_up)

    def _wait_at_gate(self) -> None:
        assert self._outlet is not None
        with self._lock:
            gate = self._outlet.gate
        if gate is not None:
            gate.wait(self._broker.send_timeout)

    def _leave(self) -> None:
        self._broker.listener.unsubscribe(self.log.names.channel, self.hear)
        self._broker.forget_room(self)


def _why_anew(other_epoch: bool) -> str:
    if other_epoch:
        return "Redis began a new log; those who listen have to join anew"
    return "the log no longer reaches back to what this node has seen"
