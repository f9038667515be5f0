"""Checks and carries out bans, mutes and kicks, for the application, for operators and for moderators."""

from __future__ import annotations

import logging
import math
from typing import Any, Final, Literal

from threadchat.chat.access.addresses import neighbourhood, spelled
from threadchat.chat.access.revocations import KEPT
from threadchat.chat.access.sanctions import (
    BAN,
    KINDS,
    LATEST,
    MUTE,
    Sanction,
    Subject,
    subject_for,
    user_of,
)
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import spelled_id
from threadchat.errors import CloseCode, CommandError, ErrorCode, RoomClosed
from threadchat.server.session.publishing import check_encodable, check_room, check_user

log = logging.getLogger(__name__)

MAX_REASON: Final = 200
"""Characters. A Close frame can carry about half of them; the rest is cut off."""


class Moderation:
    """Moderation by the application or an operator.

    Actions take effect on all nodes; with an empty `room` they apply everywhere. `by` is the id of the person
    who ordered the action, for the log and for the list of sanctions. Every method raises CommandError: 107
    for invalid arguments, and 100 (temporary) while other nodes cannot be reached. Runs on: any thread.
    """

    hub: Hub

    def _begin(self) -> None:
        raise NotImplementedError("a chat prepares its first use here")

    def ban(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        seconds: float | None = None,
        reason: str = "",
        with_address: bool = False,
        by: UserId | None = None,
    ) -> list[Sanction]:
        """Removes a user or an address (192.0.2.7, or a network such as 192.0.2.0/24), and keeps them out.

        Without `seconds` the ban has no end. `with_address` also bans the addresses from which the user is
        connected now, with IPv6 their /64 networks. Returns the new sanctions. Raises CommandError 106 if
        there are too many.
        """
        self._begin()
        return impose(
            self.hub,
            BAN,
            user,
            address,
            room=room,
            seconds=seconds,
            reason=reason,
            by=by,
            with_address=with_address,
        )

    def mute(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        seconds: float | None = None,
        reason: str = "",
        by: UserId | None = None,
    ) -> list[Sanction]:
        """Lets a user or an address listen but not send messages; otherwise as `ban`."""
        self._begin()
        return impose(self.hub, MUTE, user, address, room=room, seconds=seconds, reason=reason, by=by)

    def lift(
        self,
        kind: Literal["ban", "mute"],
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        by: UserId | None = None,
    ) -> bool:
        """Lifts a ban or a mute of the same room; returns whether there was one.

        `unban` and `unmute` are the same with a fixed kind.
        """
        self._begin()
        return lift(self.hub, kind, user, address, room=room, by=by)

    def unban(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        by: UserId | None = None,
    ) -> bool:
        """Lifts a ban of the same room; returns whether there was one."""
        return self.lift(BAN, user, address=address, room=room, by=by)

    def unmute(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        by: UserId | None = None,
    ) -> bool:
        """Lifts a mute of the same room; returns whether there was one."""
        return self.lift(MUTE, user, address=address, room=room, by=by)

    def kick(self, user: UserId, *, room: str = "", reason: str = "", by: UserId | None = None) -> int:
        """Removes a user from a room or, with an empty room, closes all their connections.

        The user may come back. Returns how many memberships or connections ended.
        """
        self._begin()
        return kick(self.hub, user, room=room, reason=reason, by=by)

    def revoke(self, user: UserId, *, token_id: str = "", seconds: float = KEPT) -> None:
        """Revokes the tokens and the `resume` that were issued to a user until now.

        Open connections that were made with it are closed (3503). With `token_id`, the `jti` of a token, only
        that token ends. Tokens without `iat` cannot be told from older ones and end too. It is remembered for
        `seconds`, which must be longer than the user's tokens are valid. An `authenticate` hook has to stop
        recognizing the user before this is called.
        """
        self._begin()
        user = check_user(user)
        if not isinstance(token_id, str):
            raise _bad(f"token_id is {token_id!r:.60}; it must be the jti of a token")
        _until(self.hub.revocations.now(), seconds)
        self.hub.revocations.revoke(user, seconds, token_id)

    def sanctions(self, room: str | None = None) -> list[Sanction]:
        """Lists all sanctions, those of one room, or with an empty `room` those that hold everywhere."""
        self._begin()
        return self.hub.sanctions.list(None if room is None else _check_place(room))

    def close_room(self, room: str) -> None:
        """Closes a room for everybody and deletes its log. Raises CommandError 102 for an unknown room."""
        self._begin()
        self.hub.close_room(check_room(room))
        log.info("the application closed room %r", room)

    def delete(self, room: str, event: int, *, epoch: str = "", by: UserId | None = None) -> None:
        """Removes the text of a message from a room's log and from all clients.

        `event` is the id of the message, and `epoch` the log's epoch in which it was read; an empty `epoch`
        means the current log. Raises CommandError 102 for an unknown room, 107 if `event` is not the id of a
        message, and 112 if the room's log has a new epoch since.
        """
        self._begin()
        try:
            self.hub.delete(check_room(room), event, epoch=epoch, user=by)
        except RoomClosed:
            raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None
        log.info("%s deleted message %d of room %r", _who(by), event, room)


