"""The base of all dialects' sessions: the lifecycle of one person's connection, its deadlines and limits."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from threadchat.chat.access.revocations import Proof
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Direct, Record, UserId
from threadchat.chat.log.ids import spelled_id
from threadchat.chat.room import Room
from threadchat.config.settings import Config
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth.identity import Identity
from threadchat.server.auth.name_policy import name_policy
from threadchat.server.auth.sanction_check import SanctionCheck
from threadchat.server.auth.users import User
from threadchat.server.budgets.budgets import NO_BUDGETS, Budgets
from threadchat.server.session.app_commands import NO_CALLS, Calls
from threadchat.server.session.pacing import Paced
from threadchat.wire.connection import Connection, ConnectionState
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

MAX_ERRORS: Final = 64
"""Errors that are not temporary, within `ERROR_WINDOW` seconds, after which a client is considered broken."""
ERROR_WINDOW: Final = 60.0


class Session(Paced):
    """One connection in the chat, from its upgrade to its end. Each dialect has a subclass.

    Everything runs on the connection's reader thread unless a method says otherwise.
    """

    session = ""
    """The id of this session; empty on dialects without session ids."""

    says_hello = False
    """Whether a token may still come after the handshake, with hello."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        config: Config,
        *,
        identity: Identity | None = None,
        calls: Calls = NO_CALLS,
        budgets: Budgets = NO_BUDGETS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`identity` has the hooks and the authenticated user; `calls` are the application's commands.

        `budgets` are those of people and addresses over all their connections.
        """
        self.hub = hub
        self.identity = identity or Identity(connection)
        self.calls = calls
        self.screens = self.identity.screens  # whether hooks or a token restrict commands
        self.sanction_check = SanctionCheck(hub.sanctions, self.identity.address)
        self.user: UserId | None = None
        self.nickname = ""
        self.about = ""
        self._config = config
        self.names = name_policy(config.room_pattern, config.nickname_pattern)
        self._errors: deque[float] | None = None  # the times of the latest errors
        super().__init__(connection, config, budgets, clock)

    def run(self) -> None:
        """Handles everything that the peer sends, then leaves all rooms. Raises nothing."""
        connection = self.connection
        try:
            self.budget.begin(self.identity.address)
            self.expire("age", self._config.max_age, CloseCode.EXPIRED)
            self.identity.heed_expiry()
            self.hub.attend(self)
            self._refuse_banned()  # after the hub knows the session, so that no ban misses it
            self.begin()
            handle = self._handle_burst if self._config.metrics == "off" else self._time_burst
            for burst in connection.bursts(self._count_controls):
                handle(burst)
                del burst  # as in `bursts`
        except ConnectionClosed:
            pass  # during a reply; the connection has the reason
        except RoomClosed:
            connection.close(CloseCode.SHUTDOWN)  # the hub was closed before `begin`
        except CommandError as error:  # a ban, a permission or a hook refuses the session
            if error.code == ErrorCode.INTERNAL:
                connection.close(CloseCode.INTERNAL_ERROR)
            else:
                code = CloseCode.TOO_MANY_REQUESTS if error.temporary else CloseCode.FORCE_DISCONNECT
                connection.close(code, error.reason)
        except Exception:
            log.exception("connection %d (%s) failed", connection.number, connection.label)
            connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._depart()
            connection.end_reading()

    # Implemented by the dialects

    @abstractmethod
    def begin(self) -> None:
        """Begins the session: sends the first message, or sets the dialect's deadlines."""

    def end(self) -> None:  # a dialect without rooms does nothing
        """Ends memberships and subscriptions, in any state of the session."""

    @abstractmethod
    def encode_direct(self, direct: Direct) -> Text:
        """Encodes a direct message for this dialect. Runs on: the sender's thread."""

    # Called by the hub

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Accepts a direct message if the outbox has space. Runs on: the sender's thread."""
        return self.connection.offer(self.connection.packed(self.encode_direct(direct)), listed)

    def room_names(self) -> list[str]:
        """The rooms that the session is in, joined or subscribed to. Runs on: any thread."""
        return []

    @property
    def has_inbox(self) -> bool:
        """Whether the session subscribes to its person's inbox. Runs on: any thread."""
        return False

    def open_inbox(self, inbox: Room) -> None:  # a dialect without inboxes does nothing
        """Subscribes to its person's inbox, if it has not yet. Raises RoomClosed. Runs on: any thread."""

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """Accepts an event for its person, if the dialect can express it. Runs on: any thread."""
        return Answer.GONE

    def move(self, action: str, room: str) -> bool:
        """Joins or leaves a room for the application; returns whether that changed anything.

        Raises CommandError. Runs on: any thread.
        """
        return False

    def close(self, code: int, reason: str | None = None) -> None:
        """Closes the connection after flushing its outbox; never blocks. Runs on: any thread."""
        self.connection.close(code, reason)

    def evict(self, room: str, reason: str) -> bool:
        """Removes the session from a room and tells the peer; returns whether it was there.

        Runs on: any thread.
        """
        return False

    @property
    def address(self) -> str:
        """The client's address; empty if it is unknown. Runs on: any thread."""
        return self.identity.address

    @property
    def proof(self) -> Proof:
        """What proves who the user is. Runs on: any thread."""
        return self.identity.proof

    # For the dialects

    def expire(self, name: str, seconds: float, code: CloseCode) -> None:
        """Closes with `code` in `seconds`, unless the deadline `name` is cleared before."""
        self.connection.deadlines.set(name, seconds, lambda: self.connection.close(code))

    @property
    def person(self) -> User:
        """The user of this session, as the hooks receive it."""
        return User(self.user or 0, self.nickname)

    @property
    def edit_window(self) -> float:
        """Seconds for which somebody may edit a message of theirs."""
        return self._config.edit_window

    @property
    def authenticates(self) -> bool:
        """Whether the application or tokens authenticate people."""
        return self.identity.authenticates

    def arrive(self, user: UserId) -> None:
        """Registers the session under `user`. Raises CommandError if the hook `on_connect` refuses."""
        self.user = user
        self.connection.label = f"user {spelled_id(user)}"
        self.hub.arrive(self)
        self.sanction_check.belong_to(user)
        self.budget.know(user, known=self.identity.identity is not None)
        self._refuse_banned()
        try:
            self.identity.arrived(self.person, self.session)
        except CommandError:
            self.hub.disown(self)
            self.user = None
            self.sanction_check.belong_to(None)
            raise

    def count_error(self, error: CommandError) -> None:
        """Counts an error that was sent; closes the connection (3509) if there were too many mistakes.

        A temporary error is no mistake of the client, which is told to try again.
        """
        self.work.count_error(error.code)
        if error.temporary:
            return
        now = self._clock()
        if self._errors is None:
            self._errors = deque(maxlen=MAX_ERRORS)
        self._errors.append(now)
        if len(self._errors) == MAX_ERRORS and now - self._errors[0] <= ERROR_WINDOW:
            self.connection.close(CloseCode.TOO_MANY_ERRORS)

    # Helpers

    def _refuse_banned(self) -> None:
        """If a ban everywhere applies, closes with its reason and raises ConnectionClosed."""
        try:
            self.sanction_check.check_banned()
        except CommandError as error:
            self.connection.close(CloseCode.FORCE_DISCONNECT, error.reason)
            raise ConnectionClosed(CloseCode.FORCE_DISCONNECT, error.reason) from None

    def _depart(self) -> None:
        self.connection.advance(ConnectionState.TO_BE_DISCONNECTED)
        try:
            try:
                self.hub.depart(self)  # before others receive the events that it has left its rooms
            finally:
                self.end()
        except Exception:
            log.exception("connection %d could not leave its rooms", self.connection.number)
        finally:
            self.budget.end()
            self.identity.departed(self.person)
