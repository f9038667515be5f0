"""Checks bans and mutes for one session: whether it may connect, be in a room, and send messages."""

from __future__ import annotations

from threadchat.chat.access.sanctions import BAN, MUTE, Sanction, Sanctions, in_force
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode


class SanctionCheck:
    """Remembers the sanctions against this session. It searches the table again only when that has changed.

    Runs on: the connection's reader thread.
    """

    __slots__ = ("_address", "_concerning", "_sanctions", "_user", "_version")

    def __init__(self, sanctions: Sanctions, address: str) -> None:
        self._sanctions = sanctions
        self._address = address
        self._user: UserId | None = None
        self._version = -1
        self._concerning: tuple[Sanction, ...] = ()

    def belong_to(self, user: UserId | None) -> None:
        """Sets the user of this session."""
        self._user = user
        self._version = -1

    @property
    def clean(self) -> bool:
        """Whether there is no sanction against this session, not even an expired one."""
        version = self._sanctions.version  # read first, so that the next call sees a change made meanwhile
        if version != self._version:
            self._concerning = self._sanctions.concerning(self._user, self._address)
            self._version = version
        return not self._concerning

    def may_speak(self, room: str) -> bool:
        """Whether the session may send messages in a room."""
        return self.clean or (self._find(BAN, room) or self._find(MUTE, room)) is None

    def is_banned(self, room: str) -> bool:
        """Whether the session may not be in a room."""
        return not self.clean and self._find(BAN, room) is not None

    def check_banned(self, room: str = "") -> None:
        """Raises CommandError 103 if it is banned from a room, or with an empty `room` everywhere."""
        self._check(BAN, room)

    def check_muted(self, room: str = "") -> None:
        """Raises CommandError 103 if it may not send in a room, or with an empty `room` to anybody."""
        self._check(BAN, room)
        self._check(MUTE, room)

    def _check(self, kind: str, room: str) -> None:
        if not self.clean and (found := self._find(kind, room)) is not None:
            raise CommandError(ErrorCode.PERMISSION_DENIED, found.sentence())

    def _find(self, kind: str, room: str) -> Sanction | None:
        return in_force(self._concerning, kind, room, self._sanctions.clock())
