"""One room as this node has it: live by what it hears, catching up by what it reads in the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from math import inf
from time import time
from typing import Final, Protocol

from threadchat.broker.redis import encoding
from threadchat.broker.redis.connection import TIMEOUT, Command
from threadchat.broker.redis.log import NEWEST, RoomLog
from threadchat.broker.redis.presence import RedisPresence
from threadchat.broker.redis.publish_pipeline import Publication
from threadchat.broker.redis.reorder_buffer import MAX_HELD, DeliveryWaiter, ReorderBuffer
from threadchat.broker.redis.services import Services
from threadchat.broker.redis.whispers import WHISPER
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, Draft, Position, record
from threadchat.chat.log.sequencer import Outlet, Page
from threadchat.errors import CommandError, RoomClosed

log = logging.getLogger(__name__)

PATIENCE: Final = 0.25
"""Seconds for which a publisher waits until its own node has delivered what Redis has: so it finds what it
said wherever it looks, and a node that falls behind is not outrun by its own publishers."""
STEP: Final = 25
"""Events delivered at once while catching up: a quarter of an outbox, which has room for it."""
PAGE_BYTES: Final = 256 << 10
"""Bytes read from the log at a time while catching up."""
NEW_EPOCH: Final = "Redis has a new log, or lost the end of this one"
OUT_OF_REACH: Final = "the log no longer reaches back to what this node has seen"


class Owner(Services, Protocol):
    """What a channel needs of its broker."""

    def note_room(self, channel: RedisChannel) -> None:
        """A room is being opened here. Raises CommandError 100, and 106 where Redis has too many."""

    def forget_room(self, channel: RedisChannel) -> None:
        """A room is not open here any more."""

    def on_unsettled(self, log: RoomLog) -> None:
        """Redis does not know whom this node has in that log's room."""


class RedisChannel:
    """See Channel. `_lock` guards everything but `_outlet`; an outlet's `deliver` runs under it.

    Level, the listener's thread delivers what it hears. A hole, another epoch or a shut gate makes it
    lag: then a worker reads the log, and what is heard meanwhile is held.
    """

    def __init__(self, broker: Owner, room: str) -> None:
        self.room = room
        self.presence: RedisPresence | None = None
        self._broker = broker
        self._held = ReorderBuffer()
        names, retention = broker.names.room(room), broker.retention_of(room)
        self.log = RoomLog(room, names, broker.connection, retention, lambda: self._held.newest)
        self._outlet: Outlet | None = None
        self._lock = threading.Lock()
        self._delivery_waiter = DeliveryWaiter()
        self._begun = False
        self._closed = False
        self._lagging = False  # a worker is on it
        self._was_idle = False

    # See Channel

    def attach(self, outlet: Outlet) -> None:
        """See Channel. Raises CommandError 100 where Redis is away, 106 where it has too many rooms."""
        self._outlet = outlet
        connection, listener = self._broker.connection, self._broker.listener
        connection.check_ready()
        try:
            self._broker.note_room(self)  # first: where Redis has too many rooms, this is not one more
            listener.await_confirmed(listener.subscribe(self.log.names.channel, self.hear), TIMEOUT)
            self._begin()
        except BaseException:
            self._leave()
            raise

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
            known = self._held.newest
            closing = Position(self._held.delivered + 1, known.epoch)
        try:
            blanks = [self.log.blank(draft.target, known.epoch) for draft in drafts if draft.target]
            names, retention = self.log.names, self.log.retention
            publication = Publication(names, self.room, drafts, known, blanks, retention=retention)
            positions = self._broker.batch.publish(publication)
        except RoomClosed:
            self._await(closing, TIMEOUT)  # closed elsewhere: hear of it
            raise
        if positions:
            self._await(max(positions), PATIENCE)  # all are of one epoch
        return positions

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel. Raises CommandError 100 while Redis is away."""
        self._broker.connection.check_ready()
        return self.log.history(since, limit, reverse)

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
            last = self._held.newest._replace(offset=self._held.delivered + 1)
            self._held.begin(last, [record(Draft(CLOSE), last.offset, self.room, int(time()))])
            self._deliver_locked(1)
        self._after_delivery()
        self._broker.on_unsettled(self.log)  # at last, when nobody is in there any more

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
                self._broker.whispers.hear(self.room, payload)
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
            level = head.epoch == self._held.epoch and head.offset <= self._held.newest.offset
            if self._begun and not self._lagging:
                self._held.hole = self._held.hole or not level
                self._lag_if_behind_locked()  # also where no worker could be had for what is held

    def catch_up(self) -> None:
        """One step of delivering what is held or in the log. Runs on: a worker."""
        assert self._outlet is not None
        with self._lock:
            gate = self._outlet.gate
        if gate is not None:
            gate.wait(self._broker.send_timeout)
        with self._lock:
            if self._closed:
                return
            hole, self._held.hole = self._held.hole, False
        if hole:
            try:
                self._fill()
            except Exception as error:  # the next inspection finds the hole again
                with self._lock:
                    self._held.hole, self._lagging = True, False
                if not isinstance(error, CommandError):
                    raise
                log.info("room %s cannot catch up: %s", self.room, error)
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
        return self.log.command("inspect", int(shorten), int(life * 1000))

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
        head, _, records, _ = self.log.read(NEWEST, kept.events, kept.size, backwards=True)
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
            epoch, newest, _ = self._held.newest
        head, floor, records, stamp = self.log.read(newest + 1, MAX_HELD, PAGE_BYTES, backwards=False)
        is_missing = not records and head.offset > newest  # Redis evicted the log, or somebody deleted it
        if head.epoch != epoch or floor > newest or is_missing:
            why = OUT_OF_REACH if head.epoch == epoch else NEW_EPOCH
            log.warning("room %s: %s; those who listen have to join anew", self.room, why)
            self._broker.connection.count("restarts")
            self._begin()
            return
        self._broker.connection.count("filled", len(records))
        with self._lock:
            self._held.add(records, stamp)
            self._held.hole = self._held.hole or self._held.newest.offset < head.offset

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

    def _leave(self) -> None:
        self._broker.listener.unsubscribe(self.log.names.channel, self.hear)
        if self.presence is not None:
            self.presence.end()
        self._broker.forget_room(self)
