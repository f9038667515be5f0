"""The rooms by their names, and the people by their ids: who is online, and on which sessions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, Final, Protocol, TypeVar

from threadchat.chat.events import Direct, Draft, Event, Position, UserId
from threadchat.chat.fanout import enter
from threadchat.chat.log import HISTORY_BYTES, HISTORY_SIZE
from threadchat.chat.room import ANNOUNCE_LIMIT, Room
from threadchat.chat.routing import Directory, Routing
from threadchat.chat.sequencer import Channel
from threadchat.chat.stream import (
    REQUEST_BUFFER,
    SEND_TIMEOUT,
    Listener,
    ListenerThread,
    SharedStream,
    events_of,
)
from threadchat.chat.subscription import Encode
from threadchat.errors import CloseCode, CommandError, ErrorCode, RoomClosed
from threadchat.wire.outbox import Answer

ROOM_TTL: Final = 300.0
"""Seconds after which a room where nobody is and nothing happens is forgotten, and its log with it."""

Result = TypeVar("Result")
Schedule = Callable[[float, Callable[[], None]], object]
"""Calls something in so many seconds, on a thread that must not be blocked: the pinger's `call_later`."""


class Broker(Protocol):
    """Where logs and ids live. To be called on any thread."""

    @property
    def resume_key(self) -> bytes:
        """Signs resume tokens; the same on all nodes."""

    def open(self, room: str) -> Channel:
        """The channel of a room; the hub asks once, until it forgets the room."""

    def new_user(self) -> int:
        """The next user id."""


class Session(Protocol):
    """One connection of a person, as the hub sees it."""

    @property
    def user(self) -> UserId | None:
        """Whose it is; never None while the hub knows it."""

    @property
    def about(self) -> str:
        """What its user says of themselves; may be empty."""

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message or answers NO, at once. Runs on: the sender's thread."""

    def close(self, code: int) -> None:
        """Ends the connection; never blocks. Runs on: any thread."""


