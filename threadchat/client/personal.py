"""The commands that concern only the user, as methods: to block people, to type to one, and to log out."""

from __future__ import annotations

from abc import abstractmethod

from threadchat.chat.log.events import UserId
from threadchat.client.pending import OnLoss, Request
from threadchat.client.protocol import AnyReply, Reply


class BlockedUsers(Reply, frozen=True):
    """The ids of those whom the user blocks."""

    users: tuple[UserId, ...]


class PersonalCommands:
    """The methods wait and raise like others. Runs on: any thread, but not in a callback of a future."""

    @abstractmethod
    def _ask(self, request: Request[AnyReply], timeout: float | None) -> AnyReply: ...

    def block(self, user: UserId, *, timeout: float | None = None) -> Reply:
        """Refuses private messages from a user: their `direct` gets error 103.

        A known user's list is kept with the inbox and may have 500 entries; above it, CommandError 106 is
        raised. A stranger's list may have 50, and is kept by the server's process for as long as it has room.
        To its sender, a stranger who blocks them is not online (108).
        """
        return self._ask(Request("block", {"user": user}, Reply), timeout)

    def unblock(self, user: UserId, *, timeout: float | None = None) -> Reply:
        """Accepts private messages from a user again."""
        return self._ask(Request("unblock", {"user": user}, Reply), timeout)

    def blocked(self, *, timeout: float | None = None) -> tuple[UserId, ...]:
        """The ids of those whom the user blocks."""
        return self._ask(Request("blocked", {}, BlockedUsers), timeout).users

    def typing_to(self, user: UserId, *, timeout: float | None = None) -> Reply:
        """Tells somebody that the user is typing a private message to them; not sent again, see `direct`."""
        return self._ask(Request("typing_to", {"to": user}, Reply, on_loss=OnLoss.REFUSED), timeout)

    def logout(self, *, timeout: float | None = None) -> Reply:
        """Revokes the token that the client presented, or else the user's `resume`.

        The server then closes the connection (1000), and the client ends. Raises CommandError 106, temporary,
        if too many people have logged out lately.
        """
        return self._ask(Request("logout", {}, Reply), timeout)
