"""The moderators' commands as methods: each sends one, waits for its reply, and returns it or raises."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.client.pending import OnLoss, Request
from threadchat.client.protocol import AnyReply, Published, Reply


class SanctionInfo(msgspec.Struct, frozen=True):
    """A ban or a mute (`kind`) of a user or an address; `room` is empty where it holds everywhere.

    `until` is Unix time, in seconds; None: for good.
    """

    kind: str
    user: UserId | None = None
    address: str = ""
    room: str = ""
    until: int | None = None
    reason: str = ""
    by: UserId | None = None


class Imposed(Reply, frozen=True):
    """What is in force now."""

    sanctions: tuple[SanctionInfo, ...]


class Sanctioned(Imposed, frozen=True):
    """What is in force: the newest of `count`."""

    count: int


class Lifted(Reply, frozen=True):
    """Whether there was something to be taken back."""

    lifted: bool


class Ended(Reply, frozen=True):
    """How many seats or connections somebody had."""

    ended: int


class ModerationCommands:
    """What one may do who moderates a room, or (room empty) everywhere; others get CommandError 103.

    Each waits and raises as other commands do. Runs on: any thread, but no callback of a future.
    """

    @abstractmethod
    def _ask(self, request: Request[AnyReply], timeout: float | None) -> AnyReply: ...

    def kick(self, user: UserId, room: str = "", *, reason: str = "", timeout: float | None = None) -> int:
        """Throws somebody out, who may come back; returns how many seats, or connections, that ended."""
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
        """Throws a user or an address out and keeps them out, for so many seconds or for good.

        `with_address`: the addresses that the user is connected from now are banned too.
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
        """Takes a ban back; whether there was one."""
        return self._ask(Request("unban", _fields(user, address, room), Lifted), timeout).lifted

    def unmute(
        self,
        user: UserId | None = None,
        *,
        address: str | None = None,
        room: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Takes a mute back; whether there was one."""
        return self._ask(Request("unmute", _fields(user, address, room), Lifted), timeout).lifted

    def sanctions(self, room: str = "", *, timeout: float | None = None) -> Sanctioned:
        """The bans and mutes of one room, or all there are: a thousand at most, and how many in all."""
        return self._ask(Request("sanctions", {"room": room}, Sanctioned), timeout)

    def delete(self, room: str, event: int, *, epoch: str = "", timeout: float | None = None) -> Published:
        """Takes the text of a message out of a room's log; not sent again, see `direct`.

        `epoch` names the log in which `event` was read, as the reply to `join` or `history` does;
        empty: the one that there is now. Raises CommandError 112 where the room has begun anew since.
        """
        fields = {"room": room, "event": event, **({"epoch": epoch} if epoch else {})}
        return self._ask(Request("delete", fields, Published, on_loss=OnLoss.REFUSED), timeout)

    def close_room(self, room: str, *, timeout: float | None = None) -> Reply:
        """Closes a room, with its log; not sent again, see `direct`."""
        return self._ask(Request("close", {"room": room}, Reply, on_loss=OnLoss.REFUSED), timeout)


def _fields(user: UserId | None, address: str | None, room: str, **others: Any) -> dict[str, Any]:
    return {"user": user, "address": address, "room": room, **others}
