"""The commands that were sent and not answered yet, and what becomes of each when the connection is lost."""

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
"""Commands and bytes that may be unanswered at a time, unless one alone is larger; further ones wait. Less
than an outbox takes, so that sending all of it again never waits for the peer."""

MOST_WAITING: Final = 4096
MOST_WAITING_BYTES: Final = 4 << 20
"""Commands and bytes that wait for the window, or for a connection, unless one alone is larger."""

KEY_SECONDS: Final = 290.0
"""How long after its first attempt a message may be sent again: a little less than its key is remembered."""


class OnLoss(Enum):
    """What becomes of an unanswered command when its connection is lost."""

    AGAIN = "sent again: doing it twice is doing it once"
    DONE = "done: it was about the lost connection"
    REFUSED = "refused: it may have been done, and must not be done twice"
    EXPIRED = "given up: it could be done twice, its key being old"
    FORGOTTEN = "forgotten: nobody waits for it"


class Request(NamedTuple, Generic[AnyReply]):
    """A command, the kind of its reply, and what becomes of it when the connection is lost.

    `on_reply` is given the reply or a CommandError, on the reader thread, before anything that comes after it
    is looked at. `what` is its name in messages. `good_for` is the number of seconds in which it may be sent
    again.
    """

    command: str
    fields: dict[str, Any]
    kind: type[AnyReply]
    on_reply: Callable[[Any], None] | None = None
    on_loss: OnLoss = OnLoss.AGAIN
    what: str = ""
    good_for: float = math.inf


class Pending:
    """One unanswered command; `Request` says what its parts are. The in_flight's lock guards `on_loss`."""

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
        self.future.set_running_or_notify_cancel()  # what was sent cannot be called back

    def answer(self, reply: Reply | CommandError) -> None:
        """Hands the reply to whoever waits. Runs on: the reader thread."""
        if self.on_reply is not None:
            self.on_reply(reply)
        if isinstance(reply, CommandError):
            self.future.set_exception(reply)
        else:
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """No reply will come. Runs on: any thread, once."""
        self.future.set_exception(error)


class PendingTable:
    """Unanswered commands by number, oldest first. Its owner locks it."""

    def __init__(self) -> None:
        self._by_number: dict[int, Pending] = {}
        self._bytes = 0

    def has_room(self) -> bool:
        """Whether one more may be sent."""
        return len(self._by_number) < WINDOW and self._bytes < WINDOW_BYTES

    def add(self, pending: Pending) -> None:
        """Expects a reply."""
        self._by_number[pending.number] = pending
        self._bytes += len(pending.frame)

    def pop(self, number: object) -> Pending | None:
        """The command that a reply names; None for one that is not expected."""
        pending = self._by_number.pop(number, None) if isinstance(number, int) else None
        if pending is not None:
            self._bytes -= len(pending.frame)
        return pending

    def pop_all(self) -> list[Pending]:
        """Expects nothing any more; oldest first."""
        everything = list(self._by_number.values())
        self._by_number.clear()
        self._bytes = 0
        return everything

    def pop_unless(self, on_loss: OnLoss) -> list[Pending]:
        """Keeps those of one kind, and no longer expects the others, which it returns."""
        gone = [pending for pending in self._by_number.values() if pending.on_loss is not on_loss]
        for pending in gone:
            self.pop(pending.number)
        return gone

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._by_number.values()))

    def __len__(self) -> int:
        return len(self._by_number)


class WaitingLine:
    """Commands that are not sent yet, in the order of their numbers. Its owner locks it."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self) -> bool:
        """Whether one more may wait."""
        return len(self._waiting) < MOST_WAITING and self._bytes < MOST_WAITING_BYTES

    def add(self, pending: Pending) -> None:
        """Has it wait, as the last one."""
        self._waiting.append(pending)
        self._bytes += len(pending.frame)

    def pop(self) -> Pending:
        """The one that waits longest, which waits no more."""
        pending = self._waiting.popleft()
        self._bytes -= len(pending.frame)
        return pending

    def remove(self, pending: Pending) -> bool:
        """Has it wait no more; whether it did."""
        if pending not in self._waiting:
            return False
        self._waiting.remove(pending)
        self._bytes -= len(pending.frame)
        return True
