"""The native dialect's session: does every command of the protocol's table."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from threadchat import __version__
from threadchat.chat.events import MESSAGE, Direct, Draft
from threadchat.chat.hub import Hub
from threadchat.config import Config
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, RoomClosed
from threadchat.server import commands, protocol, questions, users
from threadchat.server.commands import CommandId
from threadchat.server.hooks import Visit
from threadchat.server.protocol import BROADCAST_ROOM
from threadchat.server.seats import Seat, Seats
from threadchat.server.session import Session
from threadchat.wire.connection import Connection, ConnectionState
from threadchat.wire.requests import Text

log = logging.getLogger(__name__)


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
        visit: Visit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(connection, hub, config, visit=visit, clock=clock)
        self.session = secrets.token_hex(8)
        self._seats = Seats(connection, hub, self.session)
        self._unpublished: list[commands.Message] = []
        self._unpublished_bytes = 0
        # A quarter of an outbox: what is over three quarters full says so, what is not has room for it.
        self._most_together = max(1, config.outbox_messages // 4)
        if self.screens:
            self._most_together = 1  # what a hook has passed does not wait for what it thinks of the next
        self._most_bytes_together = config.outbox_bytes // 4

    # The lifecycle

    def begin(self) -> None:
        """Waits for hello, and for a profile after it."""
        self.expire("hello", self._config.hello_timeout, CloseCode.STALE)

    def end(self) -> None:
        """Leaves every room; what was not published yet is dropped with the connection."""
        self._seats.give_up_all()

    def handle(self, text: str) -> None:
        """Does one command, or keeps a message until the burst ends."""
        try:
            command = protocol.decode_command(text)
        except protocol.BadCommand as error:
            self._publish()
            self._refuse(error, error.id)
            return
        if type(command) is commands.Message and self._may_speak(command.room):
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

    def _do(self, command: commands.AnyCommand) -> dict[str, Any] | None:
        if self.user is None and not isinstance(command, (commands.Hello, commands.Ping)):
            raise CommandError(ErrorCode.UNAUTHORIZED, "say hello first")
        if not self.nickname and isinstance(command, _NEED_PROFILE):
            raise CommandError(ErrorCode.PERMISSION_DENIED, "choose a nickname first, with profile")
        if isinstance(command, (commands.InRoom, commands.Listen)) and command.room == BROADCAST_ROOM:
            raise CommandError(
                ErrorCode.PERMISSION_DENIED, f"{BROADCAST_ROOM} is the broadcast endpoint's room"
            )
        if self.screens:
            self.visit.check_command(self.person, command)
        return _HANDLERS[type(command)](self, command)

    def _hello(self, command: commands.Hello) -> dict[str, Any] | None:
        if self.user is not None:
            raise CommandError(ErrorCode.ALREADY, "said hello already")
        if command.token is not None:
            self.connection.close(CloseCode.INVALID_TOKEN)
            return None
        user, self.nickname = users.identify(
            command, self.visit.identity, self.hub.broker, authenticates=self.authenticates
        )
        self.connection.deadlines.clear("hello")
        try:
            self.arrive(user)
        except CommandError:  # they may say hello once more
            self.begin()
            raise
        if self.nickname:
            self._enter_chat()
        else:
            self.expire("profile", self._config.profile_timeout, CloseCode.STALE)
        given = {} if self.visit.given_name is None else {"nickname": self.visit.given_name}
        return {"user": user, "session": self.session, **given, **self._resume(), "version": __version__}

    def _profile(self, command: commands.Profile) -> dict[str, Any]:
        assert self.user is not None
        self.visit.check_name(command.nickname)
        self.nickname = command.nickname
        if command.about is not None:
            self.about = command.about
        self.connection.deadlines.clear("profile")
        self._enter_chat()
        self._seats.rename(self.nickname)
        return self._resume()

    def _enter_chat(self) -> None:
        self.connection.label = f"user {self.user} {self.nickname!r}"
        self.connection.advance(ConnectionState.IN_CHAT)

    def _resume(self) -> dict[str, Any]:
        return {"resume": users.resume_token(self.hub.broker, self.person)}

    # Speaking

    def _may_speak(self, room: str) -> bool:
        return self.user is not None and self.nickname != "" and room != BROADCAST_ROOM

    def _keep(self, command: commands.Message) -> None:
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
        if self.screens and not (kept := self.visit.screen_all(self.person, kept, self._refuse)):
            return
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

    def _direct(self, command: commands.SendDirect) -> dict[str, Any]:
        self.hub.direct(command.to, command.message, sender=self.user, nickname=self.nickname)
        return {}

    def _typing(self, command: commands.Typing) -> dict[str, Any]:
        assert self.user is not None
        seat = self._seats.find(command.room, member=True)
        text = protocol.typing_text(command.room, self.user, self.nickname)
        self.hub.whisper(seat.room, text, protocol.native_events, but=self.user)
        return {}

    # Rooms

    def _join(self, command: commands.Join) -> None:
        assert self.user is not None
        marker = None if command.since is None else protocol.live_text(command.room)
        seat = self._seats.take(command, self.user, marker)
        self._let_in(command, seat)
        try:
            seat.room.enter(self.user, self.session, self.nickname, self.about)
        except RoomClosed:
            log.debug("room %s was closed while %s joined", command.room, self.connection.label)

    def _subscribe(self, command: commands.Subscribe) -> None:
        self._let_in(command, self._seats.take(command, None, protocol.live_text(command.room)))

    def _let_in(self, command: commands.Listen, seat: Seat) -> None:
        """Replies, and only then starts the subscription: so no event overtakes the reply."""
        fields = protocol.position_fields(seat.subscription.origin)
        if seat.subscription.recovered is not None:
            fields["recovered"] = seat.subscription.recovered
        self._reply(command.id, fields)
        seat.subscription.start()

    def _leave(self, command: commands.Leave) -> None:
        self._seats.find(command.room, member=True).subscription.stop()
        self._reply(command.id, {})
        self._seats.give_up(command.room)

    def _unsubscribe(self, command: commands.Unsubscribe) -> dict[str, Any]:
        self._seats.find(command.room, member=False)
        self._seats.give_up(command.room)
        return {}

    # Everything else

    def _ask(self, command: commands.Command) -> dict[str, Any]:
        return questions.answer(self.hub, command)

    def _ping(self, command: commands.Ping) -> dict[str, Any]:
        return {}


_NEED_PROFILE = (commands.Join, commands.Message, commands.SendDirect, commands.Typing)

_HANDLERS: dict[type[commands.Command], Callable[[NativeSession, Any], dict[str, Any] | None]] = {
    commands.Hello: NativeSession._hello,
    commands.Profile: NativeSession._profile,
    commands.Join: NativeSession._join,
    commands.Subscribe: NativeSession._subscribe,
    commands.Leave: NativeSession._leave,
    commands.Unsubscribe: NativeSession._unsubscribe,
    commands.SendDirect: NativeSession._direct,
    commands.Typing: NativeSession._typing,
    commands.Count: NativeSession._ask,
    commands.History: NativeSession._ask,
    commands.Who: NativeSession._ask,
    commands.Rooms: NativeSession._ask,
    commands.Ping: NativeSession._ping,
}
