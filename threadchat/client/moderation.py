"""The moderators' commands as methods, each of which sends a command and returns its reply."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.client.pending import OnLoss, Request
from threadchat.client.protocol import AnyReply, Reply


class SanctionInfo(msgspec.Struct, frozen=True):
    """A ban or a mute (`kind`) of a user or an address; `room` is empty if it applies everywhere.

    `until` is its end in Unix time, in seconds; None means that it does not expire.
    """

    kind: str
    user: UserId | None = None
    address: str = ""
    room: str = ""
    until: int | None = None
    reason: str = ""
    by: UserId | None = None


class Imposed(Reply, frozen=True):
    """The sanctions that are in force now."""

    sanctions: tuple[SanctionInfo, ...]


class Sanctioned(Imposed, frozen=True):
    """The newest of the sanctions in force; `count` is the number of all of them."""

    count: int


class Lifted(Reply, frozen=True):
    """Whether there was a sanction to lift."""

    lifted: bool


class Ended(Reply, frozen=True):
    """The number of memberships or connections that ended."""

    ended: int


class ModerationCommands:
    """Commands for moderators of a room, or of all rooms (`room` empty); others get CommandError 103.

    The methods wait and raise like other commands. Runs on: any thread, but not in a callback of a future.
    """

    @abstractmethod
    def _ask(self, request: Request[AnyReply], timeout: float | None) -> AnyReply: ...

    def kick(self, user: UserId, room: str = "", *, reason: str = "", timeout: float | None = None) -> int:
        """Removes a user, who may come back; returns how many memberships, or connections, were ended."""
        fields = {"user": user, "room": room, "reason": reason}
        return self._ask(Request("kick", fields, Ended), timeout).ended

    def ban(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        seconds: float | None = None,
        reason: str = "",
        with_address: bool = False,
        timeout: float | None = None,
    ) -> tuple[SanctionInfo, ...]:
        """Removes a user or an address and keeps them out, for `seconds` or without end.

        With `with_address`, the addresses that the user is connected from are banned too.
        """
        fields = _fields(user, address, room, seconds=seconds, reason=reason, with_address=with_address)
        return self._ask(Request("ban", fields, Imposed), timeout).sanctions

    def mute(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        seconds: float | None = None,
        reason: str = "",
        timeout: float | None = None,
    ) -> tuple[SanctionInfo, ...]:
        """Lets a user or an address listen, but not speak."""
        fields = _fields(user, address, room, seconds=seconds, reason=reason)
        return self._ask(Request("mute", fields, Imposed), timeout).sanctions

    def unban(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Lifts a ban; returns whether there was one."""
        return self._ask(Request("unban", _fields(user, address, room), Lifted), timeout).lifted

    def unmute(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Lifts a mute; returns whether there was one."""
        return self._ask(Request("unmute", _fields(user, address, room), Lifted), timeout).lifted

    def sanctions(self, room: str = "", *, timeout: float | None = None) -> Sanctioned:
        """The bans and mutes of one room, or all of them: at most a thousand, and their total number."""
        return self._ask(Request("sanctions", {"room": room}, Sanctioned), timeout)

    def close_room(self, room: str, *, timeout: float | None = None) -> Reply:
        """Closes a room and deletes its log; not sent again, see `direct`."""
        return self._ask(Request("close", {"room": room}, Reply, on_loss=OnLoss.REFUSED), timeout)


def _fields(user: UserId | None, address: str | None, room: str, **others: Any) -> dict[str, Any]:
    return {"user": user, "address": address, "room": room, **others}
