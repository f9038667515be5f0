"""The chat's commands as methods: each sends one, waits for its reply, and returns it or raises."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from threadchat.chat.log.events import Position, UserId
from threadchat.client.in_flight import InFlightCommands
from threadchat.client.moderation import ModerationCommands
from threadchat.client.pending import KEY_SECONDS, OnLoss, Request
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
"""Seconds; a longer timeout counts as this one, as there are bounds to what the system can wait for."""


Entry = TypeVar("Entry")


class Listing(tuple[Entry, ...]):
    """What a server listed, and whether there is `more` than fits into one reply."""

    more: bool

    def __new__(cls, entries: Iterable[Entry], more: bool = False) -> Listing[Entry]:
        listing = super().__new__(cls, entries)
        listing.more = more
        return listing


class Commands(ModerationCommands):
    """Every command but `hello`, which a client says by itself.

    Each waits for its reply, over a later connection where the present one is lost, for at most `timeout`
    seconds; None stands for the client's own `timeout`. They raise TimeoutError, which says what was waited
    for; CommandError with the `code` of what the server refused; and what ended the client, once it has
    ended. Runs on: any thread, but no callback of a future.
    """

    def __init__(self, in_flight: InFlightCommands, resumption: Resumption, timeout: float) -> None:
        self.timeout = timeout
        self._in_flight = in_flight
        self._resumption = resumption

    def profile(self, nickname: str, about: str | None = None, *, timeout: float | None = None) -> Renamed:
        """Takes a nickname, or another one."""
        renamed = partial(self._resumption.renamed, nfc(nickname), about)
        fields = {"nickname": nickname, "about": about}
        return self._ask(Request("profile", fields, Renamed, renamed), timeout)

    def refresh(self, token: str | None = None, *, timeout: float | None = None) -> Refreshed:
        """Shows a newer token, which the next connections begin with, too, and whose end counts from now on.

        Without `token`, the one that the client was given, or the function, is asked. Raises CannotConnect
        where that function fails.
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
        """Becomes a member of a room, whose events come from here on, or from `since` (offset, epoch) on.

        `types` and `users` let only those events and people through, `names` only the application's events of
        these names, beside what `types` lets through.
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
        """Listens to a room without being seen in it; otherwise as `join`."""
        return self._enter("subscribe", room, since, Filter(types, users, names), timeout)

    def leave(self, room: str, *, timeout: float | None = None) -> Reply:
        """Ends a membership; nothing of the room comes after what waits already."""
        return self._go("leave", room, timeout)

    def unsubscribe(self, room: str, *, timeout: float | None = None) -> Reply:
        """Ends a subscription, as `leave` does a membership."""
        return self._go("unsubscribe", room, timeout)

    # Speaking

    def message(
        self, room: str, message: str, *, key: str | None = None, timeout: float | None = None
    ) -> Published:
        """Says something in a room and returns where it stands in the log, in there once.

        Where the connection is lost meanwhile, it is sent again under its `key` (one of its own where none is
        given). After a TimeoutError it may or may not have arrived; calling again with the same key, within
        five minutes, does not say it twice.
        """
        return self._ask(_message(room, message, key), timeout)

    def post(self, room: str, message: str, *, key: str | None = None) -> Future[Published]:
        """Says something as `message` does, but leaves the waiting to `result(timeout)` of what it returns.

        It waits for nothing. What cannot be sent yet, because there is no connection or because 64 commands
        or 512 KiB are unanswered, stands in a line of at most 4,096 commands and 4 MiB; with the line full it
        raises CommandError 111, `temporary`. Messages of one thread arrive in the order of its calls. What is
        not sent when the client is closed is dropped, and its future says so.
        """
        return self._in_flight.post(_message(room, message, key)).future

    def direct(
        self, to: UserId, message: str, *, key: str | None = None, timeout: float | None = None
    ) -> Delivered:
        """Says something to one person; `stored` of the answer says whether it waits until they come.

        A stranger must be online. Not sent again: where the connection is lost before the reply, CommandError
        108 says so, `temporary`. Calling again with the same `key`, within five minutes, does not say it
        twice to whoever is known.
        """
        fields = {"to": to, "message": message, "key": key}
        what = f"direct to user {to}"
        return self._ask(Request("direct", fields, Delivered, on_loss=OnLoss.REFUSED, what=what), timeout)

    # The application

    def call(self, name: str, data: object = None, *, timeout: float | None = None) -> Any:
        """Has the application do a command of its own; returns what that returned, decoded.

        Raises CommandError with what the application, or the chat, refused it for. Not sent again, see
        `direct`: it may have been done.
        """
        request = Request(
            "call", {"name": name, "data": data}, Called, on_loss=OnLoss.REFUSED, what=f"call of {name}"
        )
        return self._ask(request, timeout).data

    def typing(self, room: str, *, timeout: float | None = None) -> Reply:
        """Tells the others in a room that one is typing; not sent again, see `direct`."""
        return self._ask(Request("typing", {"room": room}, Reply, on_loss=OnLoss.REFUSED), timeout)

    # Asking

    def history(
        self,
        room: str,
        since: tuple[int, str] | None = None,
        *,
        limit: int = 100,
        reverse: bool = False,
        timeout: float | None = None,
    ) -> Page:
        """The newest events of a room, oldest first; or those after `since`, or with `reverse` before it."""
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
        """How many events of a room the log holds."""
        fields = {"room": room, "types": types, "users": users, "names": names}
        return self._ask(Request("count", fields, Counted), timeout).count

    def who(self, room: str, after: UserId | None = None, *, timeout: float | None = None) -> Listing[Person]:
        """The people in a room, by their ids: up to 1,000, from the first one `after` that id on.

        The answer's `more` says whether there are others; then `after` is the last one's id.
        """
        reply = self._ask(Request("who", {"room": room, "after": after}, People), timeout)
        return Listing(reply.users, reply.more)

    def rooms(self, prefix: str = "", *, timeout: float | None = None) -> Listing[RoomInfo]:
        """The rooms whose names begin with `prefix`: up to 1,000, those with the most people first.

        The answer's `more` says whether there are others, which a longer prefix finds.
        """
        reply = self._ask(Request("rooms", {"prefix": prefix or None}, RoomList), timeout)
        return Listing(reply.rooms, reply.more)

    def ping(self, *, timeout: float | None = None) -> float:
        """Seconds to the server's session and back."""
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
        room = nfc(room)  # as its events name it
        if wanted.users is not None:
            wanted = wanted._replace(users=[nfc_id(user) for user in wanted.users])

        def entered(reply: Joined | CommandError) -> None:
            if isinstance(reply, Joined):
                self._resumption.places.enter(RoomPosition(command, room, wanted, reply))

        fields = {"room": room, **wanted._asdict(), "since": _since(since)}
        what = f"{command} of room {room!r}"
        return self._ask(Request(command, fields, Joined, entered, what=what), timeout)

    def _go(self, command: str, room: str, timeout: float | None) -> Reply:
        room = nfc(room)

        def gone(reply: Reply | CommandError) -> None:
            if not isinstance(reply, CommandError):
                self._resumption.places.leave(room)

        what = f"{command} of room {room!r}"
        return self._ask(Request(command, {"room": room}, Reply, gone, OnLoss.DONE, what), timeout)

    def _within(self, timeout: float | None) -> float:
        return min(self.timeout if timeout is None else timeout, LONGEST)


def _message(room: str, message: str, key: str | None) -> Request[Published]:
    fields = {"room": room, "message": message, "key": key or secrets.token_hex(8)}
    what = f"message to room {room!r}"
    return Request("message", fields, Published, what=what, good_for=KEY_SECONDS)


def _since(since: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if since is None else Position(*since)._asdict()
