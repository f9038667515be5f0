"""The client's commands about messages that exist: edit, delete, react, and what the user has read."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from threadchat.client.pending import OnLoss, Request
from threadchat.client.protocol import AnyReply, Published, Reply, RoomList, Unread


class Changed(Reply, frozen=True):
    """The id of the event that tells of a reaction; 0 if there was nothing to change."""

    offset: int = 0


class ChangeCommands:
    """Commands about a message: `event` is its id in the room.

    `epoch` is the id of the log in which it was read, from the reply to `join` or `history`; empty stands for
    the present log. The methods raise CommandError 107 if the event is not a message or was deleted, and 112
    if the room has a new log since then. They wait like other commands. Runs on: any thread, but not in a
    callback of a future.
    """

    @abstractmethod
    def _ask(self, request: Request[AnyReply], timeout: float | None) -> AnyReply: ...

    def edit(
        self, room: str, event: int, message: str, *, epoch: str = "", timeout: float | None = None
    ) -> Published:
        """Changes the text of the user's own message.

        Raises CommandError 103 if it is the message of somebody else, or older than the server's
        `edit_window`.
        """
        fields = {**_target(room, event, epoch), "message": message}
        return self._ask(Request("edit", fields, Published, what=f"edit of message {event}"), timeout)

    def delete(self, room: str, event: int, *, epoch: str = "", timeout: float | None = None) -> Published:
        """Deletes the text of a message: the user's own, or as a moderator anybody's.

        If the connection is lost before the reply, the command is not sent again; see `direct`.
        """
        request = Request("delete", _target(room, event, epoch), Published, on_loss=OnLoss.REFUSED)
        return self._ask(request, timeout)

    def react(
        self, room: str, event: int, emoji: str, *, epoch: str = "", timeout: float | None = None
    ) -> Changed:
        """Adds an emoji to a message. It has no effect if the user has added it already.

        Raises CommandError 106 if the message has too many reactions.
        """
        return self._ask(Request("react", {**_target(room, event, epoch), "emoji": emoji}, Changed), timeout)

    def unreact(
        self, room: str, event: int, emoji: str, *, epoch: str = "", timeout: float | None = None
    ) -> Changed:
        """Removes the user's own emoji. It has no effect if it is not there."""
        fields = {**_target(room, event, epoch), "emoji": emoji}
        return self._ask(Request("unreact", fields, Changed), timeout)

    # What the user has read

    def read(self, room: str, event: int, epoch: str, *, timeout: float | None = None) -> Reply:
        """Stores that the user has read a room up to an event, in the log of `epoch`.

        The server keeps this for users with an inbox; others get CommandError 108. Positions only advance.
        """
        return self._ask(Request("read", {"room": room, "event": event, "epoch": epoch}, Reply), timeout)

    def unread(self, *, timeout: float | None = None) -> dict[str, Unread]:
        """What the user has not read, in at most 100 rooms with a position from `read`."""
        return self._ask(Request("rooms", {}, RoomList), timeout).unread


def _target(room: str, event: int, epoch: str) -> dict[str, Any]:
    return {"room": room, "event": event, "epoch": epoch or None}
