"""The two older dialects' sessions: direct messages between ids on `/`, one broadcast room on `/ws`."""

from __future__ import annotations

import logging
from abc import abstractmethod

from threadchat.chat.events import MESSAGE, Direct, Draft
from threadchat.chat.subscription import Subscription
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.server import protocol
from threadchat.server.protocol import BROADCAST_ROOM
from threadchat.server.session import Session
from threadchat.server.users import User, stranger
from threadchat.wire.connection import ConnectionState
from threadchat.wire.requests import Text

log = logging.getLogger(__name__)


class ClassicSession(Session):
    """What the two have in common: connecting counts as hello and as profile; errors are `{"error": …}`."""

    def handle(self, text: str) -> None:
        """Does what one message asks; an error is answered and ends nothing."""
        try:
            self.pass_on(text)
        except CommandError as error:
            self._refuse(error.reason)
        except RoomClosed:
            self._refuse("the server is closing")
        except Exception:
            log.exception("connection %d: a message failed", self.connection.number)
            self._refuse(ErrorCode.INTERNAL.reason)

    @abstractmethod
    def pass_on(self, text: str) -> None:
        """Passes one message on. Raises CommandError."""

    def _refuse(self, reason: str) -> None:
        self.connection.send(protocol.json_text({"error": reason}))
        self.count_error()


class DirectSession(ClassicSession):
    """Messages between integer ids."""

    def begin(self) -> None:
        """Tells the peer its id, before anything that others send it.

        Nothing leaves before the connection is open: whoever is told the id can use it at once.
        """
        self.connection.advance(ConnectionState.IN_CHAT)
        identity = self.visit.identity
        if identity is None:
            identity = User(stranger(self.hub.broker, authenticates=self.authenticates))
        user, self.nickname = identity
        self.connection.send(protocol.json_text({"id": user}))
        self.arrive(user)

    def pass_on(self, text: str) -> None:
        """See ClassicSession."""
        message = protocol.decode_direct(text)
        if self.screens:
            self.visit.check(self.person, "direct", message.to)
        self.hub.direct(message.to, message.message, sender=self.user)

    def encode_direct(self, direct: Direct) -> Text:
        """See Session."""
        return protocol.classic_direct(direct)


class BroadcastSession(ClassicSession):
    """One room; whoever connects listens, and what one says everybody gets, themselves too."""

    _subscription: Subscription | None = None

    def begin(self) -> None:
        """Listens to the room, from now on."""
        self.visit.check(self.person, "subscribe", BROADCAST_ROOM)
        self.visit.arrived(self.person)
        self.connection.advance(ConnectionState.IN_CHAT)
        name = f"{self.connection.number}-{BROADCAST_ROOM}"
        self._subscription = self.hub.in_room(
            BROADCAST_ROOM,
            lambda room: room.subscribe(self.connection, protocol.broadcast_events, name=name),
        )
        self._subscription.start()

    def pass_on(self, text: str) -> None:
        """See ClassicSession."""
        message = protocol.decode_broadcast(text)
        self.visit.check_name(message.sender)
        said = message.message
        if self.screens:
            said = self.visit.screen(self.person, BROADCAST_ROOM, said)
        self.hub.publish(BROADCAST_ROOM, [Draft(MESSAGE, None, message.sender, said)])

    @property
    def person(self) -> User:
        """Who the application says it is; else nobody, for the name in a message is only claimed."""
        return self.visit.identity or User(0)

    def end(self) -> None:
        """Stops listening."""
        if self._subscription is not None:
            self._subscription.stop()

    def encode_direct(self, direct: Direct) -> Text:
        """Never called: nobody here has an id that a direct message could name."""
        raise NotImplementedError("the broadcast dialect has no direct messages")