class Hub:
    """Rooms come with their first use and go when they have been empty for `room_ttl`.

    Every method may be called from any thread. `_lock` guards `_rooms`, `_sessions`, `_listeners` and
    `_closed`; the tuples in `_sessions` are replaced, never changed, so that a direct message reads
    them without the lock.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        routing: Routing | None = None,
        schedule: Schedule | None = None,
        room_ttl: float = ROOM_TTL,
        request_buffer: int = REQUEST_BUFFER,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        send_timeout: float = SEND_TIMEOUT,
        announce_limit: int | None = ANNOUNCE_LIMIT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.broker = broker
        self._routing = routing or Directory()
        self._schedule = schedule
        self._room_ttl = room_ttl
        self._request_buffer = request_buffer
        self._history_size = history_size
        self._history_bytes = history_bytes
        self._send_timeout = send_timeout
        self._announce_limit = announce_limit
        self._clock = clock
        self._lock = threading.Lock()
        self._rooms: dict[str, Room] = {}
        self._sessions: dict[UserId, tuple[Session, ...]] = {}
        self._listeners: list[ListenerThread] = []
        self._closed = False

    # Rooms

    def room(self, name: str) -> Room:
        """The room of that name, made if there is none. Raises RoomClosed once the hub is closed."""
        room = self._rooms.get(name)
        if room is not None and not room.closed:
            return room
        with self._lock:
            room = self._rooms.get(name)
            if room is not None and not room.closed:
                return room
            if self._closed:
                raise RoomClosed("the hub is closed")
            room = self._rooms[name] = self._make_room_locked(name)
        self._expire_later(room, self._room_ttl)
        return room

    def find(self, name: str) -> Room:
        """The room of that name. Raises CommandError 102 where there is none."""
        room = self._rooms.get(name)
        if room is None or room.closed:
            raise CommandError(ErrorCode.UNKNOWN_ROOM, f"unknown room {name}")
        return room

    def rooms(self) -> list[Room]:
        """All rooms that there are."""
        with self._lock:
            return [room for room in self._rooms.values() if not room.closed]

    def in_room(self, name: str, action: Callable[[Room], Result]) -> Result:
        """Does something in the room of that name, in a new one where the old one just went.

        Raises RoomClosed once the hub is closed.
        """
        while True:
            room = self.room(name)
            try:
                return action(room)
            except RoomClosed:
                if not room.closed:
                    raise

    def publish(self, name: str, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in the room of that name. Raises RoomClosed once the hub is closed."""
        return self.in_room(name, lambda room: self._routing.publish(room, drafts))

    def whisper(self, room: Room, payload: Any, encode: Encode, *, but: UserId) -> None:
        """Offers what is in no log to those of a room's members who have room to spare, but one user's."""

        def deliver() -> bool:
            room.fanout.whisper(payload, encode, but=but)
            return True

        self._routing.direct(deliver)

    def close_room(self, name: str) -> None:
        """Closes a room with a last event; the name is free for a new one. Raises CommandError 102."""
        self.find(name).close()

    def attach_listener(self, listener: Listener | Callable[[Event], object]) -> None:
        """Calls `listener` for every event of every room from now on, on a thread of its own.

        Raises RoomClosed once the hub is closed.
        """
        thread = ListenerThread(listener, SharedStream(self._request_buffer, self._send_timeout), "hub")
        with self._lock:
            if self._closed:
                raise RoomClosed("the hub is closed")
            thread.thread.start()  # under the lock: `close` joins whoever is among the listeners
            self._listeners.append(thread)
            rooms = list(self._rooms.values())
        for room in rooms:
            _listen(room, thread)

    # People

    def arrive(self, session: Session) -> None:
        """Notes that a session's user is online. The session's `user` is set."""
        assert session.user is not None
        with self._lock:
            self._sessions[session.user] = (*self._sessions.get(session.user, ()), session)

    def depart(self, session: Session) -> None:
        """Forgets a session; does nothing where it never arrived."""
        if session.user is None:
            return
        with self._lock:
            remaining = tuple(other for other in self._sessions.get(session.user, ()) if other is not session)
            if remaining:
                self._sessions[session.user] = remaining
            else:
                self._sessions.pop(session.user, None)

    def is_online(self, user: UserId) -> bool:
        """Whether that user has a session."""
        return user in self._sessions

    def about(self, user: UserId) -> str:
        """What that user says of themselves, newest session first; empty where nothing was said."""
        sessions = self._sessions.get(user, ())
        return next((session.about for session in reversed(sessions) if session.about), "")

    def direct(self, to: UserId, message: str, *, sender: UserId | None = None, nickname: str = "") -> None:
        """Sends a message to every session of one person. No copy is kept and none comes back.

        Raises CommandError 108 where that person is not online, 111 where no session had room.
        """
        sessions = self._sessions.get(to)
        if not sessions:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")
        direct = Direct(sender=sender, to=to, nickname=nickname, message=message, time=int(time()))
        if not self._routing.direct(lambda: _offer_to_all(sessions, direct)):
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, f"user {to} takes no messages just now")

    def disconnect(self, user: UserId, code: int = CloseCode.FORCE_DISCONNECT) -> int:
        """Ends every connection of one person; returns how many there were."""
        sessions = self._sessions.get(user, ())
        for session in sessions:
            session.close(code)
        return len(sessions)

    # The end

    def close(self, timeout: float | None = None) -> bool:
        """Closes all rooms, ends listeners once they have seen everything, and every thread of the hub.

        False where a listener takes longer than `timeout` seconds, or else `send_timeout`, for what
        it still has to see.
        """
        deadline = monotonic() + (self._send_timeout if timeout is None else timeout)
        with self._lock:
            self._closed = True
            rooms = list(self._rooms.values())
            listeners = list(self._listeners)
        for room in rooms:
            room.close()
            for listener in listeners:  # more rooms than a stream holds events must not cost it one
                listener.stream.hold(max(0.0, deadline - monotonic()))
        self._routing.close()
        for listener in listeners:
            listener.stream.close()
            listener.thread.join(max(0.0, deadline - monotonic()))
        return not any(listener.thread.is_alive() for listener in listeners)

    # Helpers

    def _make_room_locked(self, name: str) -> Room:
        room = Room(
            name,
            request_buffer=self._request_buffer,
            history_size=self._history_size,
            history_bytes=self._history_bytes,
            send_timeout=self._send_timeout,
            announce_limit=self._announce_limit,
            channel=self.broker.open(name),
            announce=self._routing.publish,
            clock=self._clock,
        )
        for listener in self._listeners:
            _listen(room, listener)
        return room

    def _expire_later(self, room: Room, seconds: float) -> None:
        if self._schedule is not None:
            self._schedule(seconds, lambda: self._expire(room))

    def _expire(self, room: Room) -> None:
        """Forgets the room, or looks again when it may have been empty for long enough."""
        if room.retire(self._room_ttl) or room.closed:
            with self._lock:
                if self._rooms.get(room.name) is room:
                    del self._rooms[room.name]
        else:
            self._expire_later(room, max(0.01, self._room_ttl - room.idle_for()))


def _offer_to_all(sessions: Sequence[Session], direct: Direct) -> bool:
    listed: list[Any] = []
    try:
        answers = [session.offer_direct(direct, listed) for session in sessions]
    finally:
        enter(listed)
    return any(answer in (Answer.YES, Answer.HIGH) for answer in answers)


def _listen(room: Room, listener: ListenerThread) -> None:
    with contextlib.suppress(RoomClosed):  # it went just now, and said nothing more
        name = f"{room.name}-listener"
        room.fanout.subscribe(listener.stream, events_of, name=name, background=True).start()
