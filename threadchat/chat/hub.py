"""The rooms by name, and the people by id: who is online, and on which sessions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from threadchat.chat.access.revocations import Revocations
from threadchat.chat.access.sanctions import BAN, Sanction
from threadchat.chat.broker_interface import Alone, Broker, Cluster, RoomInfo
from threadchat.chat.delivery.listener import Listener
from threadchat.chat.delivery.live_delivery import Batching
from threadchat.chat.delivery.stream import REQUEST_BUFFER, SEND_TIMEOUT, SharedStream
from threadchat.chat.delivery.subscription import Encode
from threadchat.chat.inboxes import NO_INBOXES, Inboxes, InboxRules, passing_event
from threadchat.chat.log.events import Draft, Event, Position, UserId, is_inbox
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE
from threadchat.chat.memory_budget import MemoryBudget
from threadchat.chat.message_changes import MessageChanges
from threadchat.chat.reading import Reading
from threadchat.chat.room import ANNOUNCE_LIMIT, Room
from threadchat.chat.room_list import RoomList, RoomListing
from threadchat.chat.room_registry import RoomRegistry, Schedule
from threadchat.chat.room_shares import NOBODY, Openers
from threadchat.chat.routing import Directory, Routing
from threadchat.chat.user_directory import Session, UserDirectory
from threadchat.errors import CloseCode, CommandError, ConfigError, ErrorCode, RoomClosed
from threadchat.wire.threads.forking import Forked, begin_anew_after_fork

ROOM_TTL: Final = 300.0
"""Seconds after which an empty, idle room is forgotten together with its log."""

Result = TypeVar("Result")
PassOn = Callable[[Room, bytes, UserId], object]
"""Offers a frame that another node whispered to a room's members on this node, except one user."""


