"""What one connection has in its rooms: a subscription in each, and a membership where it joined."""

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
from threadchat.server.protocol import encoding
from threadchat.server.protocol.commands import Listen
from threadchat.server.session import compression
from threadchat.wire.connection import Connection
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text


def pass_on_whisper(room: Room, frame: bytes, but: UserId) -> None:
    """Offers what was typed on another node to a room's members of the native dialect here."""
    room.fanout.whisper(Text(frame), compression.NATIVE.values(), but=but)


class State(Enum):
    """Where a membership is. Guarded by the memberships' lock."""

    OPENING = auto()  # its reader works on it: replies, starts, enters
    TAKEN = auto()
    ENDING = auto()  # somebody leaves the room for it, and nobody else does


class Membership:
    """What a session has in one room. `user` is None where it only listens.

    The lock of `Memberships` guards `state` and `evicted`. `evicted` is the reason why the membership ends as
    soon as its reader has finished opening it.
    """

    __slots__ = ("evicted", "opener", "room", "state", "subscription", "user")

    def __init__(self, room: Room, subscription: Subscription, user: UserId | None) -> None:
        self.room = room
        self.subscription = subscription
        self.user = user
        self.state = State.OPENING
        self.opener = threading.get_ident()  # the thread that works on it while it is OPENING
        self.evicted: str | None = None

    @property
    def member(self) -> bool:
        """Whether it came with `join`."""
        return self.user is not None


class Memberships:
    """The rooms that one session is in: at most one membership a room, and a limited number of rooms.

    Mostly used by the connection's reader; but `evict`, and what the application has one do (`take`,
    `settle` and `leave`), may run on any thread. The thread that sets a membership to ENDING holds the lock
    while it does so, and then ends it without the lock. A membership that is still being opened is evicted by
    the thread that opens it, and any other thread that wants to give it up waits for that. So each one ends
    exactly once, and no second one begins in the same room before that.

    `_changed` guards `_memberships`, `_ended` and what it says at Membership, and is told when one has been
    opened or has ended; a leaf. `_taking` lets one thread at a time take a membership.
    """

    __slots__ = (
        "_changed",
        "_connection",
        "_ended",
        "_hub",
        "_memberships",
        "_most",
        "_session",
        "_taking",
        "producer",
    )

    def __init__(self, connection: Connection, hub: Hub, session: str, most: int) -> None:
        """`most` memberships at once."""
        self._most = most
        self._connection = connection
        self._hub = hub
        self._session = session
        self.producer = Producer(str(connection.number))  # of all its subscriptions, the inbox too
        self._changed = threading.Condition(threading.Lock())
        self._taking = threading.Lock()
        self._ended = False  # the connection is over: nobody sits down any more
        self._memberships: dict[str, Membership] = {}
        hub.on_whisper(pass_on_whisper)  # nobody hears any before there is a membership

    def __len__(self) -> int:
        return len(self._memberships)

    def take(self, wish: Listen, user: UserId | None, marker: Text | None) -> Membership:
        """Makes a membership, its subscription not started yet. A member has a `user`. `settle` must follow.

        Raises CommandError 105 where there is one, 106 where there are too many, 107 for an unknown event
        type, and RoomClosed.
        """
        encoding.check_filter(wish.types, wish.names)
        with self._taking:
            self._check_free(wish.room)
            return self._take(wish, user, marker)

    def _take(self, wish: Listen, user: UserId | None, marker: Text | None) -> Membership:
        name = wish.room
        since = None if wish.since is None else Position(wish.since.offset, wish.since.epoch)

        def subscribe(room: Room) -> Membership:
            subscription = room.subscribe(
                self._connection,
                compression.NATIVE[self._connection.deflater],
                wanted=Filter(wish.types, wish.users, wish.names),
                since=since,
                owner=user,
                name=f"{self._connection.number}-{name}",
                marker=marker,
                producer=self.producer,
                session=self._session,
            )
            return Membership(room, subscription, user)

        membership = self._hub.in_room(name, subscribe)
        with self._changed:
            if not self._ended:
                self._memberships[name] = membership
                return membership
        membership.subscription.stop()
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the connection is over")

    def settle(self, membership: Membership) -> None:
        """Told that the reader has opened a membership, or failed to; evicts it where that was asked."""
        with self._changed:
            if membership.state is not State.OPENING:
                return
            membership.state = State.TAKEN if membership.evicted is None else State.ENDING
            self._changed.notify_all()
        if membership.evicted is not None:
            self._end(membership, membership.evicted)

    def find(self, room: str, *, member: bool) -> Membership:
        """The membership in `room`. Raises CommandError 102 where there is none of that kind."""
        with self._changed:
            membership = self._memberships.get(room)
            if membership is None or membership.member is not member or membership.state is State.ENDING:
                what = "a member of" if member else "subscribed to"
                raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not {what} room {room}")
            return membership

    def leave(self, room: str, *, member: bool) -> bool:
        """Gives up the membership in a room; False where there is none of that kind. Runs on: any thread."""
        try:
            membership = self.find(room, member=member)
        except CommandError:
            return False
        self.give_up(membership)
        return True

    def rename(self, nickname: str) -> None:
        """Tells the rooms where this is a member's membership."""
        with self._changed:
            memberships = list(self._memberships.values())
        for membership in memberships:
            if membership.user is not None:
                membership.room.rename(membership.user, nickname, self._hub.about(membership.user))

    def give_up(self, membership: Membership) -> None:
        """Ends the subscription, and the membership if there is one; once it returns they have ended.

        Where somebody evicts meanwhile, it waits for that.
        """
        with self._changed:
            # What another thread is opening becomes a membership first, or its person would stay in the room.
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

    def give_up_all(self, *, ended: bool = True) -> None:
        """Leaves every room, whatever happens in one of them; nobody sits down any more once it `ended`."""
        with self._changed:
            self._ended = ended
            memberships = list(self._memberships.values())
        with contextlib.ExitStack() as stack:
            for membership in memberships:
                stack.callback(self.give_up, membership)

    def evict(self, room: str, reason: str) -> bool:
        """Ends the membership in a room and says so to the peer; whether there was one. Runs on: any thread.

        May wait, as long as announcing it takes.
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
            self.give_up(membership)
        elif len(self) >= self._most:
            reason = f"in {self._most} rooms already, as many as one connection may be (rooms_per_connection)"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"{reason}; leave one first")

    def _is_ending_locked(self, name: str) -> bool:
        membership = self._memberships.get(name)
        return membership is not None and membership.state is State.ENDING

    def _end(self, membership: Membership, evicted: str | None = None) -> None:
        """Leaves the room; tells somebody who is evicted why. Runs on: the thread that set it to ENDING."""
        try:
            membership.subscription.stop()
            if membership.user is not None:
                with contextlib.suppress(CommandError):  # it did not get as far as being a member
                    membership.room.leave(membership.user, self._session)
            if evicted is not None:
                self._tell(membership.room.name, evicted)  # before anybody may sit down anew
        finally:
            with self._changed:
                del self._memberships[membership.room.name]
                self._changed.notify_all()

    def _tell(self, room: str, reason: str) -> None:
        answer = entering(partial(self._connection.offer, encoding.kicked_text(room, reason)))
        if answer is Answer.NO:  # too slow to be told: it comes back, and finds out
            self._connection.fall_behind()
