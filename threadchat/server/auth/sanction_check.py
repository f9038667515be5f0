"""What bans and mutes mean for one session: whether it may come in, be in a room, and speak."""

from __future__ import annotations

from threadchat.chat.log.events import UserId
from threadchat.chat.sanctions import BAN, MUTE, Sanction, Sanctions, in_force
from threadchat.errors import CommandError, ErrorCode


class SanctionCheck:
    """Looks at the table of sanctions only when that has changed; then at those against this session.

    Runs on: the connection's reader thread.
    """

    __slots__ = ("_address", "_held", "_sanctions", "_user", "_version")

    def __init__(self, sanctions: Sanctions, address: str) -> None:
        self._sanctions = sanctions
        self._address = address
        self._user: UserId | None = None
        self._version = -1
        self._held: tuple[Sanction, ...] = ()

    def belong_to(self, user: UserId | None) -> None:
        """Notes whose session it is."""
        self._user = user
        self._version = -1

    @property
    def clean(self) -> bool:
        """Whether there is no sanction at all against this session; some may be over already."""
        version = self._sanctions.version  # read first: what is changed meanwhile is looked at next time
        if version != self._version:
            self._held = self._sanctions.concerning(self._user, self._address)
            self._version = version
        return not self._held

    def may_speak(self, room: str) -> bool:
        """Whether nothing keeps it from speaking in a room."""
        return self.clean or (self._find(BAN, room) or self._find(MUTE, room)) is None

    def check_banned(self, room: str = "") -> None:
        """Raises CommandError 103 where it must not be in a room, or (room empty) here at all."""
        self._check(BAN, room)

    def check_muted(self, room: str = "") -> None:
        """Raises CommandError 103 where it must not speak in a room, or (room empty) to anybody."""
        self._check(BAN, room)
        self._check(MUTE, room)

    def _check(self, kind: str, room: str) -> None:
        if not self.clean and (found := self._find(kind, room)) is not None:
            raise CommandError(ErrorCode.PERMISSION_DENIED, found.sentence())

    def _find(self, kind: str, room: str) -> Sanction | None:
        return in_force(self._held, kind, room, self._sanctions.clock())