class Hub(Inboxes, MessageChanges, Reading):
    """Creates rooms when they are first used, and forgets them when they have been empty for `room_ttl`.

    Any thread may call any method. If the broker is a Cluster, rooms and people are those of all its nodes.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        routing: Routing | None = None,
        schedule: Schedule | None = None,
        room_ttl: float = ROOM_TTL,
        max_rooms: int = 0,
        reserved: Collection[str] = (),
        request_buffer: int = REQUEST_BUFFER,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        logs_bytes: int = 0,
        send_timeout: float = SEND_TIMEOUT,
        announce_limit: int | None = ANNOUNCE_LIMIT,
        fell_behind: Callable[[int], object] = int,
        inboxes: InboxRules = NO_INBOXES,
        batching: Batching | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`broker` keeps the logs, for example a MemoryBroker. Without `schedule`, a pinger's `call_later`,
        no room is forgotten and `logs_bytes`, the limit for the memory of all logs (0: none), has no effect.
        At most `max_rooms` rooms may be open (0: any number), not counting the `reserved` ones. `fell_behind`
        is told, on any thread, how many live subscriptions fell behind. `inboxes` says who has an inbox, and
        `batching` which events of the application are offered together. The other arguments are as for Room.
        """
        self.broker = broker
        if not hasattr(broker, "sanctions"):
            raise ConfigError(
                f"broker is a {type(broker).__name__}; it must be a broker: write Hub(MemoryBroker())"
            )
        self._routing = routing or Directory()
        self._request_buffer = request_buffer
        self._history_size = history_size
        self._history_bytes = history_bytes
        self._send_timeout = send_timeout
        self._announce_limit = announce_limit
        self._fell_behind = fell_behind
        self._inbox_rules, self.keeps_inbox = inboxes, inboxes.keeps
        self._batching = batching
        self._clock = clock
        self._cluster: Cluster = broker if isinstance(broker, Cluster) else Alone()
        self._sessions = UserDirectory()
        self._cluster.connect(self._sessions, self._pass_on, self.open_inbox)
        self.sanctions = broker.sanctions
        self.sanctions.connect(self._carry_out)
        self.revocations = Revocations(broker.revocations, self._sessions.of)
        self._on_whisper: PassOn | None = None
        self._rooms = RoomRegistry(
            self._make_room, schedule, room_ttl, inboxes.ttl, most=max_rooms, always=reserved
        )
        self._list = RoomList(self._make_list, clock)
        self._parts: list[Forked] = [broker, self._routing, self._sessions, self._rooms, self._list]
        if schedule is not None and logs_bytes:
            budget = MemoryBudget(self._rooms.all, schedule, logs_bytes, self._rooms.by_opener)
            self._parts.append(budget.rounds)
            self._rooms.opened = budget.watch
        begin_anew_after_fork(self)

    # Rooms

    def room(self, name: str, openers: Openers = NOBODY) -> Room:
        """Returns the room of that name; a new one counts for `openers`. Raises RoomClosed after `close`.

        Raises CommandError 106, temporary, if a limit of rooms is reached and none of them is empty.
        """
        return self._rooms.open(name, openers)

    def find(self, name: str, openers: Openers = NOBODY) -> Room:
        """Returns the room of that name. Raises CommandError 102 if it does not exist."""
        if self.exists(name):
            return self.room(name, openers)
        raise CommandError(ErrorCode.UNKNOWN_ROOM, f"unknown room {name}")

    def rooms(self) -> list[Room]:
        """All rooms that are open on this node."""
        return self._rooms.all()

    def list_rooms(self) -> RoomListing:
        """All rooms on all nodes, the fullest first. See RoomList."""
        return self._list.get()

    def in_room(self, name: str, action: Callable[[Room], Result], openers: Openers = NOBODY) -> Result:
        """Calls `action` with the room of that name; if it just closed, again with a new one.

        Raises RoomClosed once the hub is closed.
        """
        while True:
            room = self.room(name, openers)
            try:
                return action(room)
            except RoomClosed:
                if not room.closed:
                    raise

    def publish(self, name: str, drafts: Sequence[Draft], openers: Openers = NOBODY) -> list[Position]:
        """Publishes in the room of that name. Raises RoomClosed once the hub is closed."""
        return self.in_room(name, lambda room: self._routing.publish(room, drafts), openers)

    def whisper(self, room: Room, payload: Any, encoders: Collection[Encode], *, but: UserId) -> None:
        """Offers a payload that is in no log to members with plenty of room, except the user `but`.

        `encoders` are those of the members who understand it. Other nodes get the payload's `frame`.
        """

        def deliver() -> bool:
            room.fanout.whisper(payload, encoders, but=but)
            return True

        self._routing.direct(deliver)
        self._cluster.whisper(room.name, payload.frame, but)

    def on_whisper(self, pass_on: PassOn) -> None:
        """Sets the callback that passes other nodes' whispers to members on this node. It must not block."""
        self._on_whisper = pass_on

    def close_room(self, name: str) -> None:
        """Closes a room with a last event. Its name is then free for a new room. Raises CommandError 102."""
        self.find(name).close()

    def attach_listener(self, listener: Listener | Callable[[Event], object]) -> None:
        """Calls `listener` for every event of every room from now on, on a thread of its own.

        Raises RoomClosed once the hub is closed, and ConfigError if `listener` does not take an event.
        """
        self._rooms.attach(listener, SharedStream(self._request_buffer, self._send_timeout))

    # People

    def attend(self, session: Session) -> None:
        """Notes a session that has no user yet, so that a ban of its address ends it. `depart` forgets it."""
        self._sessions.attend(session)

    def arrive(self, session: Session) -> None:
        """Notes that a session's user is online. The session's `user` must be set."""
        assert session.user is not None
        self._sessions.arrive(session)
        self._cluster.arrive(session.user)

    def depart(self, session: Session) -> None:
        """Forgets a session and its user."""
        self._sessions.leave(session)
        self.disown(session)

    def disown(self, session: Session) -> None:
        """Forgets a session's user. Does nothing if the session never arrived."""
        if self._sessions.depart(session):
            assert session.user is not None
            self._cluster.depart(session.user)

    def is_online(self, user: UserId) -> bool:
        """Whether the user has a session on this node."""
        return user in self._sessions

    def about(self, user: UserId) -> str:
        """What the user says of themselves on this node; the newest session counts first. May be empty."""
        sessions = self._sessions.of(user)
        return next((session.about for session in reversed(sessions) if session.about), "")

    def disconnect(
        self, user: UserId, code: int = CloseCode.FORCE_DISCONNECT, reason: str | None = None
    ) -> int:
        """Closes every connection of one person, on all nodes. Returns how many there were.

        The peers get `reason`, or the default reason of the code.
        """
        return self._sessions.end(user, code, reason) + self._cluster.disconnect(user, code, reason)

    def kick(self, user: UserId, room: str, reason: str = "") -> int:
        """Ends one person's membership or subscription in a room, on all nodes. They may come back.

        Returns the number of sessions that had one. Blocks while this is announced.
        """
        return self._sessions.evict(user, room, reason) + self._cluster.kick(user, room, reason)

    def addresses(self, user: UserId) -> set[str]:
        """The addresses of one person's connections, on all nodes."""
        return self._sessions.addresses(user) | self._cluster.addresses(user)

    # The end

    def leave_behind(self) -> None:
        """Starts again, empty. Runs on: the only thread of a forked process, before anything else."""
        for part in self._parts:
            part.leave_behind()

    def close(self, timeout: float | None = None) -> bool:
        """Closes all rooms and ends every thread of the hub. Listeners still get the events that are waiting.

        Returns False if a listener needs more than `timeout` seconds for that (None: `send_timeout`).
        """
        deadline = monotonic() + (self._send_timeout if timeout is None else timeout)
        rooms, listeners = self._rooms.close()
        self.broker.close()  # first, so that rooms of other nodes do not end with this node
        for room in rooms:
            room.close()
            for listener in listeners:  # a stream may hold fewer events than there are rooms
                listener.stream.hold(max(0.0, deadline - monotonic()))
        self._routing.close()
        for listener in listeners:
            listener.stream.close()
            listener.thread.join(max(0.0, deadline - monotonic()))
        return not any(listener.thread.is_alive() for listener in listeners)

    # Helpers

    def _make_room(self, name: str) -> Room:
        channel = self.broker.open(name)
        room = Room(
            name,
            request_buffer=self._request_buffer,
            history_size=self._inbox_rules.size if is_inbox(name) else self._history_size,
            history_bytes=self._history_bytes,
            send_timeout=self._send_timeout,
            announce_limit=self._announce_limit,
            channel=channel,
            presence=self._cluster.presence(channel, self._announce_limit),
            announce=self._routing.publish,
            clock=self._clock,
        )
        room.fanout.fell_behind = self._fell_behind
        room.fanout.batching = self._batching
        return room

    def _make_list(self) -> list[RoomInfo]:
        here = [RoomInfo(room.name, room.people, room.fanout.head.offset) for room in self.rooms()]
        return self._cluster.rooms([info for info in here if not is_inbox(info.name)])

    def _carry_out(self, sanction: Sanction) -> None:
        if sanction.kind == BAN:
            self._sessions.carry_out(sanction, self.sanctions.covers)

    def _pass_on(self, room: str, frame: bytes, but: UserId) -> None:
        known = self._rooms.get(room)
        if (told := passing_event(frame)) is not None:
            self.receive_event(room, told)
        elif known is not None and self._on_whisper is not None:
            self._on_whisper(known, frame, but)
