"""The rooms of one connection: its subscription in each, and its membership where it joined."""

from __future__ import annotations

import contextlib
import threading
from enum import Enum, auto
from functools import partial

from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.subscription import Filter, Subscription
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position, UserId
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.budgets.account import Account
from threadchat.server.budgets.budgets import Budget
from threadchat.server.protocol import compression, encoding
from threadchat.server.protocol.commands import Listen
from threadchat.wire.connection import Connection
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text


def pass_on_whisper(room: Room, frame: bytes, but: UserId) -> None:
    """Offers a whisper from another node (who is typing) to the room's members here on the native dialect."""
    room.fanout.whisper(Text(frame), compression.NATIVE.values(), but=but)


class State(Enum):
    """The state of a membership. Guarded by the lock of `Memberships`."""

    OPENING = auto()  # its opener replies, starts the subscription, and enters the room
    OPEN = auto()
    ENDING = auto()  # one thread is ending it


class Membership:
    """A session's subscription in one room. `user` is the member, or None if it only subscribed.

    The lock of `Memberships` guards `state` and `evicted`. If `evicted` is set, the membership ends with that
    reason as soon as its opener has finished opening it.
    """

    __slots__ = ("evicted", "held", "opener", "room", "state", "subscription", "user")

    def __init__(
        self, room: Room, subscription: Subscription, user: UserId | None, held: list[Account]
    ) -> None:
        self.room = room
        self.subscription = subscription
        self.user = user
        self.held = held  # the accounts that count it
        self.state = State.OPENING
        self.opener = threading.get_ident()  # the thread that opens it
        self.evicted: str | None = None

    @property
    def member(self) -> bool:
        """Whether it began with `join`, not with `subscribe`."""
        return self.user is not None


