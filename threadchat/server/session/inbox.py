"""One connection's subscription to the inbox of its person, which may begin to exist only later."""

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
from threadchat.server.protocol import encoding
from threadchat.server.session import compression
from threadchat.wire.connection import Connection
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

NOTHING: Final = Position(0, "")
"""Where an inbox stands that does not exist: before the first event of whichever log comes."""


class Inbox:
    """Born with the session's hello: `open` tells where it stands, `start` lets events come after the reply.

    Where nothing is in it there is no room and no subscription; `attach` is told once there is. `_lock`
    guards everything here; a room's lock may be acquired under it.
    """

    __slots__ = (
        "_announced",
        "_connection",
        "_hub",
        "_lock",
        "_news",
        "_opened",
        "_producer",
        "_session",
        "_started",
        "_stopped",
        "_subscription",
    )

    def __init__(self, connection: Connection, hub: Hub, session: str, producer: Producer) -> None:
        """`producer` is the connection's."""
        self._connection = connection
        self._hub = hub
        self._session = session
        self._producer = producer
        self._lock = threading.Lock()
        self._opened = self._started = self._stopped = False
        self._news: Text | None = None  # what is said before the first event
        self._announced: Room | None = None  # what `attach` was told of before `open` was through
        self._subscription: Subscription | None = None

    def open(self, user: UserId, since: Position | None) -> dict[str, Any]:
        """What the reply to hello says of it. Raises CommandError. Runs on: the connection's reader."""
        subscription = None
        while not self._opened:
            room = self._hub.find_inbox(user)
            with self._lock, contextlib.suppress(RoomClosed):  # one that was forgotten just now
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

    def start(self) -> None:
        """Lets its events come. Runs on: the connection's reader, after the reply to hello."""
        with self._lock:
            self._started = True
            subscription = self._subscription
            if subscription is not None and not self._stopped:
                self._begin_locked(subscription)

    def attach(self, room: Room) -> None:
        """Told that there is something in it, or will be at once. Raises RoomClosed. Runs on: any thread."""
        with self._lock:
            if not self._opened:
                self._announced = room
            elif not self._stopped and self._subscription is None:
                subscription = self._subscribe_locked(room, NOTHING)
                self._news = encoding.inbox_text(subscription.origin)
                if self._started:
                    self._begin_locked(subscription)

    def stop(self) -> None:
        """Ends it. Runs on: any thread."""
        with self._lock:
            self._stopped = True
            subscription = self._subscription
        if subscription is not None:
            subscription.stop()

    def _begin_locked(self, subscription: Subscription) -> None:
        """Lets events come; behind where they begin, if the reply to hello could not say that."""
        if self._news is not None:
            answer = entering(partial(self._connection.offer, self._news))
            if answer is Answer.NO:  # too slow to be told: it comes back, and finds out
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
