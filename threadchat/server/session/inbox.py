"""One connection's subscription to its person's inbox, which may be created after the subscription."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import Any, Final

from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import Subscription
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position, UserId
from threadchat.chat.room import Room
from threadchat.errors import RoomClosed
from threadchat.server.protocol import compression, encoding
from threadchat.wire.connection import Connection
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

NOTHING: Final = Position(0, "")
"""The position of an inbox that does not exist yet: before its first event, in any epoch."""


class Inbox:
    """Made at hello. `open` returns the position for the reply, and after the reply `start` lets events come.

    An empty inbox has no room and no subscription; `attach` is called when its room is created. `_lock`
    guards everything here; a room's lock may be acquired under it.
    """

    __slots__ = (
        "_announced",
        "_connection",
        "_hub",
        "_lock",
        "_opened",
        "_position_text",
        "_producer",
        "_session",
        "_started",
        "_stopped",
        "_subscription",
        "_unavailable",
    )

    def __init__(self, connection: Connection, hub: Hub, session: str, producer: Producer) -> None:
        """`producer` is the connection's producer, which serves all its subscriptions."""
        self._connection = connection
        self._hub = hub
        self._session = session
        self._producer = producer
        self._lock = threading.Lock()
        self._opened = self._started = self._stopped = self._unavailable = False
        self._position_text: Text | None = None  # sent before the first event, if hello could not say it
        self._announced: Room | None = None  # the room, if `attach` was called before `open` had finished
        self._subscription: Subscription | None = None

    def open(self, user: UserId, since: Position | None) -> dict[str, Any]:
        """Returns the inbox fields of the reply to hello.

        Raises CommandError. Runs on: the connection's reader.
        """
        subscription = None
        while not self._opened:
            room = self._hub.find_inbox(user)
            if room is not None and since is not None:
                room.channel.await_event(since)
            with self._lock, contextlib.suppress(RoomClosed):  # the room has just expired; try again
                room, self._announced = self._announced or room, None
                if room is not None:
                    marker = None if since is None else encoding.live_text(None)
                    subscription = self._subscribe_locked(room, since, marker)
                self._opened = True
        recovered = since is None or since == NOTHING
        position = NOTHING
        if subscription is not None:
            position, recovered = subscription.origin, bool(subscription.recovered)
        told = {} if since is None else {"recovered": recovered}
        return {"inbox": {**encoding.position_fields(position), **told}}

    def give_up(self) -> None:
        """Called if `open` failed: once the inbox has a room here, the client has to come again."""
        with self._lock:
            self._unavailable = True
            if self._announced is not None:
                self._connection.fall_behind()

    def start(self) -> None:
        """Starts the subscription. Runs on: the connection's reader, after the reply to hello."""
        with self._lock:
            self._started = True
            subscription = self._subscription
            if subscription is not None and not self._stopped:
                self._begin_locked(subscription)

    def attach(self, room: Room) -> None:
        """Called when the inbox gets its room. Raises RoomClosed. Runs on: any thread."""
        with self._lock:
            if self._unavailable:
                self._connection.fall_behind()
            elif not self._opened:
                self._announced = room
            elif not self._stopped and self._subscription is None:
                subscription = self._subscribe_locked(room, NOTHING)
                self._position_text = encoding.inbox_text(subscription.origin)
                if self._started:
                    self._begin_locked(subscription)

    def stop(self) -> None:
        """Ends the subscription. Runs on: any thread."""
        with self._lock:
            self._stopped = True
            subscription = self._subscription
        if subscription is not None:
            subscription.stop()

    def _begin_locked(self, subscription: Subscription) -> None:
        """Starts the subscription, after telling the client the position if the reply to hello did not."""
        if self._position_text is not None:
            answer = entering(partial(self._connection.offer, self._position_text))
            if answer is Answer.NO:  # the outbox is full; the client reconnects and then finds out
                self._connection.fall_behind()
        subscription.start()

    def _subscribe_locked(
        self, room: Room, since: Position | None, marker: Text | None = None
    ) -> Subscription:
        if since == NOTHING:
            since = Position(0, room.fanout.head.epoch)
        self._subscription = room.subscribe(
            self._connection,
            compression.NATIVE[self._connection.deflater],
            since=since,
            name=f"{self._connection.number}-inbox",
            marker=marker,
            producer=self._producer,
            session=self._session,
        )
        return self._subscription
