"""Changes messages that are in a room's log: edits and deletes them, adds reactions and takes them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from time import time

from threadchat.chat.log.events import (
    DELETE,
    EDIT,
    MESSAGE,
    REACT,
    UNREACT,
    Details,
    Draft,
    Event,
    Position,
    UserId,
)
from threadchat.chat.log.sequencer import check_target
from threadchat.chat.mentions import details_of
from threadchat.chat.room import Room
from threadchat.chat.room_names import Names
from threadchat.errors import CommandError, ErrorCode


class MessageChanges:
    """The part of a hub that changes messages. Every method may be called from any thread and may block.

    `event` is the id of a message, and `epoch` the log in which it was read; if empty, the current log. The
    methods raise CommandError 102 for an unknown room, 107 if `event` is no message in its log or was
    deleted, and 112 if its log has another epoch. `user` and `nickname` say who does it.
    """

    def find(self, name: str) -> Room:
        """Returns the room of that name. Raises CommandError 102 if it does not exist."""
        raise NotImplementedError("Hub implements this")

    def publish(self, name: str, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in the room of that name. Raises RoomClosed once the hub is closed."""
        raise NotImplementedError("Hub implements this")

    def find_message(self, name: str, event: int, epoch: str = "") -> tuple[Position, Event]:
        """A message as it is in the log now, and its position.

        Who decides by what they see changes the message at that position: if a new log begins meanwhile, the
        same id may be another message there.
        """
        room = self.find(name)
        target = self._position(room, event, epoch)
        records = []
        if event > 0:
            with contextlib.suppress(CommandError):  # it is older than the log, or in the future
                records = room.history(Position(event - 1, target.epoch), 1).records
        if not records or records[0].event.type != MESSAGE or records[0].event.deleted:
            reason = f"event {event} of room {name} is not a message, or was deleted already"
            raise CommandError(ErrorCode.BAD_REQUEST, reason)
        return target, records[0].event

    def find_own(self, name: str, event: int, epoch: str, user: UserId | None, window: float) -> Position:
        """The position of a message that `user` wrote at most `window` seconds ago.

        Raises CommandError 103 for any other message.
        """
        target, message = self.find_message(name, event, epoch)
        if user is None or message.user != user:
            raise CommandError(ErrorCode.PERMISSION_DENIED, f"event {event} is not a message of yours")
        if time() > message.time + window:
            lasts = f"a message can be edited for {window:g} s (edit_window)"
            raise CommandError(ErrorCode.PERMISSION_DENIED, lasts if window else "nothing can be edited here")
        return target

    def details_of(
        self, name: str, text: str, reply_to: Position | None = None, *, may_say_room: Callable[[], bool]
    ) -> Details | None:
        """Whom a text for a room mentions, and what it answers; None if that is nobody and nothing.

        Creates no room: in an unknown one, nobody has a name.
        """
        return details_of(lambda: self._names(name), text, reply_to, may_say_room=may_say_room)

    def mentions_in(
        self, name: str, texts: Iterable[str], *, may_say_room: Callable[[], bool]
    ) -> list[Details | None]:
        """Like `details_of`, for several texts for one room: looks up once who is there."""
        names = self._names(name)
        return [details_of(lambda: names, text, may_say_room=may_say_room) for text in texts]

    def _names(self, name: str) -> Names:
        try:
            room = self.find(name)
        except CommandError:
            return Names()
        return room.names.current(room)

    def delete(
        self, name: str, event: int, *, epoch: str = "", user: UserId | None = None, nickname: str = ""
    ) -> Position:
        """Removes the text of a message, and its reactions, from the log and tells all subscribers.

        Returns the position of the `delete` event.
        """
        target = self._position(self.find(name), event, epoch)
        return self.publish(name, [Draft(DELETE, user, nickname, target=target)])[0]

    def edit(
        self,
        name: str,
        event: int,
        message: str,
        *,
        epoch: str = "",
        user: UserId | None = None,
        nickname: str = "",
        details: Details | None = None,
    ) -> Position:
        """Gives a message another text, and tells all subscribers. Returns the position of the `edit` event.

        `details` has those whom the text mentions.
        """
        target = self._position(self.find(name), event, epoch)
        return self.publish(name, [Draft(EDIT, user, nickname, message, target=target, details=details)])[0]

    def react(
        self,
        name: str,
        event: int,
        emoji: str,
        *,
        epoch: str = "",
        user: UserId,
        nickname: str = "",
        undo: bool = False,
    ) -> Position | None:
        """Puts an emoji to a message, or with `undo` takes it back.

        Returns the position of the event, or None if the user's emoji is there already, or with `undo` is
        not there. Raises CommandError 106 if the message has too many reactions.
        """
        target = self._position(self.find(name), event, epoch)
        details = Details(emoji=emoji)
        kind = UNREACT if undo else REACT
        [position] = self.publish(name, [Draft(kind, user, nickname, target=target, details=details)])
        return position if position.offset else None

    @staticmethod
    def _position(room: Room, event: int, epoch: str) -> Position:
        head = room.fanout.head
        target = Position(event, epoch or head.epoch)
        check_target(target, head.epoch)
        return target
