"""Reaches people: events and direct messages for one person, kept in their inbox while they are away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Final, NamedTuple, TypeVar

import msgspec

from threadchat.chat.broker_interface import Cluster
from threadchat.chat.emitting import passing
from threadchat.chat.log.events import DIRECT, Draft, Position, Record, UserId, inbox_of, record, record_of
from threadchat.chat.log.tail import INBOX_AGE, INBOX_SIZE
from threadchat.chat.room import Room
from threadchat.chat.room_registry import RoomRegistry
from threadchat.chat.routing import Routing
from threadchat.chat.user_directory import UserDirectory
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.protocol import frames

log = logging.getLogger(__name__)

_TYPING: Final = b'{"type":"typing"'

Result = TypeVar("Result")


class InboxRules(NamedTuple):
    """Who has an inbox, how many events it has, and after how many seconds without any it is forgotten."""

    keeps: Callable[[UserId], bool]
    size: int
    ttl: float


NO_INBOXES: Final = InboxRules(lambda user: False, INBOX_SIZE, INBOX_AGE)


class Sent(NamedTuple):
    """What became of something for one person: its place in their inbox, and whether they are online."""

    position: Position | None
    online: bool


class Inboxes:
    """The part of a hub that knows inboxes. Every method may be called from any thread, and may wait.

    An inbox is a room that only its person reads. It begins with the first event for them, so an empty one
    costs nothing: whoever emits opens it, on each node where the person is online, for all their sessions.
    """

    _sessions: UserDirectory
    _cluster: Cluster
    _rooms: RoomRegistry
    _routing: Routing
    _inbox_rules: InboxRules

    def in_room(self, name: str, action: Callable[[Room], Result]) -> Result:
        """Does something in the room of that name. Raises RoomClosed once the hub is closed."""
        raise NotImplementedError("a hub has rooms")

    def find(self, name: str) -> Room:
        """The room of that name. Raises CommandError 102 where there is none."""
        raise NotImplementedError("a hub has rooms")

    def direct(self, to: UserId, message: str, *, sender: UserId | None = None, nickname: str = "") -> None:
        """Sends a message to every session of one person, and keeps no copy. Raises CommandError 108, 111."""
        raise NotImplementedError("a hub has people")

    # Events

    def emit(self, room: str, draft: Draft, *, keep: bool = True) -> Position | None:
        """Publishes an event in a room, or (`keep` false) tells it to those who listen now, on all nodes.

        Returns its place; None where it has none. Raises RoomClosed once the hub is closed.
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

    def hear_event(self, room: str, told: Record) -> None:
        """Tells what another node passed on to those who listen here; never blocks."""
        here = self._rooms.get(room)
        if here is not None:
            here.tell(told)

    # One person

    def keeps_inbox(self, user: UserId) -> bool:
        """Whether that person has an inbox: whoever is known."""
        return self._inbox_rules.keeps(user)

    def find_inbox(self, user: UserId) -> Room | None:
        """A person's inbox, if there is anything in it. Raises CommandError 100, and 106 (see `room`)."""
        try:
            return self.find(inbox_of(user))
        except CommandError as error:
            if error.code != ErrorCode.UNKNOWN_ROOM:
                raise
            return None

    def emit_to(self, user: UserId, draft: Draft, *, keep: bool = True) -> Sent:
        """Has an event happen for one person, on every session that they have.

        It is kept in their inbox, if they have one and `keep` says so. Raises RoomClosed once the hub is
        closed, CommandError 100 where the broker is away, and 106 where no more inboxes may be open.
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
        """Publishes in a person's inbox; opens it for that only if they are here, or the broker says so."""
        if user not in self._sessions and self._rooms.get(name) is None:
            positions = self._cluster.publish(name, [draft])
            if positions is not None:
                self.open_inbox(user)  # for whoever came meanwhile and had not found it
                return positions

        def publish(inbox: Room) -> list[Position]:
            self._sessions.open_inbox(user, inbox)  # first: so that it comes in by the inbox
            return self._routing.publish(inbox, [draft])

        return self.in_room(name, publish)

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
        """Sends a direct message, through the inbox of whoever has one; whether it waits there.

        The sender's other sessions get it too; `skip` is the one that it comes from. Raises CommandError 108
        and 111 as `direct` does for those who have no inbox, and what `emit_to` raises.
        """
        draft = Draft(DIRECT, sender, nickname, message, key=key, to=to)
        if sender == to:
            draft = msgspec.structs.replace(draft, skip=skip)
        stored = False
        if self.keeps_inbox(to):
            stored = not self.emit_to(to, draft).online
        else:
            self.direct(to, message, sender=sender, nickname=nickname)
        if sender is not None and sender != to and self.keeps_inbox(sender):
            try:
                self.emit_to(sender, msgspec.structs.replace(draft, skip=skip))
            except (CommandError, RoomClosed) as error:  # it has arrived where it had to
                log.info("a direct message is not in the inbox of its sender: %s", error)
        return stored

    # Asked by other nodes; see Node

    def open_inbox(self, user: UserId) -> None:
        """Has a person's sessions here listen to their inbox, in which something came. May wait."""
        if user in self._sessions and self.keeps_inbox(user):
            self.in_room(inbox_of(user), lambda inbox: self._sessions.open_inbox(user, inbox))

    def is_heard(self) -> bool:
        """Whether anybody listens in this process."""
        return self._rooms.is_heard()

    # What the application asks

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions on the native dialect, on all nodes. Raises CommandError 100."""
        return [*self._sessions.sessions(user), *self._cluster.sessions(user)]

    def is_connected(self, user: UserId) -> bool:
        """Whether a person has a session on any node. Raises CommandError 100."""
        return user in self._sessions or self._cluster.is_connected(user)

    def move(self, user: UserId, deed: str, room: str) -> int:
        """Has all sessions of a person `join`, `leave`, `subscribe` to or `unsubscribe` from a room.

        Returns how many did; those that had done so before did not. Raises CommandError 100.
        """
        return self._sessions.move(user, deed, room) + self._cluster.move(user, deed, room)


def passing_frame(told: Record) -> bytes:
    """An event that is in no log as nodes pass it on: the frame that clients get."""
    return frames.encode(frames.TEXT, told.json)


def passing_event(frame: bytes) -> Record | None:
    """The event in a frame that another node passed on; None where somebody is typing."""
    header = frames.read_header(frame, 0)
    json = frame if header is None else frame[header.body :]
    return None if json.startswith(_TYPING) or not json.startswith(b"{") else record_of(json)
