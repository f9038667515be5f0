"""The part of a session that serves the application: commands, the inbox, and rooms it joins people to."""

from __future__ import annotations

import logging
import threading
from functools import partial
from time import time
from typing import Any, Final

import msgspec

from threadchat.chat.access.sanctions import BAN, subject_for
from threadchat.chat.emitting import draft_event, passing
from threadchat.chat.log.events import Direct, Position, Record, UserId
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.chat.log.keys import client_key
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode, Refuse, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.normalize import nfc
from threadchat.server.budgets.account import MAX_STORED, STORED_WINDOW
from threadchat.server.budgets.rate_limit import TokenBucket
from threadchat.server.protocol import commands, encoding
from threadchat.server.session.app_commands import Handler
from threadchat.server.session.caller import MAX_POOLED, Caller
from threadchat.server.session.hello import HelloSession
from threadchat.server.session.inbox import Inbox
from threadchat.server.session.memberships import Memberships
from threadchat.server.session.unread import unread
from threadchat.wire.listing import entering
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

_MOVED: Final = {"join": "joined", "subscribe": "subscribed", "leave": "left", "unsubscribe": "unsubscribed"}
"""What the client receives when the application does this for it."""


class ApplicationSession(HelloSession):
    """A session with application commands and an inbox.

    Everything runs on the connection's reader thread unless a method says otherwise.
    """

    _memberships: Memberships

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._inbox: Inbox | None = None
        self._caller: Caller | None = None
        self._stored: TokenBucket | None = None  # for messages to people who are offline

    def arrive(self, user: UserId) -> None:
        """See Session. If the application refuses, leaves the rooms it has already joined the person to.

        From the moment when others find the session, what is kept in the inbox comes through the inbox alone.
        """
        if self.identity.identity is not None and self.hub.keeps_inbox(user):
            self._inbox = Inbox(self.connection, self.hub, self.session, self._memberships.producer)
        try:
            super().arrive(user)
        except CommandError:
            self._inbox = None
            self._memberships.close_all(ended=False)
            raise

    # The inbox

    def greet(self, command: commands.Hello) -> None:
        """Answers hello, and then starts the inbox, so that its events follow the reply."""
        fields = self.hello(command)
        if fields is not None:
            self.reply(command.id, fields)
            if self._inbox is not None:
                self._inbox.start()

    def open_own_inbox(self, since: commands.Since | None) -> dict[str, Any]:
        """See HelloSession. If the inbox is not available, the session begins without it.

        A client that named its position gets none of the later events then, because it would take them for
        the next ones. It has to come again as soon as the inbox is there.
        """
        assert self.user is not None
        inbox = self._inbox
        if inbox is None:
            return {}
        try:
            fields = inbox.open(self.user, None if since is None else Position(since.offset, since.epoch))
            return {**fields, **unread(self)}
        except CommandError as error:
            log.warning("connection %d: no inbox for now: %s", self.connection.number, error)
            if since is None:
                self._inbox = None
            else:
                inbox.give_up()
            return {}

    @property
    def has_inbox(self) -> bool:
        """See Session. Runs on: any thread."""
        return self._inbox is not None

    def open_inbox(self, inbox: Room) -> None:
        """See Session. Runs on: any thread."""
        if self._inbox is not None:
            self._inbox.attach(inbox)

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """See Session. Runs on: any thread."""
        text = encoding.native_events([told])
        if light:
            return self.connection.offer_light(text, listed)
        return self.connection.offer(self.connection.packed(Text(text.frame)), listed)

    def send_direct(self, command: commands.SendDirect) -> dict[str, Any]:
        """Sends a direct message; returns the fields of the reply."""
        hub, to, user = self.hub, command.to, self.user
        assert user is not None
        if not (hub.keeps_inbox(to) or hub.keeps_inbox(user)):
            text, now = command.message, int(time())
            hub.deliver(Direct(sender=user, to=to, nickname=self.nickname, message=text, time=now))
            return {}
        self._check_storing(to)
        key = client_key(command.key)
        stored = hub.send(
            to, command.message, sender=user, nickname=self.nickname, key=key, skip=self.session
        )
        return self._note_stored() if stored else {}

    def _check_storing(self, to: UserId) -> None:
        """Checks a direct message before it may be stored for somebody offline.

        Raises CommandError 108 for an invalid id, and 111 if this connection, or all connections of the
        person or the address, have stored too many messages. Otherwise anybody could fill the store with
        inboxes of people who do not exist.
        """
        if not is_user_id(to, -LARGEST_ID):
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"nobody is {to!r:.60}; an id is {ID_RULE}")
        if self._stored is not None:
            self._stored.take(0, self._clock())  # adds the tokens of the time that has passed
        spent = self._stored is not None and self._stored.spent
        if (spent or not self.budget.may_store()) and not self.hub.is_connected(to):
            reason = f"{MAX_STORED} messages of yours wait for people who are offline; try again later"
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, reason)

    def _note_stored(self) -> dict[str, Any]:
        """Counts a message that was stored for somebody offline; returns the fields of the reply."""
        if self._stored is None:
            self._stored = TokenBucket(MAX_STORED / STORED_WINDOW, MAX_STORED, self._clock())
        self._stored.take(1, self._clock())
        self.budget.note_stored()
        return {"stored": True}

    def end(self) -> None:
        """Ends the inbox's subscription."""
        self._caller = None  # breaks the reference cycle with the session
        if self._inbox is not None:
            self._inbox.stop()

    # The application's commands

    def call(self, command: commands.Call) -> dict[str, Any] | None:
        """Runs an application command; returns None if the pool runs it and replies later."""
        handler = self.calls.find(command.name)
        caller = self._caller
        if caller is None:
            caller = self._caller = Caller(self, self.identity.environ)
        if not handler.pooled:
            return self._run(handler, caller, command.data)
        data = msgspec.Raw(bytes(command.data))  # a copy, because `command.data` refers to the whole burst
        slots = caller.slots
        if not slots.acquire(blocking=False):
            reason = f"{MAX_POOLED} calls of this connection are running already; wait for one of them"
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, reason)
        if not self.calls.pool.submit(partial(self._run_pooled, handler, caller, data, command.id, slots)):
            slots.release()
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, "too many calls wait already; try again later")
        return None

    def _run(self, handler: Handler, caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        """Raises CommandError, and ConnectionClosed. Runs on: the reader, or a thread of the pool."""
        try:
            return handler.run(caller, data)
        except (CommandError, ConnectionClosed):
            raise
        except (Exception, SystemExit) as error:  # SystemExit would end the thread and leak the socket
            number, label = self.connection.number, self.connection.label
            log.exception("connection %d (%s): the command %s failed", number, label, handler.name)
            raise CommandError(ErrorCode.INTERNAL) from error

    def _run_pooled(
        self,
        handler: Handler,
        caller: Caller,
        data: msgspec.Raw,
        command_id: commands.CommandId,
        slots: threading.Semaphore,
    ) -> None:
        """Runs on: a thread of the pool."""
        try:
            try:
                fields = self._run(handler, caller, data)
            except CommandError as error:
                self.connection.send(encoding.error_text(error, command_id))
                self.work.count_error(error.code)
            else:
                self.reply(command_id, fields)
        except ConnectionClosed:
            pass  # nobody is left to reply to
        finally:
            slots.release()

    def tell(self, name: str, data: object) -> None:
        """See Caller.emit. Runs on: any thread."""
        draft = draft_event(name, data, most=self._config.max_message_size)
        self.connection.send(Text(encoding.native_events([passing(draft, "", int(time()))]).frame))

    # Rooms

    def move(self, action: str, room: str) -> bool:
        """See Session. Runs on: any thread."""
        room = nfc(room)
        if action in ("leave", "unsubscribe"):
            if not self._memberships.leave(room, member=action == "leave"):
                return False
            self._offer(encoding.moved_text(_MOVED[action], room))
            return True
        if self.user is None:
            return False
        encoding.check_reachable(room)
        self.names.room(room)
        if self.hub.sanctions.find(BAN, subject_for(self.user), room) is not None:
            raise Refuse(f"user {self.user} is banned from room {room}")
        command = commands.Join(room=room) if action == "join" else commands.Subscribe(room=room)
        try:
            membership = self._memberships.open(command, self.user if action == "join" else None, None)
        except CommandError as error:
            if error.code == ErrorCode.ALREADY:
                return False
            raise
        try:
            where = encoding.position_fields(membership.subscription.origin)
            # Sent before the subscription starts, so that no event overtakes it.
            self._offer(encoding.moved_text(_MOVED[action], room, **where))
            membership.subscription.start()
            if membership.user is not None:
                membership.room.enter(self.user, self.session, self.nickname or str(self.user), self.about)
        except RoomClosed:
            log.debug("room %s was closed while %s came in", room, self.connection.label)
        finally:
            self._memberships.finish_opening(membership)
        return True

    def _offer(self, text: Text) -> None:
        answer = entering(partial(self.connection.offer, text))
        if answer is Answer.NO:  # the outbox is full; the client reconnects and then finds out
            self.connection.fall_behind()

    def reply(self, command_id: commands.CommandId, fields: dict[str, Any]) -> None:
        """Replies to a command that succeeded, if it has an id. Runs on: any thread that may block."""
        if command_id is not None:
            self.connection.send(Text(encoding.ok_frame(command_id, **fields)))
