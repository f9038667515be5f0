"""Commands that are waiting or unanswered, and what happens to each when the connection is lost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from enum import Enum
from typing import Any, Final, Generic, NamedTuple

from threadchat.client.protocol import AnyReply, Reply
from threadchat.errors import CommandError

WINDOW: Final = 64
WINDOW_BYTES: Final = 512 << 10
"""Commands and bytes that may be unanswered at a time; a single command may be larger. Further commands wait.
An outbox can hold all of them, so that sending them again never waits for the peer."""

MOST_WAITING: Final = 4096
MOST_WAITING_BYTES: Final = 4 << 20
"""Commands and bytes that may wait for the window or for a connection; a single command may be larger."""

KEY_SECONDS: Final = 290.0
"""Seconds after the first attempt in which a message may be sent again. The server remembers its key slightly
longer."""


class OnLoss(Enum):
    """What happens to an unanswered command when its connection is lost."""

    AGAIN = "sent again: repeating it has no further effect"
    DONE = "done: it concerned only the lost connection"
    REFUSED = "refused: it may have been done, and must not be done twice"
    EXPIRED = "given up: its key is too old to prevent a repetition"
    FORGOTTEN = "forgotten: nobody waits for it"


class Request(NamedTuple, Generic[AnyReply]):
    """A command, the type of its reply, and what happens to it when the connection is lost.

    `on_reply` is called with the reply or a CommandError, on the reader thread, before anything that follows
    is processed. `what` describes the command in messages. `good_for` is the number of seconds in which it
    may be sent again.
    """

    command: str
    fields: dict[str, Any]
    kind: type[AnyReply]
    on_reply: Callable[[Any], None] | None = None
    on_loss: OnLoss = OnLoss.AGAIN
    what: str = ""
    good_for: float = math.inf


class Pending:
    """One unanswered command; see `Request` for its fields. The lock of InFlightCommands guards `on_loss`."""

    __slots__ = ("first_sent", "frame", "future", "good_for", "kind", "number", "on_loss", "on_reply", "what")

    def __init__(self, number: int, frame: str, request: Request[Any], first_sent: float) -> None:
        self.number = number
        self.frame = frame
        self.kind = request.kind
        self.what = request.what or request.command
        self.on_loss = request.on_loss
        self.on_reply = request.on_reply
        self.good_for = request.good_for
        self.first_sent = first_sent
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # a command that was sent cannot be cancelled

    def answer(self, reply: Reply | CommandError) -> None:
        """Passes the reply to the waiting thread. Runs on: the reader thread."""
        if self.on_reply is not None:
            self.on_reply(reply)
        if isinstance(reply, CommandError):
            self.future.set_exception(reply)
        else:
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Ends the wait with an error. Runs on: any thread, once."""
        self.future.set_exception(error)


class PendingTable:
    """Unanswered commands by number, oldest first. The owner's lock guards it."""

    def __init__(self) -> None:
        self._by_number: dict[int, Pending] = {}
        self._bytes = 0

    def has_room(self) -> bool:
        """Whether another command may be sent."""
        return len(self._by_number) < WINDOW and self._bytes < WINDOW_BYTES

    def add(self, pending: Pending) -> None:
        """Adds a command whose reply is expected."""
        self._by_number[pending.number] = pending
        self._bytes += len(pending.frame)

    def pop(self, number: object) -> Pending | None:
        """Removes and returns the command with a reply's number; None if no such reply is expected."""
        pending = self._by_number.pop(number, None) if isinstance(number, int) else None
        if pending is not None:
            self._bytes -= len(pending.frame)
        return pending

    def pop_all(self) -> list[Pending]:
        """Removes and returns all commands, oldest first."""
        everything = list(self._by_number.values())
        self._by_number.clear()
        self._bytes = 0
        return everything

    def pop_unless(self, on_loss: OnLoss) -> list[Pending]:
        """Removes and returns all commands except those with this `on_loss`."""
        gone = [pending for pending in self._by_number.values() if pending.on_loss is not on_loss]
        for pending in gone:
            self.pop(pending.number)
        return gone

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._by_number.values()))

    def __len__(self) -> int:
        return len(self._by_number)


class WaitingLine:
    """Commands that are not sent yet, in the order of their numbers. The owner's lock guards it."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self) -> bool:
        """Whether another command may wait."""
        return len(self._waiting) < MOST_WAITING and self._bytes < MOST_WAITING_BYTES

    def add(self, pending: Pending) -> None:
        """Appends a command."""
        self._waiting.append(pending)
        self._bytes += len(pending.frame)

    def pop(self) -> Pending:
        """Removes and returns the oldest command."""
        pending = self._waiting.popleft()
        self._bytes -= len(pending.frame)
        return pending

    def remove(self, pending: Pending) -> bool:
        """Removes a command; returns whether it was waiting."""
        if pending not in self._waiting:
            return False
        self._waiting.remove(pending)
        self._bytes -= len(pending.frame)
        return True