class Memberships:
    """The memberships of one session: at most one per room, in a limited number of rooms.

    Mostly used by the connection's reader. `open`, `finish_opening`, `leave` and `evict` may run on any
    thread, because the application uses them too. A thread sets a membership to ENDING under the lock, and
    then ends it without the lock. If a membership is evicted while it is OPENING, its opener ends it; other
    threads that want to close it wait until it is open. So each membership ends exactly once, and no other
    begins in the same room before that.

    `_changed` guards `_memberships`, `_ended`, and the fields named at `Membership`; it is a leaf. It is
    notified when a membership has opened or ended. `_opening` lets one thread at a time open a membership.
    """

    __slots__ = (
        "_budget",
        "_changed",
        "_connection",
        "_ended",
        "_hub",
        "_memberships",
        "_most",
        "_opening",
        "_session",
        "producer",
    )

    def __init__(self, connection: Connection, hub: Hub, session: str, most: int, budget: Budget) -> None:
        """`most` is the limit of memberships at once. They also count in the session's budget."""
        self._most = most
        self._budget = budget
        self._connection = connection
        self._hub = hub
        self._session = session
        self.producer = Producer(str(connection.number), budget)  # for all subscriptions, also the inbox
        self._changed = threading.Condition(threading.Lock())
        self._opening = threading.Lock()
        self._ended = False  # the connection has ended; no membership begins any more
        self._memberships: dict[str, Membership] = {}
        hub.on_whisper(pass_on_whisper)  # set here, because whispers only reach memberships

    def __len__(self) -> int:
        return len(self._memberships)

    def names(self) -> list[str]:
        """The names of the rooms. Runs on: any thread."""
        with self._changed:
            return list(self._memberships)

    def open(self, command: Listen, user: UserId | None, marker: Text | None) -> Membership:
        """Makes a membership whose subscription is not started yet. `finish_opening` must follow.

        `user` is the member, or None to subscribe only. Raises CommandError 105 if there is a membership in
        the room, 106 if there are too many, here or over all connections of the person or the address, 107
        for an unknown event type, and RoomClosed.
        """
        encoding.check_filter(command.types, command.names)
        with self._opening:
            self._check_free(command.room)
            held = self._budget.hold("subscriptions")
            try:
                return self._open(command, user, marker, held)
            except BaseException:
                self._budget.release("subscriptions", held)
                raise

    def _open(
        self, command: Listen, user: UserId | None, marker: Text | None, held: list[Account]
    ) -> Membership:
        name = command.room
        since = None if command.since is None else Position(command.since.offset, command.since.epoch)

        def subscribe(room: Room) -> Membership:
            if since is not None:
                room.channel.await_event(since)
            subscription = room.subscribe(
                self._connection,
                compression.NATIVE[self._connection.deflater],
                wanted=Filter(command.types, command.users, command.names),
                since=since,
                owner=user,
                name=f"{self._connection.number}-{name}",
                marker=marker,
                producer=self.producer,
                session=self._session,
            )
            return Membership(room, subscription, user, held)

        membership = self._hub.in_room(name, subscribe, self._budget.openers)
        with self._changed:
            if not self._ended:
                self._memberships[name] = membership
                return membership
        membership.subscription.stop()
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the connection has ended")

    def finish_opening(self, membership: Membership) -> None:
        """Called when the opener is done, even if it failed. Ends the membership if it was evicted."""
        with self._changed:
            if membership.state is not State.OPENING:
                return
            membership.state = State.OPEN if membership.evicted is None else State.ENDING
            self._changed.notify_all()
        if membership.evicted is not None:
            self._end(membership, membership.evicted)

    def find(self, room: str, *, member: bool) -> Membership:
        """The membership in `room`. Raises CommandError 102 if there is none of that kind."""
        with self._changed:
            membership = self._memberships.get(room)
            if membership is None or membership.member is not member or membership.state is State.ENDING:
                what = "a member of" if member else "subscribed to"
                raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not {what} room {room}")
            return membership

    def leave(self, room: str, *, member: bool) -> bool:
        """Ends the membership in a room; returns False if there is none of that kind. Runs on: any thread."""
        try:
            membership = self.find(room, member=member)
        except CommandError:
            return False
        self.close(membership)
        return True

    def rename(self, nickname: str) -> None:
        """Changes the nickname in all rooms that the session joined."""
        with self._changed:
            memberships = list(self._memberships.values())
        for membership in memberships:
            if membership.user is not None:
                membership.room.rename(membership.user, nickname, self._hub.about(membership.user))

    def close(self, membership: Membership) -> None:
        """Ends a membership and its subscription, or waits for the thread that is already ending it.

        Both have ended when this returns.
        """
        with self._changed:
            # If another thread is opening it, wait until it is open, or its user would stay in the room.
            self._changed.wait_for(
                lambda: membership.state is not State.OPENING or membership.opener == threading.get_ident()
            )
            ours = membership.state is not State.ENDING
            if ours:
                membership.state = State.ENDING
            else:
                self._changed.wait_for(lambda: self._memberships.get(membership.room.name) is not membership)
        if ours:
            self._end(membership)

    def close_all(self, *, ended: bool = True) -> None:
        """Ends every membership, even if one of them fails. With `ended`, no other can begin afterwards."""
        with self._changed:
            self._ended = ended
            memberships = list(self._memberships.values())
        with contextlib.ExitStack() as stack:
            for membership in memberships:
                stack.callback(self.close, membership)

    def evict(self, room: str, reason: str) -> bool:
        """Ends the membership in a room and tells the peer; returns whether there was one.

        May wait while the room announces it. Runs on: any thread.
        """
        with self._changed:
            membership = self._memberships.get(room)
            if membership is None or membership.state is State.ENDING:
                return False
            if membership.state is State.OPENING:
                membership.evicted = reason
                return True
            membership.state = State.ENDING
        self._end(membership, reason)
        return True

    # Helpers

    def _check_free(self, name: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_ending_locked(name))
            membership = self._memberships.get(name)
        if membership is not None:
            if not membership.room.closed:
                how = "joined" if membership.member else "subscribed to"
                raise CommandError(ErrorCode.ALREADY, f"{how} room {name} already")
            self.close(membership)
        elif len(self) >= self._most:
            reason = f"in {self._most} rooms already, the limit for one connection (rooms_per_connection)"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"{reason}; leave one first")

    def _is_ending_locked(self, name: str) -> bool:
        membership = self._memberships.get(name)
        return membership is not None and membership.state is State.ENDING

    def _end(self, membership: Membership, evicted: str | None = None) -> None:
        """Leaves the room, and tells the peer why if it was evicted.

        Runs on: the thread that set the state to ENDING.
        """
        try:
            membership.subscription.stop()
            if membership.user is not None:
                with contextlib.suppress(CommandError):  # opening failed before it became a member
                    membership.room.leave(membership.user, self._session)
            if evicted is not None:
                self._tell(membership.room.name, evicted)  # before another membership can begin here
        finally:
            with self._changed:
                del self._memberships[membership.room.name]
                self._changed.notify_all()
            self._budget.release("subscriptions", membership.held)

    def _tell(self, room: str, reason: str) -> None:
        answer = entering(partial(self._connection.offer, encoding.kicked_text(room, reason)))
        if answer is Answer.NO:  # the outbox is full; the client reconnects and then finds out
            self._connection.fall_behind()
