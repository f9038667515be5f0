"""Sends commands and waits for their replies, also across reconnects."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from threadchat.client.pending import OnLoss, Pending, PendingTable, Request, WaitingLine
from threadchat.client.protocol import AnyReply, Reply, decode_refusal, decode_reply, encode_command
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode, ThreadchatError

log = logging.getLogger(__name__)


class Link(Protocol):
    """One WebSocket, in the shape of `threadchat.plain`."""

    def send(self, message: str) -> None: ...

    def recv(self, timeout: float | None = None) -> str | bytes: ...

    def close(self, code: int = 1000, reason: str = "") -> None: ...


class State(Enum):
    """CONNECTING at first, then ONLINE and AWAY in turns, and CLOSED at the end."""

    CONNECTING = "connecting"
    ONLINE = "online"
    AWAY = "away"
    CLOSED = "closed"


class InFlightCommands:
    """Sends commands in the order of their numbers, and matches replies by these numbers.

    `_changed` is a condition whose lock guards all other attributes; it is held briefly. `_sending` keeps two
    threads from sending commands in another order than they were numbered. It is held while sending, which
    does not wait for the peer, because all commands that may be unanswered fit into an outbox. `_changed` is
    acquired under `_sending`.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._state = State.CONNECTING
        self._link: Link | None = None
        self._reader: threading.Thread | None = None
        self._failure: Exception | None = None
        self._why = "no connection yet"
        self._pending = PendingTable()
        self._waiting = WaitingLine()
        self._numbers = itertools.count(1)

    # Commands. Runs on: any thread but the reader.

    def ask(self, request: Request[AnyReply], timeout: float) -> AnyReply:
        """Sends a command and returns its reply, which may come over a later connection.

        Raises CommandError, TimeoutError, the error that ended the client, and ThreadchatError on the reader
        thread, which would wait for itself.
        """
        if threading.current_thread() is self._reader:
            what = request.what or request.command
            raise ThreadchatError(f"{what}: a callback of a future cannot wait for a reply; use post()")
        deadline = self._clock() + timeout
        pending = self._line_up(request, timeout)
        try:
            pending.future.exception(max(0.0, deadline - self._clock()))
        except TimeoutError:
            with self._changed:
                unsent = self._waiting.remove(pending)
                pending.on_loss = OnLoss.FORGOTTEN  # not sent again; its reply still counts if it comes
            what = f"{pending.what} could not be sent" if unsent else f"no reply to {pending.what}"
            raise TimeoutError(f"{what} within {timeout:g} s; {self._status()}") from None
        reply: AnyReply = pending.future.result()
        return reply

    def post(self, request: Request[Any]) -> Pending:
        """Sends a command as soon as there is a connection and space in the window; does not wait for that.

        Raises CommandError 111, temporary, if too many commands wait already, and the error that ended the
        client. Runs on: any thread.
        """
        with self._changed:
            self._check_locked()
            if not self._waiting.has_room():
                what = request.what or request.command
                reason = f"{what}: {len(self._waiting)} commands already wait to be sent; {self._status()}"
                raise CommandError(ErrorCode.TOO_MANY_REQUESTS, reason, temporary=True)
            pending = self._number_locked(request)
            self._waiting.add(pending)
        self._send_waiting()
        return pending

    def _line_up(self, request: Request[Any], timeout: float) -> Pending:
        """Like `post`, but waits for space in the queue. Raises TimeoutError."""
        with self._changed:
            self._changed.wait_for(self._may_wait_locked, timeout)
            self._check_locked()
            if not self._waiting.has_room():
                what = request.what or request.command
                raise TimeoutError(f"{what} could not be sent within {timeout:g} s; {self._status()}")
            pending = self._number_locked(request)
            self._waiting.add(pending)
        self._send_waiting()
        return pending

    def _send_waiting(self) -> None:
        """Sends waiting commands until the window is full. Runs on: any thread."""
        while True:
            with self._sending:
                with self._changed:
                    if self._state is not State.ONLINE or not self._waiting or not self._pending.has_room():
                        return
                    pending, link = self._waiting.pop(), self._link
                    pending.first_sent = self._clock()
                    self._pending.add(pending)
                    self._changed.notify_all()
                _send(link, pending)

    def submit_now(self, request: Request[Any]) -> bool:
        """Sends a command over the present connection; False if there is none. Runs on: any thread."""
        with self._sending:
            with self._changed:
                if self._state is not State.ONLINE:
                    return False
                pending, link = self._expect_locked(request), self._link
            _send(link, pending)
            return True

    def wait_until_open(self, timeout: float) -> None:
        """Waits for the first connection. Raises TimeoutError, or the reason why it failed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._state is not State.CONNECTING, timeout):
                raise TimeoutError(f"no connection to {self._url} within {timeout:g} s")
            self._check_locked()

    @property
    def state(self) -> State:
        """The state of the connection."""
        with self._changed:
            return self._state

    def __len__(self) -> int:
        with self._changed:
            return len(self._pending) + len(self._waiting)

    def _may_wait_locked(self) -> bool:
        return self._state is State.CLOSED or self._waiting.has_room()

    def _check_locked(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _expect_locked(self, request: Request[Any]) -> Pending:
        pending = self._number_locked(request)
        self._pending.add(pending)
        return pending

    def _number_locked(self, request: Request[Any]) -> Pending:
        number = next(self._numbers)
        frame = encode_command(request.command, number, request.fields)
        return Pending(number, frame, request, self._clock())

    def _status(self) -> str:
        with self._changed:
            if self._state is State.ONLINE:
                return f"{len(self._pending)} commands are unanswered"
            return f"not connected: {self._why}"

    # The connection. Runs on: the reader thread.

    def connected(self, link: Link) -> None:
        """Registers a new connection, which only the reader uses yet. Raises the error of a closed client."""
        with self._changed:
            self._check_locked()
            self._link, self._reader = link, threading.current_thread()

    def send_own(self, link: Link, request: Request[Any]) -> Pending:
        """Sends one of the client's own commands, before other threads may send. Raises ConnectionClosed."""
        with self._changed:
            pending = self._expect_locked(request)
        link.send(pending.frame)
        return pending

    def go_online(self, link: Link) -> bool:
        """Sends the unanswered commands of earlier connections again, in order, then lets other threads send.

        Returns whether this is a reconnect. Raises ConnectionClosed.
        """
        gone, again = self._split_unanswered()
        for pending in again:
            link.send(pending.frame)
        with self._changed:
            self._check_locked()
            returned = self._state is State.AWAY
            self._state = State.ONLINE
            self._changed.notify_all()
        self._send_waiting()
        _settle(gone, self._why)
        return returned

    def answer(self, text: str | bytes, number: object, *, refused: bool) -> None:
        """Passes a reply to its command. Raises ConnectionClosed (1002) for one that cannot be decoded."""
        with self._changed:
            pending = self._pending.pop(number)
        self._send_waiting()
        if pending is None:
            if refused and number is None:
                log.warning("the server reports an error: %s", decode_refusal(text))
            return
        reply: Reply | CommandError
        try:
            reply = decode_refusal(text) if refused else decode_reply(text, pending.kind)
        except ConnectionClosed as error:
            pending.fail(error)
            raise
        pending.answer(reply)

    def interrupted(self, end: Exception) -> None:
        """Handles a lost connection: answers the commands that are not sent again."""
        with self._changed:
            if self._state is State.CLOSED:
                return
            self._state, self._link, self._why = State.AWAY, None, describe(end)
        gone, _ = self._split_unanswered()
        _settle(gone, self._why)

    def finish(self, failure: Exception) -> Link | None:
        """Closes for good and returns the last connection. The first failure stays. Runs on: any thread."""
        with self._changed:
            if self._state is State.CLOSED:
                return None
            self._state, self._failure, self._why = State.CLOSED, failure, describe(failure)
            unanswered = self._pending.pop_all()
            while self._waiting:
                unanswered.append(self._waiting.pop())
            link, self._link = self._link, None
            self._changed.notify_all()
        for pending in unanswered:
            pending.fail(failure)
        return link

    def _split_unanswered(self) -> tuple[list[Pending], list[Pending]]:
        """Splits the unanswered commands into those that are not sent again, and those that are."""
        now = self._clock()
        with self._changed:
            for pending in self._pending:
                if pending.on_loss is OnLoss.AGAIN and now - pending.first_sent > pending.good_for:
                    pending.on_loss = OnLoss.EXPIRED
            return self._pending.pop_unless(OnLoss.AGAIN), list(self._pending)


def describe(error: Exception) -> str:
    """The text of an exception, for people."""
    if isinstance(error, ConnectionClosed):  # the text of its subclasses has more details
        return f"{error.code} {error.reason}".rstrip()
    return str(error) or type(error).__name__


def _send(link: Link | None, pending: Pending) -> None:
    assert link is not None
    # If sending fails, the reader handles it: it finds the command among the unanswered ones.
    with contextlib.suppress(ConnectionClosed, OSError):
        link.send(pending.frame)


def _settle(commands: list[Pending], why: str) -> None:
    """Answers commands whose connection was lost and which are not sent again."""
    for pending in commands:
        match pending.on_loss:
            case OnLoss.DONE:
                pending.answer(Reply())
            case OnLoss.REFUSED:
                reason = f"the connection was lost; {pending.what} may or may not have been done: {why}"
                pending.answer(CommandError(ErrorCode.NOT_AVAILABLE, reason, temporary=True))
            case OnLoss.EXPIRED:
                reason = f"no reply to {pending.what}; it may have arrived, and is too old to be sent again"
                pending.fail(TimeoutError(reason))
