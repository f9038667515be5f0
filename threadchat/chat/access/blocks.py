"""Block lists: whose private messages somebody does not want."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode, Refuse

MOST_BLOCKED: Final = 500
"""The maximum number of senders that one person may block."""
MOST_BLOCKED_BY_STRANGER: Final = 50
MOST_STRANGERS: Final = 1_000
"""The maximum number of strangers whose lists a node has in memory."""


class Blocks(Protocol):
    """The lists of all people. Every method may be called from any thread and may block.

    Raises CommandError 100 while the store is away.
    """

    def block(self, owner: UserId, sender: UserId) -> None:
        """Adds a sender to a person's list. Raises CommandError 106 if the list is full."""

    def unblock(self, owner: UserId, sender: UserId) -> None:
        """Removes a sender from a person's list."""

    def of(self, owner: UserId) -> list[UserId]:
        """The senders on a person's list, in no order."""

    def holds(self, owner: UserId, sender: UserId) -> bool:
        """Whether the sender is on the person's list."""


class BlocksInMemory:
    """See Blocks. `_changing` guards changes; sets are replaced, never changed, so lookups take no lock."""

    def __init__(
        self,
        most: int = MOST_BLOCKED,
        most_owners: int | None = None,
        in_use: Callable[[UserId], bool] = lambda owner: True,
    ) -> None:
        """`most` limits one list. Above `most_owners` lists, one that is not `in_use` is forgotten."""
        self._most = most
        self._most_owners = most_owners
        self._in_use = in_use
        self._changing = threading.Lock()
        self._lists: OrderedDict[UserId, frozenset[UserId]] = OrderedDict()

    def block(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        with self._changing:
            before = self._lists.get(owner, frozenset())
            check_space(len(before - {sender}), self._most)
            if owner not in self._lists and len(self._lists) == self._most_owners:
                self._forget_one_locked()
            self._lists[owner] = before | {sender}
            self._lists.move_to_end(owner)

    def unblock(self, owner: UserId, sender: UserId) -> None:
        """See Blocks."""
        with self._changing:
            remaining = self._lists.get(owner, frozenset()) - {sender}
            if remaining:
                self._lists[owner] = remaining
            else:
                self._lists.pop(owner, None)

    def of(self, owner: UserId) -> list[UserId]:
        """See Blocks."""
        return list(self._lists.get(owner, ()))

    def holds(self, owner: UserId, sender: UserId) -> bool:
        """See Blocks."""
        return sender in self._lists.get(owner, ())

    def _forget_one_locked(self) -> None:
        """Forgets the list that was changed longest ago of those whose owners are away."""
        away = next((owner for owner in self._lists if not self._in_use(owner)), None)
        if away is None:
            reason = "too many people without an account block somebody at the moment"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)
        del self._lists[away]


def blocked(owner: UserId) -> CommandError:
    """The error for a sender on that person's list."""
    return Refuse(f"user {owner} takes no private messages from you")


def check_space(others: int, most: int = MOST_BLOCKED) -> None:
    """Raises CommandError 106 if a list that has so many other senders is full."""
    if others >= most:
        reason = f"you block {most} people already; unblock some first"
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason)
