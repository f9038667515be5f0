"""One room on this node: delivers what it receives, and catches up by reading the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from itertools import groupby
from math import inf
from time import time
from typing import Final, Protocol

from threadchat.broker.redis import encoding
from threadchat.broker.redis.connection import TIMEOUT
from threadchat.broker.redis.log import NEWEST, RoomLog
from threadchat.broker.redis.people import Services
from threadchat.broker.redis.presence import RedisPresence
from threadchat.broker.redis.reorder_buffer import MAX_BUFFERED, DeliveryWaiter, ReorderBuffer
from threadchat.broker.redis.room_publishing import RoomPublishing
from threadchat.broker.redis.topology.interface import Command
from threadchat.broker.redis.whispers import WHISPER
from threadchat.chat.log.events import CLOSE, Draft, Position, record
from threadchat.chat.log.sequencer import Outlet, Page
from threadchat.errors import CommandError
from threadchat.wire.listing import DEFERRED

log = logging.getLogger(__name__)

STEP: Final = 25
"""Events to deliver at once while catching up: a quarter of an outbox, which has room for it."""
PAGE_BYTES: Final = 256 << 10
"""Bytes to read from the log at a time while catching up."""
NEW_EPOCH: Final = "Redis has a new log, or lost the end of this one"
OUT_OF_REACH: Final = "the log no longer reaches back to what this node has seen"


class Owner(Services, Protocol):
    """What a channel needs from its broker."""

    def note_room(self, channel: RedisChannel) -> None:
        """A room is being opened here. Raises CommandError 100, and 106 if there are too many rooms."""

    def forget_room(self, channel: RedisChannel) -> None:
        """Notes that a room is no longer open here."""

    def on_unsettled(self, log: RoomLog) -> None:
        """Called if Redis may not know whom this node has in that log's room."""


