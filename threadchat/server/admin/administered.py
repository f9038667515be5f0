"""The interface of a chat that the HTTP API, the metrics and /ops use; `Chat` implements it."""

from __future__ import annotations

from threadchat.chat.log.events import Position, UserId
from threadchat.server.admin.monitor import Monitor
from threadchat.server.admin.snapshot import Inspector
from threadchat.server.auth.failures import Failures
from threadchat.server.session.sanctioning import Moderation


class AdministeredChat(Moderation):
    """A chat for operators: moderation and publishing. Every method may be called from any thread."""

    inspector: Inspector
    monitor: Monitor
    failures: Failures

    @property
    def closing(self) -> bool:
        """Whether the chat accepts no more connections."""
        raise NotImplementedError

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
        """Publishes a message in a room; see `Chat.publish`."""
        raise NotImplementedError

    def edit(
        self, room: str, event: int, message: str, *, epoch: str = "", by: UserId | None = None
    ) -> Position:
        """Gives a message another text; see `Chat.edit`."""
        raise NotImplementedError

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
        """Puts an emoji to a message; see `Chat.react`."""
        raise NotImplementedError

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
        """Emits an application event; see `Chat.emit`."""
        raise NotImplementedError

    def direct(
        self, to: UserId, message: str, user: object = None, *, nickname: str = "", key: str = ""
    ) -> bool:
        """Sends a message to one person; see `Chat.direct`."""
        raise NotImplementedError
