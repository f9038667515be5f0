"""A room: what is said in it, who is in it, and who listens; works without any server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from threadchat.callbacks import check_callback
from threadchat.chat.delivery.listener import Listener, ListenerThread
from threadchat.chat.delivery.stream import REQUEST_BUFFER, SEND_TIMEOUT, EventStream, events_of
from threadchat.chat.delivery.subscription import ALL, Filter, Subscription
from threadchat.chat.emitting import Emitter
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import MESSAGE, Draft, Event, Position, UserId
from threadchat.chat.log.keys import application_key
from threadchat.chat.log.sequencer import Channel, Page
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE
from threadchat.chat.presence import Occupant, Presence
from threadchat.chat.room_state import RoomState
from threadchat.errors import CommandError, ErrorCode, RoomClosed

log = logging.getLogger(__name__)

ANNOUNCE_LIMIT: Final = 200
"""People in a server's room from which on comings and goings are no events: each would reach everybody."""


class Room(RoomState, Emitter):
    """A sequence of events, the people who make them and everybody who listens.

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

    Every method may be called from any thread. `_announcing` makes a coming or going and its event
    one step; it may be held while a publisher waits. `_lock` guards `_people` and `_streams`.
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
        """A room by itself needs its `name` only; a hub gives the rest.

        `request_buffer`: events that a stream or listener holds. `history_size` events are kept, and of
        those at most `history_bytes` bytes of JSON. `send_timeout`: seconds for which a stream that is full
        holds publishers up, in all. `announce_limit`: people above which comings and goings are no
        events; None for no such limit. `clock`: seconds, monotonic.
        """
        self._request_buffer = request_buffer
        self._send_timeout = send_timeout
        self._announce_limit = announce_limit
        self._announce_through = announce or Room.publish
        self._presence = presence  # on all nodes; announces them, where it is there
        super().__init__(name, history_size, history_bytes, channel, clock)

    # What is said

    def message(self, user: UserId, text: str, *, nickname: str = "", key: str = "") -> Position | None:
        """Says `text` to everybody who listens; returns its place, None in a closed room.

        One need not be a member. `nickname` is the user's id where it is empty. The same `key` of the same
        user within five minutes says it once; one that begins with a NUL is refused (CommandError 107). Waits
        only while a stream or listener is nearly full, `send_timeout` seconds at most. Runs on: any thread.
        """
        try:
            draft = Draft(MESSAGE, user, nickname or str(user), text, "", application_key(key))
            return self.publish([draft])[0]
        except RoomClosed:
            return None

    def publish(self, drafts: Sequence[Draft]) -> list[Position]:
        """Gives drafts their places and everybody their events; waits at the gate while there is one.

        Raises RoomClosed.
        """
        while True:
            answer = self.channel.publish(drafts)
            if not isinstance(answer, Gate):
                return answer
            answer.wait(self._send_timeout)

    def try_publish(self, drafts: Sequence[Draft]) -> list[Position] | Gate:
        """As `publish`, but returns the gate, with nothing done, instead of waiting at it."""
        return self.channel.publish(drafts)

    def history(self, since: Position | None = None, limit: int = 100, reverse: bool = False) -> Page:
        """A page of the log: the newest events, or those after `since`, or with `reverse` those before it.

        It is a sequence of up to `limit` events and 512 KiB of JSON, oldest first unless `reverse`;
        `page.records` have their JSON too, and `page.head` is where the log stood. Raises CommandError 112
        where the log does not reach `since`. Runs on: any thread.
        """
        return self.channel.history(since, limit, reverse)

    def count(self, wanted: Filter = ALL) -> int:
        """How many of the log's events pass a filter."""
        return self.fanout.count(wanted)

    # Who is there

    def add(self, user: UserId, session: str, *, nickname: str = "") -> EventStream:
        """Makes one a member; returns the stream of all that happens from here on, the coming included.

        Raises CommandError 105 where that session is in the room already, and RoomClosed.
        """
        stream, subscription = self._open_stream(user, f"{self.name}-{session}")
        try:
            subscription.start()
            self._enter(user, session, nickname or str(user), "", stream)
        except BaseException:  # of a signal handler, too
            subscription.stop()
            raise
        return stream

    def remove(self, user: UserId, session: str) -> None:
        """Ends a membership and its stream. Raises CommandError 102 where there is none."""
        with self._lock:
            stream = self._streams.pop((user, session), None)
        if stream is not None:
            stream.close()
        self.leave(user, session)

    def enter(self, user: UserId, session: str, nickname: str, about: str = "") -> None:
        """Makes one a member who listens elsewhere. Raises CommandError 105, RoomClosed."""
        self._enter(user, session, nickname, about, None)

    def leave(self, user: UserId, session: str) -> None:
        """Ends a membership and announces it. Raises CommandError 102 where there is none."""
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
        """Notes a member's new nickname, and what they say of themselves; no event."""
        with self._lock:
            known = self._people.rename(user, nickname, about)
        if known and self._presence is not None:
            self._presence.rename(user, nickname, about)

    def who(self) -> list[Occupant]:
        """Everybody in the room, on whichever node.

        Raises CommandError 100, temporary, where other nodes' people cannot be found out.
        """
        if self._presence is not None and not self.closed:
            return self._presence.who()
        with self._lock:
            return self._people.who()

    @property
    def people(self) -> int:
        """How many people of this node are in the room."""
        return len(self._people)

    def has(self, user: UserId | None, session: str) -> bool:
        """Whether that session, of this node, is in the room."""
        with self._lock:
            return self._people.has(user, session)

    # Who listens

    def attach_listener(self, listener: Listener | Callable[[Event], object]) -> ListenerThread:
        """Calls `listener` for every event from now on, on a thread of its own.

        Raises RoomClosed, and ConfigError for what cannot be called with an event, or is async. What it
        raises is logged and ends nothing. Its methods `flush` and `close`, if it has them, are called after
        each batch and at the end. The thread is a daemon that ends with the room; `thread.join()` of what is
        returned waits for it.
        """
        check_callback("listener", listener, ("event",))
        stream, subscription = self._open_stream(None, f"{self.name}-listener", lasting=True)
        thread = ListenerThread(listener, stream, self.name)
        thread.start()
        subscription.start()
        return thread

    # The end

    def close(self) -> None:
        """Publishes a last `close` event, which ends every stream; does nothing a second time."""
        if self.fanout.close():
            self.channel.close()

    def idle_for(self) -> float:
        """Seconds for which nobody was here and nothing happened; 0 while somebody is."""
        with self._lock:
            return 0.0 if self._people else self.fanout.idle_for()

    def retire(self, idle_for: float) -> bool:
        """Forgets a room where nobody was and nothing happened for so many seconds; True if it was so."""
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
        try:
            self._announce_through(self, [draft])
        except RoomClosed:  # it has said its last; those who listen know
            log.debug("room %s was closed before %s of %s", self.name, draft.type, draft.nickname)
        except CommandError as error:  # the log takes nothing just now; who is there, is there all the same
            log.warning("room %s: %s of %s is not told: %s", self.name, draft.type, draft.nickname, error)
