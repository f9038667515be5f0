"""What one connection has in its rooms: a subscription in each, and a membership where it joined."""

from __future__ import annotations

import contextlib
import threading
from enum import Enum, auto
from typing import Any

from threadchat.chat.events import Position, UserId
from threadchat.chat.hub import Hub
from threadchat.chat.room import Room
from threadchat.chat.subscription import Filter, Subscription, enter
from threadchat.errors import CommandError, ErrorCode
from threadchat.server import packing, protocol
from threadchat.server.commands import Listen
from threadchat.wire.connection import Connection
from threadchat.wire.outbox import Answer
from threadchat.wire.requests import Text


def pass_on_whisper(room: Room, frame: bytes, but: UserId) -> None:
    """Offers what was typed on another node to a room's members of the native dialect here."""
    room.fanout.whisper(Text(frame), packing.NATIVE.values(), but=but)


class State(Enum):
    """Where a seat is. Guarded by the seats' lock."""

    OPENING = auto()  # its reader works on it: replies, starts, enters
    TAKEN = auto()
    ENDING = auto()  # somebody leaves the room for it, and nobody else does


class Seat:
    """One room's: `user` is None for one who only listens.

    Guarded by the seats' lock: `state`, and `evicted`, why it has to go once its reader is done with it.
    """

    __slots__ = ("evicted", "room", "state", "subscription", "user")

    def __init__(self, room: Room, subscription: Subscription, user: UserId | None) -> None:
        self.room = room
        self.subscription = subscription
        self.user = user
        self.state = State.OPENING
        self.evicted: str | None = None

    @property
    def member(self) -> bool:
        """Whether it came with `join`."""
        return self.user is not None


class Seats:
    """At most one a room, in so many rooms.

    Everything runs on the connection's reader thread but `evict`, which any thread may call. Whoever turns a
    seat to ENDING, with the lock, is the one who ends it, without the lock; a seat that its reader is still
    opening is handed over to the reader. So each ends exactly once, and nobody sits down anew in between.

    `_changed` guards `_seats` and what it says at Seat, and is told when one has ended; a leaf.
    """

    __slots__ = ("_changed", "_connection", "_hub", "_most", "_seats", "_session")

    def __init__(self, connection: Connection, hub: Hub, session: str, most: int) -> None:
        """`most` seats at once."""
        self._most = most
        self._connection = connection
        self._hub = hub
        self._session = session
        self._changed = threading.Condition(threading.Lock())
        self._seats: dict[str, Seat] = {}
        hub.on_whisper(pass_on_whisper)  # nobody hears any before there is a seat

    def __len__(self) -> int:
        return len(self._seats)

    def take(self, wish: Listen, user: UserId | None, marker: Text | None) -> Seat:
        """A new seat, whose subscription waits for its start; for a member, `user`. `settle` it in the end.

        Raises CommandError 105 where there is one, 106 where there are too many, 107 for an unknown event
        type, and RoomClosed.
        """
        name = wish.room
        protocol.check_types(wish.types)
        self._check_free(name)
        since = None if wish.since is None else Position(wish.since.offset, wish.since.epoch)

        def subscribe(room: Room) -> Seat:
            subscription = room.subscribe(
                self._connection,
                packing.NATIVE[self._connection.deflater],
                wanted=Filter(wish.types, wish.users),
                since=since,
                owner=user,
                name=f"{self._connection.number}-{name}",
                marker=marker,
            )
            return Seat(room, subscription, user)

        seat = self._hub.in_room(name, subscribe)
        with self._changed:
            self._seats[name] = seat
        return seat

    def settle(self, seat: Seat) -> None:
        """Told that the reader is done with opening a seat, however that went; evicts whom it has to."""
        with self._changed:
            if seat.state is not State.OPENING:
                return
            seat.state = State.TAKEN if seat.evicted is None else State.ENDING
        if seat.evicted is not None:
            self._end(seat, seat.evicted)

    def find(self, room: str, *, member: bool) -> Seat:
        """The seat in `room`. Raises CommandError 102 where there is none of that kind."""
        with self._changed:
            seat = self._seats.get(room)
            if seat is None or seat.member is not member or seat.state is State.ENDING:
                what = "a member of" if member else "subscribed to"
                raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not {what} room {room}")
            return seat

    def rename(self, nickname: str) -> None:
        """Tells the rooms where this is a member's seat."""
        with self._changed:
            seats = list(self._seats.values())
        for seat in seats:
            if seat.user is not None:
                seat.room.rename(seat.user, nickname, self._hub.about(seat.user))

    def give_up(self, seat: Seat) -> None:
        """Ends the subscription, and the membership if there is one; once it returns they have ended.

        Where somebody evicts meanwhile, it waits for that.
        """
        with self._changed:
            ours = seat.state is not State.ENDING
            if ours:
                seat.state = State.ENDING
            else:
                self._changed.wait_for(lambda: self._seats.get(seat.room.name) is not seat)
        if ours:
            self._end(seat)

    def give_up_all(self) -> None:
        """Leaves every room, whatever happens in one of them."""
        with self._changed:
            seats = list(self._seats.values())
        with contextlib.ExitStack() as stack:
            for seat in seats:
                stack.callback(self.give_up, seat)

    def evict(self, room: str, reason: str) -> bool:
        """Ends the seat in a room and says so to the peer; whether there was one. Runs on: any thread.

        May wait, as long as announcing it takes.
        """
        with self._changed:
            seat = self._seats.get(room)
            if seat is None or seat.state is State.ENDING:
                return False
            if seat.state is State.OPENING:
                seat.evicted = reason
                return True
            seat.state = State.ENDING
        self._end(seat, reason)
        return True

    # Helpers

    def _check_free(self, name: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_ending_locked(name))
            seat = self._seats.get(name)
        if seat is not None:
            if not seat.room.closed:
                how = "joined" if seat.member else "subscribed to"
                raise CommandError(ErrorCode.ALREADY, f"{how} room {name} already")
            self.give_up(seat)
        elif len(self) >= self._most:
            reason = f"in {self._most} rooms already, as many as one connection may be (rooms_per_connection)"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"{reason}; leave one first")

    def _is_ending_locked(self, name: str) -> bool:
        seat = self._seats.get(name)
        return seat is not None and seat.state is State.ENDING

    def _end(self, seat: Seat, evicted: str | None = None) -> None:
        """Leaves the room, and tells one who is evicted why. Runs on: whoever turned the seat to ENDING."""
        try:
            seat.subscription.stop()
            if seat.user is not None:
                with contextlib.suppress(CommandError):  # it did not get as far as being a member
                    seat.room.leave(seat.user, self._session)
            if evicted is not None:
                self._tell(seat.room.name, evicted)  # before anybody may sit down anew
        finally:
            with self._changed:
                del self._seats[seat.room.name]
                self._changed.notify_all()

    def _tell(self, room: str, reason: str) -> None:
        listed: list[Any] = []
        answer = self._connection.offer(protocol.kicked_text(room, reason), listed)
        enter(listed)
        if answer is Answer.NO:  # too slow to be told: it comes back, and finds out
            self._connection.fall_behind()
