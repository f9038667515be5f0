"""The session of the native dialect, which handles every command of the protocol."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Direct, UserId
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth.identity import Identity
from threadchat.server.budgets.budgets import NO_BUDGETS, Budgets
from threadchat.server.protocol import commands, compression, encoding
from threadchat.server.protocol.all_commands import AnyCommand, normalized
from threadchat.server.session import (
    authoring,
    moderation,
    personal,
    queries,
    room_creation,
    unread,
)
from threadchat.server.session.app_commands import NO_CALLS, Calls
from threadchat.server.session.memberships import Membership, Memberships
from threadchat.server.session.messaging import MessagingSession
from threadchat.wire.connection import Connection
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


class NativeSession(MessagingSession):
    """A connection on `/chat`: hello, profile, then rooms and people."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        config: Config,
        *,
        identity: Identity | None = None,
        calls: Calls = NO_CALLS,
        budgets: Budgets = NO_BUDGETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            connection, hub, config, identity=identity, calls=calls, budgets=budgets, clock=clock
        )
        self._memberships = Memberships(
            connection, hub, self.session, config.rooms_per_connection, self.budget
        )

    # The lifecycle

    def end(self) -> None:
        """Leaves every room. Messages that are not published yet are dropped."""
        try:
            super().end()
        finally:
            self._memberships.close_all()

    def evict(self, room: str, reason: str) -> bool:
        """See Session."""
        return self._memberships.evict(room, reason)

    def room_names(self) -> list[str]:
        """See Session."""
        return self._memberships.names()

    def encode_direct(self, direct: Direct) -> Text:
        """See Session."""
        return encoding.native_direct(direct)

    # Commands

    def do(self, command: AnyCommand) -> dict[str, Any] | None:
        command = normalized(command)
        if self.user is None and not isinstance(command, (commands.Hello, commands.Ping)):
            raise CommandError(ErrorCode.UNAUTHORIZED, "say hello first")
        if not self.nickname and isinstance(command, _NEED_PROFILE):
            raise CommandError(ErrorCode.PERMISSION_DENIED, "choose a nickname first, with profile")
        if isinstance(command, (commands.InRoom, commands.Listen)):
            encoding.check_reachable(command.room)
            self.names.room(command.room)  # it is in NFC already
            self._checked_room = command.room
        if not self.sanction_check.clean:
            moderation.check_sanctions(self.sanction_check, command)
        if self.screens:
            self.identity.check_command(self.person, command)
        if isinstance(command, commands.Listen):
            room_creation.check_creation(self, command, self._config.create_rooms)
        return _HANDLERS[type(command)](self, command)

    def renamed(self) -> None:
        """See HelloSession. Changes the nickname in the rooms."""
        self._memberships.rename(self.nickname)

    def _typing(self, command: commands.Typing) -> dict[str, Any]:
        assert self.user is not None
        membership = self._memberships.find(command.room, member=True)
        text = encoding.typing_text(command.room, self.user, self.nickname)
        self.hub.whisper(membership.room, text, compression.NATIVE.values(), but=self.user)
        return {}

    # Rooms

    def _join(self, command: commands.Join) -> None:
        assert self.user is not None
        marker = None if command.since is None else encoding.live_text(command.room)
        membership = self._open_membership(command, self.user, marker)
        self._start(command, membership)
        try:
            membership.room.enter(self.user, self.session, self.nickname, self.about)
        except RoomClosed:
            log.debug("room %s was closed while %s joined", command.room, self.connection.label)
        finally:
            self._memberships.finish_opening(membership)

    def _subscribe(self, command: commands.Subscribe) -> None:
        membership = self._open_membership(command, None, encoding.live_text(command.room))
        self._start(command, membership)
        self._memberships.finish_opening(membership)

    def _open_membership(
        self, command: commands.Listen, user: UserId | None, marker: Text | None
    ) -> Membership:
        membership = self._memberships.open(command, user, marker)
        try:
            # Checked again, because a ban since the first check may not have found the membership.
            self.sanction_check.check_banned(command.room)
        except CommandError:
            self._memberships.close(membership)
            raise
        return membership

    def _start(self, command: commands.Listen, membership: Membership) -> None:
        """Replies and then starts the subscription, so that no event overtakes the reply."""
        fields = encoding.position_fields(membership.subscription.origin)
        if membership.subscription.recovered is not None:
            fields["recovered"] = membership.subscription.recovered
        self.reply(command.id, fields)
        membership.subscription.start()

    def _leave(self, command: commands.Leave) -> None:
        membership = self._memberships.find(command.room, member=True)
        membership.subscription.stop()
        self.reply(command.id, {})
        self._memberships.close(membership)

    def _unsubscribe(self, command: commands.Unsubscribe) -> dict[str, Any]:
        self._memberships.close(self._memberships.find(command.room, member=False))
        return {}


_NEED_PROFILE = (
    commands.Join,
    commands.Message,
    commands.Edit,
    commands.React,
    commands.SendDirect,
    commands.Typing,
    commands.TypingTo,
)

_HANDLERS: dict[type[commands.Command], Callable[[NativeSession, Any], dict[str, Any] | None]] = {
    commands.Hello: NativeSession.greet,
    commands.Profile: NativeSession.profile,
    commands.Refresh: NativeSession.refresh,
    commands.Join: NativeSession._join,
    commands.Subscribe: NativeSession._subscribe,
    commands.Leave: NativeSession._leave,
    commands.Unsubscribe: NativeSession._unsubscribe,
    commands.Message: NativeSession.message,
    commands.SendDirect: NativeSession.send_direct,
    commands.Read: unread.read,
    commands.Call: NativeSession.call,
    commands.Typing: NativeSession._typing,
    **queries.HANDLERS,
    **authoring.HANDLERS,
    **moderation.HANDLERS,
    **personal.HANDLERS,
}
