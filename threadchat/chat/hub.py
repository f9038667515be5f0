"""The rooms by their names, and the people by their ids: who is online, and on which sessions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, Final, TypeVar

from threadchat.chat.cluster import Alone, Broker, Cluster, Reach, RoomInfo
from threadchat.chat.events import Direct, Draft, Event, Position, UserId
from threadchat.chat.log import HISTORY_BYTES, HISTORY_SIZE
from threadchat.chat.online import Online, Session
from threadchat.chat.room import ANNOUNCE_LIMIT, Room
from threadchat.chat.routing import Directory, Routing
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

ROOM_TTL: Final = 300.0
"""Seconds after which a room where nobody is and nothing happens is forgotten, and its log with it."""

Result = TypeVar("Result")
PassOn = Callable[[Room, bytes, UserId], object]
"""Offers another node's whisper, a frame, to a room's members here, but one user's."""
Schedule = Callable[[float, Callable[[], None]], object]
"""Calls something in so many seconds, on a thread that must not be blocked: the pinger's `call_later`."""


class Hub:
    """Rooms come with their first use and go when they have been empty for `room_ttl`.

    Every method may be called from any thread. `_lock` guards `_rooms`, `_opening`, `_listeners` and
    `_closed`. No room is made under it: its broker may have to ask others. Where the broker is a
    Cluster, rooms and people are those of all its nodes.
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
        """`broker` keeps the logs: a MemoryBroker, say. Rooms are forgotten only with `schedule`, which is a
        pinger's `call_later`, once nobody was there for `room_ttl` seconds. All else is as for Room.
        """
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
        self._cluster: Cluster = broker if isinstance(broker, Cluster) else Alone()
        self._sessions = Online()
        self._cluster.connect(self._sessions, self._pass_on)
        self._on_whisper: PassOn | None = None
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        self._rooms: dict[str, Room] = {}
        self._opening: set[str] = set()
        self._listeners: list[ListenerThread] = []
        self._closed = False

    # Rooms

    def room(self, name: str) -> Room:
        """The room of that name, made if there is none. Raises RoomClosed once the hub is closed."""
        room = self._rooms.get(name)
        if room is not None and not room.closed:
            return room
        with self._opened:
            self._opened.wait_for(lambda: name not in self._opening)
            room = self._rooms.get(name)
            if room is not None and not room.closed:
                return room
            if self._closed:
                raise RoomClosed("the hub is closed")
            self._opening.add(name)
        return self._open(name)

    def find(self, name: str) -> Room:
        """The room of that name. Raises CommandError 102 where there is none."""
        room = self._rooms.get(name)
        if room is not None and not room.closed:
            return room
        if self._cluster.exists(name):
            return self.room(name)
        raise CommandError(ErrorCode.UNKNOWN_ROOM, f"unknown room {name}")

    def rooms(self) -> list[Room]:
        """All rooms that are open on this node."""
        with self._lock:
            return [room for room in self._rooms.values() if not room.closed]

    def list_rooms(self) -> list[RoomInfo]:
        """All rooms that there are, on any node."""
        here = [RoomInfo(room.name, room.people, room.fanout.head.offset) for room in self.rooms()]
        return self._cluster.rooms(here)

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
        """Offers what is in no log to those of a room's members who have room to spare, but one user's.

        Other nodes get the payload's `frame`, for what `on_whisper` was given.
        """

        def deliver() -> bool:
            room.fanout.whisper(payload, encode, but=but)
            return True

        self._routing.direct(deliver)
        self._cluster.whisper(room.name, payload.frame, but)

    def on_whisper(self, pass_on: PassOn) -> None:
        """Has whispers of other nodes passed on to a room's members here; must not block."""
        self._on_whisper = pass_on

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
        self._sessions.arrive(session)
        self._cluster.arrive(session.user)

    def depart(self, session: Session) -> None:
        """Forgets a session; does nothing where it never arrived."""
        if self._sessions.depart(session):
            assert session.user is not None
            self._cluster.depart(session.user)

    def is_online(self, user: UserId) -> bool:
        """Whether that user has a session on this node."""
        return user in self._sessions

    def about(self, user: UserId) -> str:
        """What that user says of themselves here, newest session first; empty where nothing was said."""
        sessions = self._sessions.of(user)
        return next((session.about for session in reversed(sessions) if session.about), "")

    def direct(self, to: UserId, message: str, *, sender: UserId | None = None, nickname: str = "") -> None:
        """Sends a message to every session of one person. No copy is kept and none comes back.

        Raises CommandError 108 where that person is not online, 111 where no session had room.
        """
        direct = Direct(sender=sender, to=to, nickname=nickname, message=message, time=int(time()))
        here: Reach = None
        if to in self._sessions:
            here = self._routing.direct(lambda: bool(self._sessions.offer(direct)))
        reach = self._cluster.direct(direct, here)
        if reach is None:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")
        if not reach:
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, f"user {to} takes no messages just now")

    def disconnect(self, user: UserId, code: int = CloseCode.FORCE_DISCONNECT) -> int:
        """Ends every connection of one person, on all nodes; returns how many there were."""
        return self._sessions.end(user, code) + self._cluster.disconnect(user, code)

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
        self.broker.close()  # first: what others go on with does not end with this node
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

    def _open(self, name: str) -> Room:
        """Makes the room of that name, while others who want it wait."""
        room = None
        try:
            room = self._make_room(name)
        finally:
            with self._opened:
                self._opening.discard(name)
                self._opened.notify_all()
                closed = self._closed
                if room is not None and not closed:
                    self._rooms[name] = room
                    for listener in self._listeners:
                        _listen(room, listener)
        if closed:
            room.close()
            raise RoomClosed("the hub is closed")
        self._expire_later(room, self._room_ttl)
        return room

    def _make_room(self, name: str) -> Room:
        channel = self.broker.open(name)
        return Room(
            name,
            request_buffer=self._request_buffer,
            history_size=self._history_size,
            history_bytes=self._history_bytes,
            send_timeout=self._send_timeout,
            announce_limit=self._announce_limit,
            channel=channel,
            presence=self._cluster.presence(channel, self._announce_limit),
            announce=self._routing.publish,
            clock=self._clock,
        )

    def _pass_on(self, room: str, frame: bytes, but: UserId) -> None:
        known = self._rooms.get(room)
        if known is not None and self._on_whisper is not None:
            self._on_whisper(known, frame, but)

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


def _listen(room: Room, listener: ListenerThread) -> None:
    with contextlib.suppress(RoomClosed):  # it went just now, and said nothing more
        name = f"{room.name}-listener"
        room.fanout.subscribe(listener.stream, events_of, name=name, background=True).start()
