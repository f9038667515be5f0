"""The native dialect's session: does every command of the protocol's table."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from threadchat import __version__
from threadchat.chat.events import MESSAGE, Direct, Draft, Position
from threadchat.chat.hub import Hub
from threadchat.chat.room import Room
from threadchat.chat.subscription import Filter, Subscription
from threadchat.config import Config
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, RoomClosed
from threadchat.server import protocol, resume
from threadchat.server.protocol import BROADCAST_ROOM, CommandId
from threadchat.server.session import Session
from threadchat.wire.connection import Connection, ConnectionState
from threadchat.wire.requests import Text

log = logging.getLogger(__name__)


class Seat:
    """What one connection has in one room: a subscription, and a membership if it joined."""

    __slots__ = ("member", "room", "subscription")

    def __init__(self, room: Room, subscription: Subscription, member: bool) -> None:
        self.room = room
        self.subscription = subscription
        self.member = member


class NativeSession(Session):
    """A connection on `/chat`: hello, profile, then rooms and people.

    Messages to one room that came in together are published together: the room is locked once, and
    each outbox too.
    """

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(connection, hub, config, clock=clock)
        self.session = secrets.token_hex(8)
        self._seats: dict[str, Seat] = {}
        self._unpublished: list[protocol.Message] = []
        self._unpublished_bytes = 0
        # A quarter of an outbox: what is over three quarters full says so, what is not has room for it.
        self._most_together = max(1, config.outbox_messages // 4)
        self._most_bytes_together = config.outbox_bytes // 4

    # The lifecycle

    def begin(self) -> None:
        """Waits for hello, and for a profile after it."""
        self.expire("hello", self._config.hello_timeout, CloseCode.STALE)

    def end(self) -> None:
        """Leaves every room; what was not published yet is dropped with the connection."""
        for name in list(self._seats):
            self._give_up_seat(name)

    def handle(self, text: str) -> None:
        """Does one command, or keeps a message until the burst ends."""
        try:
            command = protocol.decode_command(text)
        except protocol.BadCommand as error:
            self._publish()
            self._refuse(error, error.id)
            return
        if type(command) is protocol.Message and self._may_speak(command.room):
            self._keep(command)
            return
        self._publish()
        self._answer(command.id, lambda: self._do(command))

    def burst_ended(self) -> None:
        """Publishes what came in together."""
        self._publish()

    def encode_direct(self, direct: Direct) -> Text:
        """See Session."""
        return protocol.native_direct(direct)

    # Replies

    def _answer(self, command_id: CommandId, action: Callable[[], dict[str, Any] | None]) -> None:
        """Sends what `action` returns, or why it failed; None: it has replied by itself."""
        try:
            fields = action()
        except ConnectionClosed:
            raise
        except Exception as failure:
            self._refuse(self._as_error(failure), command_id)
        else:
            if fields is not None:
                self._reply(command_id, fields)

    def _as_error(self, failure: Exception) -> CommandError:
        if isinstance(failure, CommandError):
            return failure
        if isinstance(failure, RoomClosed):
            return CommandError(ErrorCode.NOT_AVAILABLE, "the server is closing")
        log.error(
            "connection %d (%s): a command failed",
            self.connection.number,
            self.connection.label,
            exc_info=failure,
        )
        return CommandError(ErrorCode.INTERNAL)

    def _reply(self, command_id: CommandId, fields: dict[str, Any]) -> None:
        if command_id is not None:
            self.connection.send(Text(protocol.ok_frame(command_id, **fields)))

    def _refuse(self, error: CommandError, command_id: CommandId) -> None:
        self.connection.send(protocol.error_text(error, command_id))
        self.count_error()

    # Who one is

    def _do(self, command: protocol.AnyCommand) -> dict[str, Any] | None:
        if self.user is None and not isinstance(command, (protocol.Hello, protocol.Ping)):
            raise CommandError(ErrorCode.UNAUTHORIZED, "say hello first")
        if not self.nickname and isinstance(command, _NEED_PROFILE):
            raise CommandError(ErrorCode.PERMISSION_DENIED, "choose a nickname first, with profile")
        if isinstance(command, (protocol.InRoom, protocol.Listen)) and command.room == BROADCAST_ROOM:
            raise CommandError(
                ErrorCode.PERMISSION_DENIED, f"{BROADCAST_ROOM} is the broadcast endpoint's room"
            )
        return _HANDLERS[type(command)](self, command)

    def _hello(self, command: protocol.Hello) -> dict[str, Any] | None:
        if self.user is not None:
            raise CommandError(ErrorCode.ALREADY, "said hello already")
        if command.token is not None:
            self.connection.close(CloseCode.INVALID_TOKEN)
            return None
        key = self.hub.broker.resume_key
        known = resume.verify(key, command.resume, time.time()) if command.resume else None
        self.nickname = command.nickname or (known.nickname if known else "")
        self.connection.deadlines.clear("hello")
        self.arrive(known.user if known else self.hub.broker.new_user())
        if self.nickname:
            self._enter_chat()
        else:
            self.expire("profile", self._config.profile_timeout, CloseCode.STALE)
        assert self.user is not None
        return {
            "user": self.user,
            "session": self.session,
            "resume": self._resume_token(),
            "version": __version__,
        }

    def _profile(self, command: protocol.Profile) -> dict[str, Any]:
        assert self.user is not None
        self.nickname = command.nickname
        self.about = command.about
        self.connection.deadlines.clear("profile")
        self._enter_chat()
        for seat in self._seats.values():
            if seat.member:
                seat.room.rename(self.user, self.nickname)
        return {"resume": self._resume_token()}

    def _enter_chat(self) -> None:
        self.connection.label = f"user {self.user} {self.nickname!r}"
        self.connection.advance(ConnectionState.IN_CHAT)

    def _resume_token(self) -> str:
        assert self.user is not None
        return resume.issue(self.hub.broker.resume_key, self.user, self.nickname, time.time())

    # Speaking

    def _may_speak(self, room: str) -> bool:
        return self.user is not None and self.nickname != "" and room != BROADCAST_ROOM

    def _keep(self, command: protocol.Message) -> None:
        size = len(command.message)
        kept = self._unpublished
        if kept and (
            kept[0].room != command.room
            or len(kept) >= self._most_together
            or self._unpublished_bytes + size > self._most_bytes_together
        ):
            self._publish()
        self._unpublished.append(command)
        self._unpublished_bytes += size

    def _publish(self) -> None:
        kept = self._unpublished
        if not kept:
            return
        self._unpublished = []
        self._unpublished_bytes = 0
        room = kept[0].room
        drafts = [Draft(MESSAGE, self.user, self.nickname, item.message, "", item.key) for item in kept]
        try:
            positions = self.hub.publish(room, drafts)
        except Exception as failure:
            error = self._as_error(failure)
            for item in kept:
                self._refuse(error, item.id)
            return
        replies = [
            protocol.ok_frame(item.id, offset=position.offset)
            for item, position in zip(kept, positions, strict=True)
            if item.id is not None
        ]
        if replies:
            self.connection.send(Text(b"".join(replies), len(replies)))

    def _direct(self, command: protocol.SendDirect) -> dict[str, Any]:
        self.hub.direct(command.to, command.message, sender=self.user, nickname=self.nickname)
        return {}

    def _typing(self, command: protocol.Typing) -> dict[str, Any]:
        assert self.user is not None
        seat = self._seat(command.room, member=True)
        text = protocol.typing_text(command.room, self.user, self.nickname)
        seat.room.fanout.whisper(text, protocol.native_events, but=self.user)
        return {}

    # Rooms

    def _join(self, command: protocol.Join) -> None:
        assert self.user is not None
        marker = None if command.since is None else protocol.live_text(command.room)
        seat = self._listen(command, member=True, marker=marker)
        try:
            seat.room.enter(self.user, self.session, self.nickname)
        except RoomClosed:
            log.debug("room %s was closed while %s joined", command.room, self.connection.label)

    def _subscribe(self, command: protocol.Subscribe) -> None:
        self._listen(command, member=False, marker=protocol.live_text(command.room))

    def _listen(self, command: protocol.Listen, *, member: bool, marker: Text | None) -> Seat:
        """Takes a seat, replies, and only then lets events in: so none overtakes the reply."""
        name = command.room
        protocol.check_types(command.types)
        seat = self._seats.get(name)
        if seat is not None and not seat.room.closed:
            how = "joined" if seat.member else "subscribed to"
            raise CommandError(ErrorCode.ALREADY, f"{how} room {name} already")
        if seat is not None:
            self._give_up_seat(name)
        since = None if command.since is None else Position(command.since.offset, command.since.epoch)

        def subscribe(room: Room) -> Seat:
            subscription = room.subscribe(
                self.connection,
                protocol.native_events,
                wanted=Filter(command.types, command.users),
                since=since,
                owner=self.user if member else None,
                name=f"{self.connection.number}-{name}",
                marker=marker,
            )
            return Seat(room, subscription, member)

        seat = self._seats[name] = self.hub.in_room(name, subscribe)
        fields = protocol.position_fields(seat.subscription.origin)
        if seat.subscription.recovered is not None:
            fields["recovered"] = seat.subscription.recovered
        self._reply(command.id, fields)
        seat.subscription.start()
        return seat

    def _leave(self, command: protocol.Leave) -> None:
        self._seat(command.room, member=True).subscription.stop()
        self._reply(command.id, {})
        self._give_up_seat(command.room)

    def _unsubscribe(self, command: protocol.Unsubscribe) -> dict[str, Any]:
        self._seat(command.room, member=False)
        self._give_up_seat(command.room)
        return {}

    def _seat(self, room: str, *, member: bool) -> Seat:
        seat = self._seats.get(room)
        if seat is None or seat.member is not member:
            what = "a member of" if member else "subscribed to"
            raise CommandError(ErrorCode.UNKNOWN_ROOM, f"not {what} room {room}")
        return seat

    def _give_up_seat(self, name: str) -> None:
        seat = self._seats.pop(name)
        seat.subscription.stop()
        if seat.member:
            assert self.user is not None
            with contextlib.suppress(CommandError):  # it did not get as far as being a member
                seat.room.leave(self.user, self.session)

    # Questions

    def _count(self, command: protocol.Count) -> dict[str, Any]:
        protocol.check_types(command.types)
        return {"count": self.hub.find(command.room).count(Filter(command.types, command.users))}

    def _history(self, command: protocol.History) -> dict[str, Any]:
        since = None if command.since is None else Position(command.since.offset, command.since.epoch)
        page = self.hub.find(command.room).history(since, command.limit, command.reverse)
        events = [msgspec.Raw(record.json) for record in page.records]
        return {"events": events, **protocol.position_fields(page.head)}

    def _who(self, command: protocol.Who) -> dict[str, Any]:
        users = []
        for occupant in self.hub.find(command.room).who():
            about = self.hub.about(occupant.user)
            entry = {"id": occupant.user, "nickname": occupant.nickname, "sessions": len(occupant.sessions)}
            users.append({**entry, "about": about} if about else entry)
        return {"users": users}

    def _rooms(self, command: protocol.Rooms) -> dict[str, Any]:
        rooms = [
            {"name": room.name, "people": len(room.who()), "offset": room.fanout.head.offset}
            for room in self.hub.rooms()
            if room.name != BROADCAST_ROOM
        ]
        return {"rooms": rooms}

    def _ping(self, command: protocol.Ping) -> dict[str, Any]:
        return {}


_NEED_PROFILE = (protocol.Join, protocol.Message, protocol.SendDirect, protocol.Typing)

_HANDLERS: dict[type[protocol.Command], Callable[[NativeSession, Any], dict[str, Any] | None]] = {
    protocol.Hello: NativeSession._hello,
    protocol.Profile: NativeSession._profile,
    protocol.Join: NativeSession._join,
    protocol.Subscribe: NativeSession._subscribe,
    protocol.Leave: NativeSession._leave,
    protocol.Unsubscribe: NativeSession._unsubscribe,
    protocol.SendDirect: NativeSession._direct,
    protocol.Typing: NativeSession._typing,
    protocol.Count: NativeSession._count,
    protocol.History: NativeSession._history,
    protocol.Who: NativeSession._who,
    protocol.Rooms: NativeSession._rooms,
    protocol.Ping: NativeSession._ping,
}
