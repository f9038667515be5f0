"""Reaches one person: events and direct messages, which an inbox keeps while the person is away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Final, NamedTuple, TypeVar

import msgspec

from threadchat.chat.access.blocks import Blocks, blocked
from threadchat.chat.broker_interface import Broker, Cluster
from threadchat.chat.emitting import passing
from threadchat.chat.log.events import (
    DIRECT,
    TYPING,
    Direct,
    Draft,
    Event,
    Position,
    Record,
    UserId,
    encoded,
    inbox_of,
    record,
    record_of,
)
from threadchat.chat.log.tail import INBOX_AGE, INBOX_SIZE
from threadchat.chat.room import Room
from threadchat.chat.room_registry import RoomRegistry
from threadchat.chat.room_shares import NOBODY, Openers
from threadchat.chat.routing import Routing
from threadchat.chat.user_directory import UserDirectory
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.protocol import frames

log = logging.getLogger(__name__)

_TYPING: Final = b'{"type":"typing"'

Result = TypeVar("Result")


class InboxRules(NamedTuple):
    """Who has an inbox, how many events it keeps, and after how many seconds of silence it is forgotten."""

    keeps: Callable[[UserId], bool]
    size: int
    ttl: float


NO_INBOXES: Final = InboxRules(lambda user: False, INBOX_SIZE, INBOX_AGE)


class Sent(NamedTuple):
    """What became of something sent to a person: its position in their inbox, and whether they are online."""

    position: Position | None
    online: bool


class Inboxes:
    """The part of a hub that handles inboxes. Every method may be called from any thread and may block.

    An inbox is a room that only its owner reads. It is created with its first event, so an empty inbox costs
    nothing. Whoever emits opens it for all sessions of the person, on each node where the person is online.
    """

    broker: Broker
    _sessions: UserDirectory
    _cluster: Cluster
    _rooms: RoomRegistry
    _routing: Routing
    _inbox_rules: InboxRules
    keeps_inbox: Callable[[UserId], bool]
    """Whether a person has an inbox."""

    def in_room(self, name: str, action: Callable[[Room], Result], openers: Openers = NOBODY) -> Result:
        """Calls `action` with the room of that name. Raises RoomClosed once the hub is closed."""
        raise NotImplementedError("Hub implements this")

    def find(self, name: str, openers: Openers = NOBODY) -> Room:
        """Returns the room of that name. Raises CommandError 102 if it does not exist."""
        raise NotImplementedError("Hub implements this")

    def exists(self, name: str) -> bool:
        """Whether the room is open on this node, or the broker has it. Raises CommandError 100."""
        return self._rooms.get(name) is not None or self._cluster.exists(name)

    # Events

    def emit(self, room: str, draft: Draft, *, keep: bool = True) -> Position | None:
        """Publishes an event in a room.

        With `keep` false, only offers it to current subscribers on all nodes. Returns the event's position,
        or None if it is in no log. Raises RoomClosed once the hub is closed.
        """
        if keep:
            [position] = self.in_room(room, lambda opened: self._routing.publish(opened, [draft]))
            return position
        told = passing(draft, room, int(time()))
        here = self._rooms.get(room)
        if here is not None:
            self._routing.direct(lambda: here.tell(told))
        self._cluster.whisper(room, passing_frame(told), draft.skip)
        return None

    def receive_event(self, room: str, told: Record) -> None:
        """Offers an event of another node to the room's subscribers on this node. Never blocks."""
        here = self._rooms.get(room)
        if here is not None:
            here.tell(told)

    # One person

    def blocks_of(self, user: UserId) -> Blocks:
        """Where the person's block list is: with the inbox, or on this node if they have none."""
        return self.broker.blocks if self.keeps_inbox(user) else self._sessions.blocks

    def check_blocked(self, to: UserId, sender: UserId | None) -> None:
        """Raises CommandError 103 if a person with an inbox blocks the sender."""
        if sender not in (None, to) and self.keeps_inbox(to) and self.broker.blocks.holds(to, sender):
            raise blocked(to)

    def find_inbox(self, user: UserId) -> Room | None:
        """A person's inbox, or None if nothing was ever kept in it.

        Raises CommandError 100, and 106 as `room` does.
        """
        try:
            return self.find(inbox_of(user))
        except CommandError as error:
            if error.code != ErrorCode.UNKNOWN_ROOM:
                raise
            return None

    def emit_to(self, user: UserId, draft: Draft, *, keep: bool = True) -> Sent:
        """Emits an event to all sessions of one person.

        The event is kept in their inbox if they have one and `keep` is true. Raises RoomClosed once the hub
        is closed, CommandError 100 if the broker is away, and 106 if no more inboxes may be open.
        """
        name = inbox_of(user)
        if not (keep and self.keeps_inbox(user)):
            told = record(draft, 0, name, int(time()))
            here = self._sessions.notify(user, told, kept=keep)
            return Sent(None, self._cluster.notify(user, told.json, kept=keep) or here)

        [position] = self._publish(user, name, draft)
        told = record(draft, position.offset, name, int(time()))
        here = self._sessions.notify(user, told, kept=True)
        return Sent(position, self._cluster.notify(user, told.json, kept=True) or here)

    def _publish(self, user: UserId, name: str, draft: Draft) -> list[Position]:
        """Publishes in a person's inbox.

        Opens it on this node only if the person is online here, or the broker needs it.
        """
        if user not in self._sessions and self._rooms.get(name) is None:
            positions = self._cluster.publish(name, [draft])
            if positions is not None:
                self.open_inbox(user)  # a session may have come meanwhile, before the inbox existed
                return positions

        def publish(inbox: Room) -> list[Position]:
            self._sessions.open_inbox(user, inbox)  # first, so that the draft reaches them through the inbox
            return self._routing.publish(inbox, [draft])

        return self.in_room(name, publish)

    def direct(self, to: UserId, message: str, *, sender: UserId | None = None, nickname: str = "") -> None:
        """Sends a message to every session of one person. No copy is kept.

        Raises CommandError 103 if they block the sender, 108 if they are not online, and 111 if none of the
        sessions had room.
        """
        self.check_blocked(to, sender)
        self.deliver(Direct(sender=sender, to=to, nickname=nickname, message=message, time=int(time())))

    def deliver(self, direct: Direct) -> None:
        """Like `direct`, for somebody who has no inbox in which a block list could be."""
        to, here = direct.to, None
        if to in self._sessions:
            here = self._routing.direct(lambda: self._sessions.offer(direct))
        reach = self._cluster.direct(direct, here)
        if reach is None:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")
        if not reach:
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, f"user {to} cannot take messages at the moment")

    def send(
        self,
        to: UserId,
        message: str,
        *,
        sender: UserId | None = None,
        nickname: str = "",
        key: str = "",
        skip: str = "",
    ) -> bool:
        """Sends a direct message, through the inbox if the recipient has one.

        Returns whether it waits there unread. The sender's other sessions get it too. `skip` is the id of the
        session that sent it. Raises what `emit_to` raises, and CommandError 103 if the recipient blocks the
        sender. If the recipient has no inbox, raises CommandError 108 and 111 as `direct` does.
        """
        draft = Draft(DIRECT, sender, nickname, message, key=key, to=to)
        if sender == to:
            draft = msgspec.structs.replace(draft, skip=skip)
        stored = False
        if self.keeps_inbox(to):
            self.check_blocked(to, sender)
            stored = not self.emit_to(to, draft).online
        else:
            self.direct(to, message, sender=sender, nickname=nickname)
        if sender is not None and sender != to and self.keeps_inbox(sender):
            try:
                self.emit_to(sender, msgspec.structs.replace(draft, skip=skip))
            except (CommandError, RoomClosed) as error:  # the recipient has it
                log.info("a direct message is not in the inbox of its sender: %s", error)
        return stored

    def tell_typing(self, to: UserId, sender: UserId, nickname: str) -> None:
        """Tells a person's sessions that somebody is typing to them. It is in no log, and may be lost.

        Nothing happens where the person blocks the sender. Raises CommandError 100 if the broker is away.
        """
        if self.keeps_inbox(to) and self.broker.blocks.holds(to, sender):
            return
        told = encoded(Event(type=TYPING, user=sender, nickname=nickname, time=int(time())))
        self._sessions.notify(to, told)
        self._cluster.notify(to, told.json, kept=False)

    # Requested by other nodes; see Node

    def open_inbox(self, user: UserId) -> None:
        """Subscribes a person's sessions on this node to their inbox. May block."""
        if user in self._sessions and self.keeps_inbox(user):
            self.in_room(inbox_of(user), lambda inbox: self._sessions.open_inbox(user, inbox))

    def has_subscribers(self) -> bool:
        """Whether anybody is subscribed to anything in this process."""
        return self._rooms.has_subscribers()

    # For the application

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions on the native dialect, on all nodes. Raises CommandError 100."""
        return [*self._sessions.sessions(user), *self._cluster.sessions(user)]

    def is_connected(self, user: UserId) -> bool:
        """Whether a person has a session on any node. Raises CommandError 100."""
        return user in self._sessions or self._cluster.is_connected(user)

    def move(self, user: UserId, action: str, room: str) -> int:
        """Makes all sessions of a person `join`, `leave`, `subscribe` to or `unsubscribe` from a room.

        Returns the number of sessions for which this changed anything. Raises CommandError 100.
        """
        return self._sessions.move(user, action, room) + self._cluster.move(user, action, room)


def passing_frame(told: Record) -> bytes:
    """An event that is in no log, as nodes send it to each other: the frame that clients get."""
    return frames.encode(frames.TEXT, told.json)


def passing_event(frame: bytes) -> Record | None:
    """The event in a frame from another node, or None if the frame is a typing notice."""
    header = frames.read_header(frame, 0)
    json = frame if header is None else frame[header.body :]
    return None if json.startswith(_TYPING) or not json.startswith(b"{") else record_of(json)
