"""What one connection has in its rooms: a subscription in each, and a membership where it joined."""

from __future__ import annotations

import contextlib

from threadchat.chat.events import Position, UserId
from threadchat.chat.hub import Hub
from threadchat.chat.room import Room
from threadchat.chat.subscription import Filter, Subscription
from threadchat.errors import CommandError, ErrorCode
from threadchat.server import protocol
from threadchat.server.commands import Listen
from threadchat.wire.connection import Connection
from threadchat.wire.requests import Text


def pass_on_whisper(room: Room, frame: bytes, but: UserId) -> None:
    """Offers what was typed on another node to a room's members of the native dialect here."""
    room.fanout.whisper(Text(frame), protocol.native_events, but=but)


class Seat:
    """One room's: `user` is None for one who only listens."""

    __slots__ = ("room", "subscription", "user")

    def __init__(self, room: Room, subscription: Subscription, user: UserId | None) -> None:
        self.room = room
        self.subscription = subscription
        self.user = user

    @property
    def member(self) -> bool:
        """Whether it came with `join`."""
        return self.user is not None


class Seats:
    """At most one a room, in any number of rooms. Everything runs on the connection's reader thread."""

    __slots__ = ("_connection", "_hub", "_seats", "_session")

    def __init__(self, connection: Connection, hub: Hub, session: str) -> None:
        self._connection = connection
        self._hub = hub
        self._session = session
        self._seats: dict[str, Seat] = {}
        hub.on_whisper(pass_on_whisper)  # nobody hears any before there is a seat

    def take(self, wish: Listen, user: UserId | None, marker: Text | None) -> Seat:
        """A new seat, whose subscription waits for its start; for a member, `user`.

        Raises CommandError 105 where there is one, 107 for an unknown event type, and RoomClosed.
        """
        name = wish.room
        protocol.check_types(wish.types)
        seat = self._seats.get(name)
        if seat is not None:
            if not seat.room.closed:
                how = "joined" if seat.member else "subscribed to"
                raise CommandError(ErrorCode.ALREADY, f"{how} room {name} already")
            self.give_up(name)
        since = None if wish.since is None else Position(wish.since.offset, wish.since.epoch)

        def subscribe(room: Room) -> Seat:
            subscription = room.subscribe(
                self._connection,
                protocol.native_events,
                wanted=Filter(wish.types, wish.users),
                since=since,
                owner=user,
                name=f"{self._connection.number}-{name}",
                marker=marker,
            )
            return Seat(room, subscription, user)

        seat = self._seats[name] = self._hub.in_room(name, subscribe)
        return seat

    def find(self, room: str, *, member: bool) -> Seat:
        """The seat in `room`. Raises CommandError 102 where there is none of that kind."""
        seat = self._seats.get(room)
        if seat is None or seat.member is not member:
            what = "a member of" if member else "subscribed to"
            raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not {what} room {room}")
        return seat

    def rename(self, nickname: str) -> None:
        """Tells the rooms where this is a member's seat."""
        for seat in self._seats.values():
            if seat.user is not None:
                seat.room.rename(seat.user, nickname, self._hub.about(seat.user))

    def give_up(self, room: str) -> None:
        """Ends the subscription in `room`, and the membership if there is one. The seat exists."""
        seat = self._seats.pop(room)
        seat.subscription.stop()
        if seat.user is not None:
            with contextlib.suppress(CommandError):  # it did not get as far as being a member
                seat.room.leave(seat.user, self._session)

    def give_up_all(self) -> None:
        """Leaves every room, whatever happens in one of them."""
        with contextlib.ExitStack() as stack:
            for room in self._seats:
                stack.callback(self.give_up, room)
