"""What a chat lets its application say: messages, events of its own, and what people's sessions do."""

from __future__ import annotations

from typing import Any

from threadchat.chat.emitting import draft_event
from threadchat.chat.log.events import Position, UserId
from threadchat.chat.presence import Occupant
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.auth.name_policy import name_policy
from threadchat.server.listening_check import ListeningCheck
from threadchat.server.protocol.encoding import check_reachable
from threadchat.server.session.publishing import (
    check_key,
    check_room,
    check_sender,
    check_user,
    direct,
    publish,
)


class Emitting(AdministeredChat):
    """Messages and the application's own events, for rooms and for people; everything holds on all nodes.

    All raise CommandError: 107 for what cannot be done, 100, temporary, where the broker is away, and 108
    once the chat is closed. Runs on: any thread.
    """

    config: Config
    audience: ListeningCheck

    def publish(
        self, room: str, message: str, user: object = None, *, nickname: str = "", key: str = ""
    ) -> Position:
        """Says something in a room, which is made if there is none; returns its place in the room's log.

        `user` is whom it comes from: an id, or what `authenticate` may return; `nickname` beats that user's.
        The same `key` of the same user says nothing new for 5 minutes. When this returns, everybody has it,
        or has it coming: no slow connection is waited for, though publishers are paced. Raises
        CommandError: 107 for what cannot be said, 108 once the chat is closed. Runs on: any thread.
        """
        self._begin()
        self.audience.check()
        return publish(self.hub, self.config, room, message, user=user, nickname=nickname, key=key)

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
        """Has an event of the application's own happen in a room, or (`user`) for one person.

        `data` is any JSON value, in at most `max_message_size` bytes. It is in the log of the room, or the
        inbox of the person, and so is recovered; returns its place there. With `keep` false it is told now,
        to those who listen and have room to spare, is in no log (None is returned), and a newer one of the
        same name and room takes the place of one that still waits. `skip` is a session that does not get it;
        the same `key` says nothing new for 5 minutes. `user` is an id, or what `authenticate` may return. A
        person without an inbox (a stranger, or where nobody is known) gets what is for them if they are
        online, else CommandError 108 is raised.
        """
        self._begin()
        self.audience.check()
        if (room == "") == (user is None):
            raise CommandError(ErrorCode.BAD_REQUEST, "give either a room or a user")
        if skip is not None and not isinstance(skip, str):
            raise CommandError(ErrorCode.BAD_REQUEST, f"skip is {skip!r:.60}; it must be the id of a session")
        most = self.config.max_message_size
        draft = draft_event(name, data, skip=skip or "", key=check_key(key or ""), most=most)
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
        """Says something to one person, on every session they have; whether it waits, as they have none.

        Whoever is known finds it in their inbox. `user`, `nickname` and `key` are as for `publish`. Raises
        CommandError: 107 for what cannot be said, and for a person without an inbox 108 where they are not
        online, 111 where no session had room. Runs on: any thread.
        """
        self._begin()
        self.audience.check()
        most = self.config.max_message_size
        return direct(self.hub, to, message, user=user, nickname=nickname, most=most, key=key)

    def join(self, user: UserId, room: str) -> int:
        """Makes a person a member of a room with all their sessions; returns how many were not yet.

        Their clients are told, with `joined`. On dialects without rooms nothing happens.
        """
        return self._move("join", user, self._check_room(room))

    def leave(self, user: UserId, room: str) -> int:
        """Ends a person's memberships in a room; returns how many there were."""
        return self._move("leave", user, self._check_room(room))

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions: what `skip` of an event takes, and `SessionInfo.session` is."""
        self._begin()
        return self.hub.sessions(check_user(user))

    def connected(self, user: UserId) -> bool:
        """Whether a person has a session anywhere."""
        self._begin()
        return self.hub.is_connected(check_user(user))

    def in_room(self, room: str) -> list[Occupant]:
        """The people in a room, each with their sessions; none where there is no such room."""
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
        """A room that has events: not that of `/ws`, which has messages only."""
        name = check_room(room, name_policy(self.config.room_pattern, self.config.nickname_pattern))
        check_reachable(name)
        return name
