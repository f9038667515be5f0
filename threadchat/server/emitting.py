"""What an application may do through its chat: publish, emit events, and join people to rooms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from threadchat.chat.emitting import draft_event
from threadchat.chat.log.events import Position, UserId
from threadchat.chat.presence import Occupant
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.auth.name_policy import NamePolicy, name_policy
from threadchat.server.listening_check import ListeningCheck
from threadchat.server.protocol.encoding import check_reachable
from threadchat.server.session.publishing import (
    check_key,
    check_room,
    check_sender,
    check_user,
    direct,
    edit,
    publish,
    react,
)


class Emitting(AdministeredChat):
    """Messages and application events, for rooms and for people. Everything takes effect on all nodes.

    Every method raises CommandError: 107 for invalid arguments, 100 (temporary) while the broker is away, and
    108 once the chat is closed. Runs on: any thread.
    """

    config: Config
    listening_check: ListeningCheck

    def publish(
        self,
        room: str,
        message: str,
        user: object = None,
        *,
        nickname: str = "",
        key: str = "",
        reply_to: int = 0,
        epoch: str = "",
    ) -> Position:
        """Publishes a message in a room and returns its position in the room's log.

        The room is created if it does not exist. `user` is the sender: an id, or anything `authenticate` may
        return; `nickname` replaces that user's nickname. A second message with the same `user` and `key`
        within 5 minutes is not published; the first one's position is returned. `reply_to` is the id of a
        message that this one answers, and `epoch` the log in which it was read. The text mentions people as
        `@nickname`, and all who read the room as `@room`. The message is in the log and
        on its way to everybody when this returns. It does not wait for slow connections, but publishers are
        paced. Raises CommandError: 107 for an invalid message, 108 once the chat is closed. Runs on: any
        thread.
        """
        self._begin()
        self.listening_check.check()
        return publish(
            self.hub,
            self.config,
            room,
            message,
            user=user,
            nickname=nickname,
            key=key,
            reply_to=reply_to,
            epoch=epoch,
        )

    def edit(
        self, room: str, event: int, message: str, *, epoch: str = "", by: UserId | None = None
    ) -> Position:
        """Changes the text of a message, in the log and for all clients, however old it is.

        `event` is the id of the message, and `epoch` the log in which it was read; an empty `epoch` means the
        current log. `by` is who does it, for the clients. Returns the position of the `edit` event. Raises
        CommandError 102 for an unknown room, 107 if `event` is not the id of a message, and 112 if the room's
        log has a new epoch since.
        """
        self._begin()
        return edit(self.hub, self.config, room, event, message, epoch=epoch, by=by)

    def react(
        self,
        room: str,
        event: int,
        emoji: str,
        user: object,
        *,
        nickname: str = "",
        epoch: str = "",
        undo: bool = False,
    ) -> Position | None:
        """Adds an emoji of `user` to a message, or with `undo` removes it.

        Returns the position of the event, or None if there was nothing to change. Raises what `edit` raises,
        and CommandError 106 if the message has too many reactions.
        """
        self._begin()
        return react(self.hub, room, event, emoji, user, nickname=nickname, epoch=epoch, undo=undo)

    def emit(
        self,
        room: str = "",
        name: str = "",
        data: object = None,
        *,
        user: object = None,
        keep: bool = True,
        skip: str | None = None,
        key: str | None = None,
    ) -> Position | None:
        """Emits an application event in a room, or for one person (`user`).

        `data` is any JSON value of at most `max_message_size` bytes. The event is stored in the room's log or
        the person's inbox, so clients recover it; its position there is returned. With `keep=False` the event
        is not stored and None is returned: it goes to those who listen now and have space in their outbox,
        and a newer event of the same name and room replaces one that still waits.

        `skip` is the id of a session that does not receive it. A second event with the same `key` within
        5 minutes is not emitted. `user` is an id, or anything `authenticate` may return. A person without an
        inbox (an anonymous one, or any if nobody is authenticated) receives it only while online, else
        CommandError 108 is raised.
        """
        self._begin()
        self.listening_check.check()
        if (room == "") == (user is None):
            raise CommandError(ErrorCode.BAD_REQUEST, "give either a room or a user")
        if skip is not None and not isinstance(skip, str):
            raise CommandError(ErrorCode.BAD_REQUEST, f"skip is {skip!r:.60}; it must be the id of a session")
        most = self.config.max_message_size
        draft = draft_event(name, data, skip=skip or "", key=check_key(key) if key else "", most=most)
        try:
            if user is None:
                where = self._check_room(room)
                return self.hub.emit(where, draft, keep=keep)
            to, _ = check_sender(user, "")
            if to is None:
                raise CommandError(ErrorCode.BAD_REQUEST, f"user {user!r:.60} is nobody")
            sent = self.hub.emit_to(to, draft, keep=keep)
        except RoomClosed:
            raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None
        if keep and sent.position is None and not sent.online:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")
        return sent.position

    def direct(
        self, to: UserId, message: str, user: object = None, *, nickname: str = "", key: str = ""
    ) -> bool:
        """Sends a message to all sessions of one person; returns whether it is stored because there are none.

        A known person's message is stored in their inbox. `user`, `nickname` and `key` are as for `publish`.
        Raises CommandError: 107 for an invalid message; for a person without an inbox 108 if they are not
        online, and 111 if no session's outbox had space. Runs on: any thread.
        """
        self._begin()
        self.listening_check.check()
        most = self.config.max_message_size
        return direct(self.hub, to, message, user=user, nickname=nickname, most=most, key=key)

    def join(self, user: UserId, room: str) -> int:
        """Joins all sessions of a person to a room; returns how many of them were not members before.

        Their clients receive `joined`. Sessions of dialects without rooms are left out.
        """
        return self._move("join", user, self._check_room(room))

    def leave(self, user: UserId, room: str) -> int:
        """Ends the memberships of a person's sessions in a room; returns how many there were."""
        return self._move("leave", user, self._check_room(room))

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions, as `skip` takes them and `SessionInfo.session` has them."""
        self._begin()
        return self.hub.sessions(check_user(user))

    def connected(self, user: UserId) -> bool:
        """Whether a person has a session on any node."""
        self._begin()
        return self.hub.is_connected(check_user(user))

    def in_room(self, room: str) -> list[Occupant]:
        """The people in a room, each with their sessions; an empty list for an unknown room."""
        self._begin()
        try:
            return self.hub.find(check_room(room)).who()
        except CommandError as error:
            if error.code != ErrorCode.UNKNOWN_ROOM:
                raise
            return []

    def _move(self, action: str, user: Any, room: str) -> int:
        self._begin()
        return self.hub.move(check_user(user), action, room)

    def _check_room(self, room: Any) -> str:
        names = name_policy(self.config.room_pattern, self.config.nickname_pattern)
        return _known_room(room, names) if type(room) is str else _room_with_events(room, names)


def _room_with_events(room: Any, names: NamePolicy) -> str:
    """The name of a room that may have events. The room of `/ws` has only messages, so it is refused."""
    name = check_room(room, names)
    check_reachable(name)
    return name


_known_room = lru_cache(maxsize=1024)(_room_with_events)
"""An application emits often, and in few rooms."""
