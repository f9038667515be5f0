"""The sessions of the two older dialects: direct messages on `/`, and one broadcast room on `/ws`."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from threadchat.chat.delivery.subscription import Subscription
from threadchat.chat.log.events import DIRECT, MESSAGE, Direct, Draft, Record
from threadchat.errors import CloseCode, CommandError, ErrorCode, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.normalize import nfc_id
from threadchat.server.auth.name_policy import check_controls
from threadchat.server.auth.users import User, stranger
from threadchat.server.budgets.account import Account
from threadchat.server.protocol import compression, encoding
from threadchat.server.protocol.encoding import BROADCAST_ROOM
from threadchat.server.session.session import Session
from threadchat.wire.connection import ConnectionState
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


class LegacySession(Session):
    """The base of both: connecting counts as hello and profile, and errors are `{"error": …}`."""

    def handle(self, text: str) -> None:
        """Handles one message. Errors are answered, and the connection stays open."""
        try:
            self.pass_on(text)
        except CommandError as error:
            self._refuse(error)
        except RoomClosed:
            self._refuse(CommandError(ErrorCode.NOT_AVAILABLE, "the server is closing"))
        except Exception:
            log.exception("connection %d: a message failed", self.connection.number)
            self._refuse(CommandError(ErrorCode.INTERNAL))

    @abstractmethod
    def pass_on(self, text: str) -> None:
        """Sends one message to its recipients. Raises CommandError."""

    def refuse_excess(self, text: str, error: CommandError) -> None:
        """See Session."""
        self.connection.send(encoding.json_text({"error": f"{error.code.reason}: {error.reason}"}))

    def _refuse(self, error: CommandError) -> None:
        self.connection.send(encoding.json_text({"error": error.reason}))
        self.count_error(error)


class DirectSession(LegacySession):
    """Messages between ids."""

    def begin(self) -> None:
        """Sends the peer its id before any message.

        The connection is open before it does so: whoever learns the id can send to it at once.
        """
        self.connection.advance(ConnectionState.IN_CHAT)
        identity = self.identity.identity
        if identity is None:
            identity = User(stranger(self.hub.broker, authenticates=self.authenticates))
        user, self.nickname = identity
        self.connection.send(encoding.json_text({"id": user}))
        self.arrive(user)

    def pass_on(self, text: str) -> None:
        """See LegacySession."""
        message = encoding.decode_direct(text)
        self.sanction_check.check_muted()
        to = nfc_id(message.to)
        if self.screens:
            self.identity.check(self.person, "direct", to)
        self.hub.direct(to, message.message, sender=self.user)

    def encode_direct(self, direct: Direct) -> Text:
        """See Session."""
        return encoding.legacy_direct(direct)

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """See Session. Of an inbox's events, this dialect can only express direct messages."""
        event = told.event
        if event.type != DIRECT or event.to is None or event.to != self.user:
            return Answer.GONE
        direct = Direct(sender=event.user, to=event.to, message=event.message, time=event.time)
        return self.offer_direct(direct, listed)


class BroadcastSession(LegacySession):
    """One room. Everybody who connects receives every message, including their own."""

    _subscription: Subscription | None = None
    _held: Sequence[Account] = ()

    def begin(self) -> None:
        """Subscribes to the room."""
        known = self.identity.identity
        if known is not None:
            self.user = known.id  # set before the check, so that a later ban finds this session by it
            self.sanction_check.belong_to(known.id)
        self.sanction_check.check_banned(BROADCAST_ROOM)
        self.identity.check(self.person, "subscribe", BROADCAST_ROOM)
        if known is None:
            self.identity.arrived(self.person)
        else:
            self.arrive(known.id)
        self.connection.advance(ConnectionState.IN_CHAT)
        self._held = self.budget.hold("subscriptions")
        name = f"{self.connection.number}-{BROADCAST_ROOM}"
        encode = compression.BROADCAST[self.connection.deflater]
        self._subscription = self.hub.in_room(
            BROADCAST_ROOM,
            lambda room: room.subscribe(self.connection, encode, name=name),
        )
        self._subscription.start()

    def pass_on(self, text: str) -> None:
        """See LegacySession."""
        message = encoding.decode_broadcast(text)
        sender = self.names.claimed(message.sender)
        self.identity.check_claimed(sender)
        check_controls(message.message)
        self.sanction_check.check_muted(BROADCAST_ROOM)
        said = message.message
        if self.screens:
            said = self.identity.screen(self.person, BROADCAST_ROOM, said)
        self.hub.publish(BROADCAST_ROOM, [Draft(MESSAGE, None, sender, said)])

    @property
    def person(self) -> User:
        """The user named by the application, else nobody: the name in a message is not verified."""
        return self.identity.identity or User(0)

    def evict(self, room: str, reason: str) -> bool:
        """See Session. The session has no other room, so this ends it."""
        if room != BROADCAST_ROOM:
            return False
        self.connection.close(CloseCode.FORCE_DISCONNECT, reason)
        return True

    def end(self) -> None:
        """Ends the subscription."""
        held, self._held = self._held, ()
        self.budget.release("subscriptions", held)
        if self._subscription is not None:
            self._subscription.stop()

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """See Session. This dialect has no direct messages, so this person counts as not online."""
        return Answer.GONE

    def encode_direct(self, direct: Direct) -> Text:
        """Never called, see `offer_direct`."""
        raise NotImplementedError("the broadcast dialect has no direct messages")
