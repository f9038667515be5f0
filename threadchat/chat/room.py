"""A room: its events, its members and its subscribers. It works without a server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Final

from threadchat.callbacks import check_callback
from threadchat.chat.delivery.listener import Listener, ListenerThread
from threadchat.chat.delivery.stream import REQUEST_BUFFER, SEND_TIMEOUT, EventStream, events_of
from threadchat.chat.delivery.subscription import ALL, Filter, Subscription
from threadchat.chat.emitting import Emitter, passing
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import EVENT, MESSAGE, RENAME, Details, Draft, Event, Position, UserId
from threadchat.chat.log.keys import application_key
from threadchat.chat.log.sequencer import Channel, Page
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE
from threadchat.chat.presence import Occupant, Presence
from threadchat.chat.room_state import RoomState
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.listing import DEFERRED

log = logging.getLogger(__name__)

ANNOUNCE_LIMIT: Final = 200
"""The number of people in a server's room above which joins and leaves are no events: each would be sent to
everybody.
"""


class Room(RoomState, Emitter):
    """A sequence of events, its members, and its subscribers.

    ```python
    from threadchat import Room

    room = Room("GoChat")
    stream = room.add("ann", "laptop")
    room.message("ann", "hello")
    room.close()
    assert [(event.id, event.type, event.message) for event in stream] == [
        (1, "join", ""),
        (2, "message", "hello"),
        (3, "close", ""),
    ]
    ```

    Every method may be called from any thread. `_announcing` makes a change of membership and its event one
    step; it may be held while a publisher waits. `_lock` guards `_people` and `_streams`.
    """

    def __init__(
        self,
        name: str,
        *,
        request_buffer: int = REQUEST_BUFFER,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        send_timeout: float = SEND_TIMEOUT,
        announce_limit: int | None = None,
        channel: Channel | None = None,
        presence: Presence | None = None,
        announce: Callable[[Room, Sequence[Draft]], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """A room on its own needs only a `name`. A hub passes the other arguments.

        `request_buffer` is the number of events that a stream or listener holds. The log keeps `history_size`
        events, and at most `history_bytes` bytes of JSON. `send_timeout` is the number of seconds for which a
        full stream may block publishers in total. `announce_limit` is the number of people above which joins
        and leaves are no events; None means no limit. `clock` returns monotonic seconds.
        """
        self._request_buffer = request_buffer
        self._send_timeout = send_timeout
        self._announce_limit = announce_limit
        self._announce_through = announce or Room.publish
        self._presence = presence  # of all nodes; if set, it makes the announcements
        super().__init__(name, history_size, history_bytes, channel, clock)

    # Events

    def message(self, user: UserId, text: str, *, nickname: str = "", key: str = "") -> Position | None:
        """Publishes a message. Returns its position, or None if the room is closed.

        The user need not be a member. An empty `nickname` means the user's id. Messages of one user with the
        same `key` within five minutes are published once. A key that begins with a NUL is refused
        (CommandError 107). Blocks only while a stream or listener is nearly full, at most `send_timeout`
        seconds. Runs on: any thread.
        """
        try:
            draft = Draft(MESSAGE, user, nickname or str(user), text, "", application_key(key))
            return self.publish([draft])[0]
        except RoomClosed:
            return None

    def publish(self, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes drafts and returns their positions. While there is a gate, waits for it first.

        Raises RoomClosed.
        """
        while True:
            answer = self.try_publish(drafts)
            if not isinstance(answer, Gate):
                return answer
            answer.wait(self._send_timeout)

    def try_publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """Like `publish`, but instead of waiting for a gate it publishes nothing and returns the gate."""
        if DEFERRED.owner is not None and not (drafts and drafts[0].type == EVENT):
            DEFERRED.flush()  # before the channel looks for a gate, because there may be one then
        return self.channel.publish(drafts)

    def history(self, since: Position | None = None, limit: int = 100, reverse: bool = False) -> Page:
        """A page of the log: the newest events, those after `since`, or with `reverse` those before it.

        The page is a sequence of up to `limit` events and 512 KiB of JSON, oldest first unless `reverse`.
        `page.records` also has the JSON, and `page.head` is the position of the newest event. Raises
        CommandError 112 if the log does not reach back to `since`. Runs on: any thread.
        """
        return self.channel.history(since, limit, reverse)

    def count(self, wanted: Filter = ALL) -> int:
        """The number of events in the log that pass a filter."""
        return self.fanout.count(wanted)

    # Members

    def add(self, user: UserId, session: str, *, nickname: str = "") -> EventStream:
        """Adds a member. Returns the stream of all events from now on, including the member's own `join`.

        Raises CommandError 105 if the session is in the room already, and RoomClosed.
        """
        stream, subscription = self._open_stream(user, f"{self.name}-{session}")
        try:
            subscription.start()
            self._enter(user, session, nickname or str(user), "", stream)
        except BaseException:  # may come from a signal handler
            subscription.stop()
            raise
        return stream

    def remove(self, user: UserId, session: str) -> None:
        """Ends a membership and its stream. Raises CommandError 102 if there is none."""
        with self._lock:
            stream = self._streams.pop((user, session), None)
        if stream is not None:
            stream.close()
        self.leave(user, session)

    def enter(self, user: UserId, session: str, nickname: str, about: str = "") -> None:
        """Adds a member without a stream. Raises CommandError 105 and RoomClosed."""
        self._enter(user, session, nickname, about, None)

    def leave(self, user: UserId, session: str) -> None:
        """Ends a membership and announces that. Raises CommandError 102 if there is none."""
        with self._announcing:
            with self._lock:
                announced = self._announced_locked()
                left = self._people.leave(user, session)
            if left is None:
                raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not in room {self.name}")
            if self._presence is not None:
                self._presence.leave(user, session)
            elif announced:
                kind, occupant = left
                self._announce(Draft(kind, user, occupant.nickname, "", session))

    def rename(self, user: UserId, nickname: str, about: str = "") -> None:
        """Sets a member's nickname, and what they say of themselves. Announces a new nickname."""
        with self._announcing:
            with self._lock:
                was = self._people.rename(user, nickname, about)
                announced = self._announced_locked()
            if was is None:
                return
            if self._presence is not None:
                self._presence.rename(user, nickname, about)
            elif announced and was != nickname:
                self._announce(Draft(RENAME, user, nickname, details=Details(was=was)))

    def who(self) -> list[Occupant]:
        """Everybody in the room, on all nodes.

        Raises CommandError 100, temporary, if the people of other nodes are unknown at the moment.
        """
        if self._presence is not None and not self.closed:
            return self._presence.who()
        return self.who_is_here()

    @property
    def people(self) -> int:
        """The number of people of this node in the room."""
        return len(self._people)

    def has(self, user: UserId | None, session: str) -> bool:
        """Whether a session of this node is in the room."""
        with self._lock:
            return self._people.has(user, session)

    # Listeners

    def attach_listener(self, listener: Listener | Callable[[Event], object]) -> ListenerThread:
        """Calls `listener` for every event from now on, on a thread of its own.

        Raises RoomClosed, and ConfigError if `listener` cannot be called with an event or is async.
        Exceptions of the listener are logged and end nothing. If it has methods `flush` and `close`, they are
        called after each batch and at the end. The thread is a daemon and ends with the room. Call
        `thread.join()` on the returned object to wait for it.
        """
        check_callback("listener", listener, ("event",))
        stream, subscription = self._open_stream(None, f"{self.name}-listener", lasting=True)
        thread = ListenerThread(listener, stream, self.name)
        thread.start()
        subscription.start()
        return thread

    # The end

    def close(self) -> None:
        """Publishes a last `close` event, which ends every stream. A second call does nothing."""
        if self.fanout.close():
            self.channel.close()

    def idle_for(self) -> float:
        """Seconds for which the room was empty and idle. 0 while somebody is in it."""
        with self._lock:
            return 0.0 if self._people else self.fanout.idle_for()

    def retire(self, idle_for: float) -> bool:
        """Forgets the room if it was empty and idle for `idle_for` seconds. Returns whether it did."""
        return self.channel.retire(lambda: self._close_if_idle(idle_for))

    def __repr__(self) -> str:
        return f"<Room {self.name} people={len(self._people)} offset={self.fanout.head.offset}>"

    # Helpers

    def _close_if_idle(self, idle_for: float) -> bool:
        with self._lock:
            return not self._people and self.fanout.close(idle_for)

    def _open_stream(
        self, owner: UserId | None, name: str, *, lasting: bool = False
    ) -> tuple[EventStream, Subscription]:
        stream = EventStream(self._request_buffer, self._send_timeout)
        subscription = self.subscribe(stream, events_of, owner=owner, name=name, lasting=lasting)
        stream.on_close = subscription.stop
        return stream, subscription

    def _enter(
        self, user: UserId, session: str, nickname: str, about: str, stream: EventStream | None
    ) -> None:
        with self._announcing:
            with self._lock:
                self.fanout.check_open()
                kind = self._people.enter(user, session, nickname, about)
                if kind is None:
                    raise CommandError(ErrorCode.ALREADY, f"already in room {self.name}")
                if stream is not None:
                    self._streams[user, session] = stream
                announced = self._announced_locked()
            if self._presence is not None:
                self._presence.enter(user, session, nickname, about)
            elif announced:
                self._announce(Draft(kind, user, nickname, "", session))

    def _announced_locked(self) -> bool:
        return self._announce_limit is None or len(self._people) <= self._announce_limit

    def _announce(self, draft: Draft) -> None:
        """Publishes a coming or going. If the log of a server's room has enough of them, nobody keeps it."""
        if self._announce_limit is not None and not self._comings.may_keep(self.fanout.newest):
            self.tell(passing(draft, self.name, int(time())))
            return
        try:
            self._announce_through(self, [draft])
        except RoomClosed:  # its subscribers got the `close` event instead
            log.debug("room %s was closed before %s of %s", self.name, draft.type, draft.nickname)
        except CommandError as error:  # the log takes no events now; the membership is valid anyway
            log.warning(
                "room %s: %s of %s is not announced: %s", self.name, draft.type, draft.nickname, error
            )