class RedisChannel(RoomPublishing):
    """See Channel. `_lock` guards everything but `_outlet`; it is held while the outlet's `deliver` runs.
    Normally the subscriber's thread delivers what it receives. After a hole or a change of epoch, and while
    there is a gate, the channel lags: a worker reads the log, and received events are buffered.
    """

    _broker: Owner

    def __init__(self, broker: Owner, room: str) -> None:
        self.room = room
        self.presence: RedisPresence | None = None
        self._broker = broker
        self._buffer = buffer = ReorderBuffer()
        names, retention = broker.names.room(room), broker.retention_of(room)
        self.log = RoomLog(room, names, broker.connection, retention, lambda: buffer.newest)
        self._outlet: Outlet | None = None
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._delivery_waiter = DeliveryWaiter()
        self._begun = False
        self._closed = False
        self._lagging = False  # a worker is catching up
        self._was_idle = False

    # See Channel

    def attach(self, outlet: Outlet) -> None:
        """See Channel. Raises CommandError 100 if Redis is away, and 106 if it has too many rooms."""
        self._outlet = outlet
        connection, subscriber = self._broker.connection, self._broker.subscriber
        connection.check_ready()
        try:
            self._broker.note_room(self)  # first, because it fails if Redis has too many rooms
            confirmed = subscriber.subscribe(self.log.names.channel, self.receive)
            subscriber.await_confirmed(confirmed, TIMEOUT)
            self._begin()
        except BaseException:
            self._leave()
            raise

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See Channel. Raises CommandError 100 while Redis is away."""
        self._broker.connection.check_ready()
        return self.log.history(since, limit, reverse)

    def await_event(self, position: Position) -> None:
        """See Channel. Raises CommandError 100 while Redis is away."""
        if not self._lacks(position):
            return
        [[epoch, head]] = self._broker.connection.ask(self.log.command("inspect", 0, 0))
        found = Position(head, epoch.decode())
        if found.epoch != position.epoch or found.offset < position.offset:
            return  # there is no such event
        self.inspect(found)
        with self._lock:
            if not self._lacks(position):
                return
            arrival = self._delivery_waiter.expect(position.offset)
        arrival.acquire(timeout=TIMEOUT)

    def _lacks(self, position: Position) -> bool:
        """Whether it may be an event of this log that is not delivered yet."""
        buffer = self._buffer
        return position.epoch == buffer.epoch and position.offset > buffer.delivered and not self._closed

    def close(self) -> None:
        """See Channel. If Redis cannot be told, or the broker is closed, the room ends on this node only."""
        with self._lock:
            if self._closed:
                return
        try:
            if not self._broker.closed:
                self._broker.connection.ask(
                    self.log.command("close", encoding.body_of(Draft(CLOSE), self.room))
                )
                return  # it ends when the event comes back
        except CommandError as error:
            log.error("room %s is closed here, but other nodes do not know: %s", self.room, error)
        with self._lock:
            last = self._buffer.newest._replace(offset=self._buffer.delivered + 1)
            self._buffer.begin(last, [record(Draft(CLOSE), last.offset, self.room, int(time()))])
            self._deliver_locked(1)
        self._after_delivery()
        self._broker.on_unsettled(self.log)  # last, when nobody is in the room any more

    def retire(self, may_go: Callable[[], bool]) -> bool:
        """See Channel. Other nodes may have the room open still; Redis expires it later."""
        with self._lock:
            if self._closed or not may_go():
                return False
            self._closed = True
        self._leave()
        return True

    @property
    def weight(self) -> int:
        """See Channel. The log and its keys are in Redis."""
        return 0

    def forget(self, floor: int) -> None:
        """See Channel. The keys are in Redis."""

    # Delivery

    def receive(self, payloads: list[bytes]) -> None:
        """Delivers events that follow, or starts catching up. Runs on: the subscriber's thread."""
        for whispered, some in groupby(payloads, lambda payload: payload.startswith(WHISPER)):
            if whispered:
                self._broker.whispers.receive(self.room, some)
            else:
                self._receive(list(map(encoding.read_message, some)))

    def _receive(self, messages: list[encoding.RoomMessage]) -> None:
        with self._lock:
            if not self._begun or self._closed:
                self._buffer.hole = True
                return
            for message in messages:
                self._buffer.receive(message)
            if not self._lagging:
                while self._buffer and self._may_deliver_locked():
                    self._deliver_locked(STEP)
                self._lag_if_behind_locked()
        self._after_delivery()

    def inspect(self, head: Position) -> None:
        """Looks for lost last events, which leave no hole. Runs on: the heartbeat's thread."""
        with self._lock:
            level = head.epoch == self._buffer.epoch and head.offset <= self._buffer.newest.offset
            if self._begun and not self._lagging:
                self._buffer.hole = self._buffer.hole or not level
                self._lag_if_behind_locked()  # also if no worker was available for what is buffered

    def catch_up(self) -> None:
        """Delivers one step of what is buffered or in the log. Runs on: a worker's thread."""
        assert self._outlet is not None
        with self._lock:
            gate = self._outlet.gate
        if gate is not None:
            gate.wait(self._broker.send_timeout)
        with self._lock:
            if self._closed:
                return
            hole, self._buffer.hole = self._buffer.hole, False
        if hole:
            try:
                self._fill()
            except Exception as error:  # the next inspection finds the hole again
                with self._lock:
                    self._buffer.hole, self._lagging = True, False
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
        """The command that asks for the log's head and keeps a room in use for `life` seconds."""
        assert self._outlet is not None
        idle = self._outlet.idle_for() > 0 and not self.presence
        shorten, self._was_idle = idle and not self._was_idle, idle
        if idle:
            life = self.log.retention.room_ttl if shorten else 0
        return self.log.command("inspect", int(shorten), int(life * 1000))

    # Helpers

    def _begin(self) -> None:
        """Gives the outlet as much of the log as it may keep, and continues from there."""
        assert self._outlet is not None
        kept = self.log.retention
        head, _, records, _ = self.log.read(NEWEST, kept.events, kept.size, backwards=True)
        records.reverse()
        with self._lock:
            self._outlet.begin(self._buffer.begin(head, records))
            self._delivery_waiter.arrived()  # events of an earlier log will never come
            self._deliver_locked(len(records))
            self._begun = True
            if not self._lagging:
                self._lag_if_behind_locked()  # events were published meanwhile
        self._after_delivery()

    def _fill(self) -> None:
        """Reads the log after what is buffered. Begins anew if that is another log, or out of reach."""
        with self._lock:
            epoch, newest, _ = self._buffer.newest
        head, floor, records, stamp = self.log.read(newest + 1, MAX_BUFFERED, PAGE_BYTES, backwards=False)
        is_missing = not records and head.offset > newest  # Redis evicted the log, or somebody deleted it
        if head.epoch != epoch or floor > newest or is_missing:
            why = OUT_OF_REACH if head.epoch == epoch else NEW_EPOCH
            log.warning("room %s: %s; its subscribers have to join again", self.room, why)
            self._broker.connection.count("restarts")
            self._begin()
            return
        self._broker.connection.count("filled", len(records))
        with self._lock:
            self._buffer.add(records, stamp)
            self._buffer.hole = self._buffer.hole or self._buffer.newest.offset < head.offset

    def _may_deliver_locked(self) -> bool:
        assert self._outlet is not None
        if DEFERRED.owner is not None and len(self._buffer) > 1:
            DEFERRED.flush()  # first: an outbox may not have room for what was deferred and another step
        gate = self._outlet.gate
        return gate is None or gate.passed

    def _deliver_locked(self, count: int) -> None:
        """Delivers some of the buffered events."""
        assert self._outlet is not None
        records = self._buffer.take(count)
        if not records:
            return
        if records[-1].event.type == CLOSE:
            self._outlet.close()  # first: no subscription may begin after the last event
            self._closed = True
        self._outlet.deliver(records)
        self._delivery_waiter.arrived(inf if self._closed else records[-1].event.id)

    def _after_delivery(self) -> None:
        assert self._outlet is not None
        self._outlet.delivered()
        if self._closed:
            self._leave()

    def _lag_if_behind_locked(self) -> None:
        if (self._buffer or self._buffer.hole) and not self._closed:
            self._lagging = self._broker.worker_pool.submit(self.catch_up)

    def _leave(self) -> None:
        self._broker.subscriber.unsubscribe(self.log.names.channel, self.receive)
        if self.presence is not None:
            self.presence.end()
        self._broker.forget_room(self)