def impose(
    hub: Hub,
    kind: str,
    user: UserId | None,
    address: str | None,
    *,
    room: str,
    seconds: float | None,
    reason: str,
    by: UserId | None,
    with_address: bool = False,
    spared: str = "",
) -> list[Sanction]:
    """See `Moderation.ban`. `with_address` does not ban the address `spared`. Raises CommandError."""
    subjects: list[Subject] = [subject_of(user, address)]
    room, reason = _check_place(room), _check_reason(reason)
    until = _until(hub.sanctions.clock(), seconds)
    if with_address:
        if user is None:
            raise _bad("with_address needs a user; an address is banned as it is given")
        # Read before the ban, which ends the connections.
        found = {neighbourhood(item) for item in hub.addresses(check_user(user))}
        if spared:
            found.discard(neighbourhood(spared))
        subjects += sorted(found)
    imposed = [Sanction(kind, subject, room, until, reason, by) for subject in subjects]
    for sanction in imposed:
        hub.sanctions.impose(sanction)
        span = "for good" if seconds is None else f"for {seconds:g} s"
        done = "banned" if kind == BAN else "muted"
        log.info("%s %s %s %s %s: %r", _who(by), done, _whom(sanction.subject), _where(room), span, reason)
    return imposed


def lift(
    hub: Hub, kind: str, user: UserId | None, address: str | None, *, room: str, by: UserId | None
) -> bool:
    """See `Moderation.lift`. Raises CommandError."""
    if kind not in KINDS:
        raise _bad(f"kind is {kind!r:.60}; it is ban or mute")
    subject = subject_of(user, address)
    lifted = hub.sanctions.lift(kind, subject, _check_place(room))
    if lifted:
        log.info("%s lifted the %s of %s %s", _who(by), kind, _whom(subject), _where(room))
    return lifted


def kick(hub: Hub, user: UserId, *, room: str, reason: str, by: UserId | None) -> int:
    """See `Moderation.kick`. Raises CommandError."""
    user = check_user(user)
    room, reason = _check_place(room), _check_reason(reason)
    why = f": {reason}" if reason else ""
    if room:
        ended = hub.kick(user, room, f"you were kicked out of room {room}{why}")
    else:
        ended = hub.disconnect(user, CloseCode.FORCE_DISCONNECT, f"kicked{why}")
    log.info("%s kicked %s %s (%d): %r", _who(by), _whom(subject_for(user)), _where(room), ended, reason)
    return ended


def subject_of(user: Any, address: Any) -> Subject:
    """The subject of a sanction: a user, or a normalized address. Raises CommandError 107."""
    if (user is None) == (address is None):
        raise _bad("give either a user or an address")
    if address is not None:
        if not isinstance(address, str):
            raise _bad(f"address is of type {type(address).__name__}; it must be text such as 192.0.2.7")
        return spelled(address)
    return subject_for(check_user(user))


def _check_place(room: Any) -> str:
    return "" if room == "" else check_room(room)


def _check_reason(reason: Any) -> str:
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise _bad(f"reason is {reason!r:.60}; it must be text of at most {MAX_REASON} characters")
    check_encodable("reason", reason)
    return " ".join(reason.split())  # a single line, because it goes into logs and HTTP replies


def _until(now: float, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LATEST - now:
        raise _bad(f"seconds is {seconds!r:.60}; it must be above 0, or left out for no end")
    return math.ceil(now + seconds)


def _who(by: UserId | None) -> str:
    return "the application" if by is None else f"user {spelled_id(by)}"


def _whom(subject: Subject) -> str:
    user = user_of(subject)
    return f"address {subject}" if user is None else f"user {spelled_id(user)}"


def _where(room: str) -> str:
    return f"in room {room!r}" if room else "everywhere"


def _bad(reason: str) -> CommandError:
    return CommandError(ErrorCode.BAD_REQUEST, reason)
