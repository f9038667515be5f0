"""The chat's commands as methods, each of which sends a command, waits for its reply and returns it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from threadchat.chat.log.events import Position, UserId
from threadchat.client.changes import ChangeCommands
from threadchat.client.in_flight import InFlightCommands
from threadchat.client.moderation import ModerationCommands
from threadchat.client.pending import KEY_SECONDS, OnLoss, Request
from threadchat.client.personal import PersonalCommands
from threadchat.client.positions import Filter, RoomPosition
from threadchat.client.protocol import (
    AnyReply,
    Called,
    Counted,
    Delivered,
    Joined,
    Page,
    People,
    Person,
    Published,
    Refreshed,
    Renamed,
    Reply,
    RoomInfo,
    RoomList,
)
from threadchat.client.resumption import Resumption
from threadchat.errors import CommandError
from threadchat.normalize import nfc, nfc_id

LONGEST: Final = 86_400.0
"""Seconds. A longer timeout counts as this one, because the system cannot wait for any length of time."""


Entry = TypeVar("Entry")


class Listing(tuple[Entry, ...]):
    """The entries that a server listed; `more` says whether there are further ones."""

    more: bool

    def __new__(cls, entries: Iterable[Entry], more: bool = False) -> Listing[Entry]:
        listing = super().__new__(cls, entries)
        listing.more = more
        return listing


class Commands(ChangeCommands, ModerationCommands, PersonalCommands):
    """All commands except `hello`, which the client sends by itself.

    Each method waits for its reply for at most `timeout` seconds; None stands for the client's own `timeout`.
    If the connection is lost, the reply may come over a later one. The methods raise TimeoutError, which says
    what they waited for; CommandError with the server's `code`; and, once the client has ended, the error
    that ended it. Runs on: any thread, but not in a callback of a future.
    """

    def __init__(self, in_flight: InFlightCommands, resumption: Resumption, timeout: float) -> None:
        self.timeout = timeout
        self._in_flight = in_flight
        self._resumption = resumption

    def profile(self, nickname: str, about: str | None = None, *, timeout: float | None = None) -> Renamed:
        """Sets or changes the nickname."""
        renamed = partial(self._resumption.renamed, nfc(nickname), about)
        fields = {"nickname": nickname, "about": about}
        return self._ask(Request("profile", fields, Renamed, renamed), timeout)

    def refresh(self, token: str | None = None, *, timeout: float | None = None) -> Refreshed:
        """Sends a newer token, whose expiry counts from now on, and which later connections use too.

        Without `token`, the token that the client was created with is sent, or the one that its function
        returns. Raises CannotConnect if that function fails.
        """
        return self._ask(self._resumption.refresh(token), timeout)

    # Rooms

    def join(
        self,
        room: str,
        since: tuple[int, str] | None = None,
        *,
        types: Sequence[str] | None = None,
        users: Sequence[UserId] | None = None,
        names: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Joined:
        """Becomes a member of a room. Its events arrive from now on, or from `since` (offset, epoch) on.

        `types` and `users` restrict the events to those types and users. `names` restricts the application's
        events to those names; given without `types`, it admits only these.
        """
        return self._enter("join", room, since, Filter(types, users, names), timeout)

    def subscribe(
        self,
        room: str,
        since: tuple[int, str] | None = None,
        *,
        types: Sequence[str] | None = None,
        users: Sequence[UserId] | None = None,
        names: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Joined:
        """Listens to a room without becoming a member; otherwise like `join`."""
        return self._enter("subscribe", room, since, Filter(types, users, names), timeout)

    def leave(self, room: str, *, timeout: float | None = None) -> Reply:
        """Ends a membership. Events that are queued already can still be taken."""
        return self._go("leave", room, timeout)

    def unsubscribe(self, room: str, *, timeout: float | None = None) -> Reply:
        """Ends a subscription, as `leave` ends a membership."""
        return self._go("unsubscribe", room, timeout)

    # Messages

    def message(
        self,
        room: str,
        message: str,
        *,
        reply_to: int = 0,
        epoch: str = "",
        key: str | None = None,
        timeout: float | None = None,
    ) -> Published:
        """Publishes a message in a room, exactly once, and returns its offset in the log.

        `reply_to` is the id of a message that this one answers, and `epoch` the id of the log in which it was
        read; empty stands for the present log.

        If the connection is lost before the reply, the message is sent again under its `key`, which is chosen
        at random if none is given. After a TimeoutError the message may or may not have arrived; a second
        call with the same key within five minutes does not publish it twice.
        """
        return self._ask(_message(room, message, key, reply_to, epoch), timeout)

    def post(self, room: str, message: str, *, key: str | None = None) -> Future[Published]:
        """Publishes a message like `message`, but does not wait: the returned future delivers the reply.

        A message that cannot be sent yet, because there is no connection or because 64 commands or 512 KiB
        are unanswered, waits in a queue of at most 4,096 commands and 4 MiB. If that is full, CommandError
        111 is raised, which is `temporary`. Messages of one thread arrive in the order of its calls. When the
        client is closed, messages that were not sent are dropped, and their futures fail.
        """
        return self._in_flight.post(_message(room, message, key)).future

    def direct(
        self, to: UserId, message: str, *, key: str | None = None, timeout: float | None = None
    ) -> Delivered:
        """Sends a private message to one person; `stored` of the reply says whether it waits for them.

        An anonymous user must be online. The command is not sent again: if the connection is lost before the
        reply, CommandError 108 is raised, which is `temporary`. For a known user, a second call with the same
        `key` within five minutes does not deliver the message twice.
        """
        fields = {"to": to, "message": message, "key": key}
        what = f"direct to user {to}"
        return self._ask(Request("direct", fields, Delivered, on_loss=OnLoss.REFUSED, what=what), timeout)

    # The application

    def call(self, name: str, data: object = None, *, timeout: float | None = None) -> Any:
        """Calls a command that the application has defined; returns its decoded result.

        Raises CommandError if the application or the chat refuses the call. It is not sent again after a lost
        connection, because it may have been carried out; see `direct`.
        """
        request = Request(
            "call", {"name": name, "data": data}, Called, on_loss=OnLoss.REFUSED, what=f"call of {name}"
        )
        return self._ask(request, timeout).data

    def typing(self, room: str, *, timeout: float | None = None) -> Reply:
        """Tells the others in a room that the user is typing; not sent again, see `direct`."""
        return self._ask(Request("typing", {"room": room}, Reply, on_loss=OnLoss.REFUSED), timeout)

    # Queries

    def history(
        self,
        room: str,
        since: tuple[int, str] | None = None,
        *,
        limit: int = 100,
        reverse: bool = False,
        timeout: float | None = None,
    ) -> Page:
        """The newest events of a room, oldest first; or those after `since`, or before it with `reverse`."""
        fields = {"room": room, "since": _since(since), "limit": limit, "reverse": reverse}
        return self._ask(Request("history", fields, Page), timeout)

    def count(
        self,
        room: str,
        *,
        types: Sequence[str] | None = None,
        users: Sequence[UserId] | None = None,
        names: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> int:
        """The number of events in a room's log."""
        fields = {"room": room, "types": types, "users": users, "names": names}
        return self._ask(Request("count", fields, Counted), timeout).count

    def who(self, room: str, after: UserId | None = None, *, timeout: float | None = None) -> Listing[Person]:
        """Up to 1,000 people in a room, ordered by id, beginning after the id `after`.

        `more` of the result says whether there are others; pass the last id as `after` to get them.
        """
        reply = self._ask(Request("who", {"room": room, "after": after}, People), timeout)
        return Listing(reply.users, reply.more)

    def rooms(self, prefix: str = "", *, timeout: float | None = None) -> Listing[RoomInfo]:
        """Up to 1,000 rooms whose names begin with `prefix`, those with the most people first.

        `more` of the result says whether there are others; use a longer prefix to find them.
        """
        reply = self._ask(Request("rooms", {"prefix": prefix or None}, RoomList), timeout)
        return Listing(reply.rooms, reply.more)

    def ping(self, *, timeout: float | None = None) -> float:
        """The round-trip time to the server's session, in seconds."""
        begun = monotonic()
        self._ask(Request("ping", {}, Reply), timeout)
        return monotonic() - begun

    # Helpers

    def _ask(self, request: Request[AnyReply], timeout: float | None) -> AnyReply:
        return self._in_flight.ask(request, self._within(timeout))

    def _enter(
        self,
        command: str,
        room: str,
        since: tuple[int, str] | None,
        wanted: Filter,
        timeout: float | None,
    ) -> Joined:
        room = nfc(room)  # as in the events of the room
        if wanted.users is not None:
            wanted = wanted._replace(users=[nfc_id(user) for user in wanted.users])

        def entered(reply: Joined | CommandError) -> None:
            if isinstance(reply, Joined):
                self._resumption.positions.enter(RoomPosition(command, room, wanted, reply))

        fields = {"room": room, **wanted._asdict(), "since": _since(since)}
        what = f"{command} of room {room!r}"
        return self._ask(Request(command, fields, Joined, entered, what=what), timeout)

    def _go(self, command: str, room: str, timeout: float | None) -> Reply:
        room = nfc(room)

        def gone(reply: Reply | CommandError) -> None:
            if not isinstance(reply, CommandError):
                self._resumption.positions.leave(room)

        what = f"{command} of room {room!r}"
        return self._ask(Request(command, {"room": room}, Reply, gone, OnLoss.DONE, what), timeout)

    def _within(self, timeout: float | None) -> float:
        return min(self.timeout if timeout is None else timeout, LONGEST)


def _message(
    room: str, message: str, key: str | None, reply_to: int = 0, epoch: str = ""
) -> Request[Published]:
    fields: dict[str, Any] = {"room": room, "message": message, "key": key or secrets.token_hex(8)}
    if reply_to:
        fields |= {"reply_to": reply_to, "epoch": epoch}
    what = f"message to room {room!r}"
    return Request("message", fields, Published, what=what, good_for=KEY_SECONDS)


def _since(since: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if since is None else Position(*since)._asdict()
