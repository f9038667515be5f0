"""One person's connection in the chat: its lifecycle, its deadlines, and what all dialects share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

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
from threadchat.server.session.app_commands import NO_CALLS, Calls
from threadchat.server.session.rate_limit import RateLimit
from threadchat.server.session.statistics import Work
from threadchat.wire.connection import Connection, ConnectionState
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

MAX_ERRORS: Final = 64
"""Errors within `ERROR_WINDOW` after which a client is taken for broken."""
ERROR_WINDOW: Final = 60.0
CONTROL_RATE: Final = 100
"""Pings and pongs a second that are taken of one connection where no `message_rate` bounds them."""
CONTROL_BURST: Final = 1000
"""Of them at once; programs that measure round trips send a few."""


class Session(ABC):
    """What a connection is to the chat, from its upgrade to its end; each dialect has its own kind.

    Everything runs on the connection's reader thread but `offer_direct`, `close`, `evict` and `address`.
    """

    session = ""
    """The id of this identity, where the dialect has one."""

    says_hello = False
    """Whether who one is may still be shown after the handshake."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        config: Config,
        *,
        identity: Identity | None = None,
        calls: Calls = NO_CALLS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`identity` brings the application's hooks, and who it says the person is; `calls` are the
        application's commands."""
        self.connection = connection
        self.hub = hub
        self.identity = identity or Identity(connection)
        self.calls = calls
        self.screens = self.identity.screens  # whether anybody asks what is said or done, and by whom
        self.sanction_check = SanctionCheck(hub.sanctions, self.identity.address)
        self.user: UserId | None = None
        self.nickname = ""
        self.about = ""
        self.work = Work()
        self._config = config
        self._clock = clock
        self.names = name_policy(config.room_pattern, config.nickname_pattern)
        self._errors: deque[float] | None = None  # when the last ones were
        rate = config.message_rate
        self._pace = RateLimit(rate, config.message_burst, clock) if rate else None
        self._control_pace = self._pace or RateLimit(CONTROL_RATE, CONTROL_BURST, clock)

    def run(self) -> None:
        """Goes through all that the peer sends, then leaves everything behind. Raises nothing."""
        connection = self.connection
        try:
            self.expire("age", self._config.max_age, CloseCode.EXPIRED)
            self.identity.heed_expiry()
            self.hub.attend(self)
            self._turn_away_banned()  # after the hub knows it: a ban that comes now finds it there
            self.begin()
            handle = self._handle_burst if self._config.metrics == "off" else self._time_burst
            for burst in connection.bursts(self._count_controls):
                handle(burst)
                del burst  # as in `bursts`
        except ConnectionClosed:
            pass  # in the middle of a reply; the reason is the connection's
        except RoomClosed:
            connection.close(CloseCode.SHUTDOWN)  # the hub was closed before the greeting
        except CommandError as error:  # a ban, a permission or the application does not let them in
            if error.code == ErrorCode.INTERNAL:
                connection.close(CloseCode.INTERNAL_ERROR)
            else:
                connection.close(CloseCode.FORCE_DISCONNECT, error.reason)
        except Exception:
            log.exception("connection %d (%s) failed", connection.number, connection.label)
            connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._depart()
            connection.end_reading()

    # What a dialect is

    @abstractmethod
    def begin(self) -> None:
        """Greets the peer, sets the dialect's deadlines."""

    @abstractmethod
    def handle(self, text: str) -> None:
        """Does what one message asks. Raises ConnectionClosed."""

    @abstractmethod
    def refuse_excess(self, text: str, error: CommandError) -> None:
        """Answers one message that came too fast, and does nothing else with it. Raises ConnectionClosed."""

    def burst_ended(self) -> None:  # noqa: B027  # a dialect without bursts does nothing
        """Told after the last of the messages that came together."""

    def end(self) -> None:  # noqa: B027  # a dialect without rooms does nothing
        """Leaves rooms and subscriptions, whatever state the session is in."""

    @abstractmethod
    def encode_direct(self, direct: Direct) -> Text:
        """A direct message as this dialect says it. Runs on: the sender's thread."""

    # For the hub

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message if there is room. Runs on: the sender's thread."""
        return self.connection.offer(self.connection.packed(self.encode_direct(direct)), listed)

    @property
    def has_inbox(self) -> bool:
        """Whether it listens to its person's inbox. Runs on: any thread."""
        return False

    def open_inbox(self, inbox: Room) -> None:  # noqa: B027  # a dialect without inboxes does nothing
        """Listens to its person's inbox, if it does not yet. Raises RoomClosed. Runs on: any thread."""

    def offer_event(self, told: Record, listed: list[Any], *, light: bool) -> Answer:
        """Takes an event for its person, if the dialect has words for it. Runs on: any thread."""
        return Answer.GONE

    def move(self, action: str, room: str) -> bool:
        """Joins a room, or leaves it, for the application; whether that changed anything.

        Raises CommandError. Runs on: any thread.
        """
        return False

    def close(self, code: int, reason: str | None = None) -> None:
        """Ends the connection, flushing what waits; never blocks. Runs on: any thread."""
        self.connection.close(code, reason)

    def evict(self, room: str, reason: str) -> bool:
        """Ends what it has in a room, and says so; whether there was anything. Runs on: any thread."""
        return False

    @property
    def address(self) -> str:
        """Where the connection comes from; empty where that is unknown. Runs on: any thread."""
        return self.identity.address

    # For the dialects

    def expire(self, name: str, seconds: float, code: CloseCode) -> None:
        """Closes with `code` in `seconds`, unless the deadline of that name is cleared before."""
        deadlines = self.connection.deadlines
        give = deadlines.set if name == "age" else deadlines.give
        give(name, seconds, lambda: self.connection.close(code))

    @property
    def person(self) -> User:
        """Whose session this is, for the hooks."""
        return User(self.user or 0, self.nickname)

    @property
    def authenticates(self) -> bool:
        """Whether the application, or tokens, know people by ids of their own."""
        return self.identity.authenticates

    def arrive(self, user: UserId) -> None:
        """From here on the hub finds this session by `user`. Raises CommandError where a hook minds it."""
        self.user = user
        self.connection.label = f"user {spelled_id(user)}"
        self.hub.arrive(self)
        self.sanction_check.belong_to(user)
        self._turn_away_banned()
        try:
            self.identity.arrived(self.person, self.session)
        except CommandError:
            self.hub.disown(self)
            self.user = None
            self.sanction_check.belong_to(None)
            raise

    def count_error(self, code: int) -> None:
        """Closes the connection of a client that makes too many errors (3509), whichever `code` they have."""
        self.work.count_error(code)
        now = self._clock()
        if self._errors is None:
            self._errors = deque(maxlen=MAX_ERRORS)
        self._errors.append(now)
        if len(self._errors) == MAX_ERRORS and now - self._errors[0] <= ERROR_WINDOW:
            self.connection.close(CloseCode.TOO_MANY_ERRORS)

    # Helpers

    def _turn_away_banned(self) -> None:
        """Closes with the reason and raises ConnectionClosed where a ban holds everywhere."""
        try:
            self.sanction_check.check_banned()
        except CommandError as error:
            self.connection.close(CloseCode.FORCE_DISCONNECT, error.reason)
            raise ConnectionClosed(CloseCode.FORCE_DISCONNECT, error.reason) from None

    def _time_burst(self, burst: list[str | bytes]) -> None:
        begun = self._clock()
        self._handle_burst(burst)
        self.work.note_burst(self._clock() - begun)

    def _handle_burst(self, burst: list[str | bytes]) -> None:
        pace = self._pace
        if pace is None:
            self._handle_all(burst)
            return
        granted = pace.grant(len(burst))
        self._handle_all(burst[:granted])
        if granted < len(burst):
            self._refuse_excess(burst[granted:], pace)

    def _count_controls(self, count: int) -> None:
        """Pings and pongs count as messages do; nothing is refused, but too many of them end it (3013)."""
        pace = self._control_pace
        excess = count - pace.grant(count)
        if excess and pace.tolerate(excess) < excess:
            self.connection.close(CloseCode.TOO_MANY_REQUESTS)

    def _refuse_excess(self, excess: list[str | bytes], pace: RateLimit) -> None:
        """These are no mistakes, so they do not count as errors; there is a limit of their own (3013)."""
        error = CommandError(ErrorCode.TOO_MANY_REQUESTS, pace.refusal)
        bearable = pace.tolerate(len(excess))
        for message in excess[:bearable]:
            if isinstance(message, str) and self.connection.closed is None:
                self.refuse_excess(message, error)
                self.work.count_error(error.code)
        if bearable < len(excess):
            self.connection.close(CloseCode.TOO_MANY_REQUESTS)

    def _handle_all(self, burst: list[str | bytes]) -> None:
        for message in burst:
            if self.connection.closed is not None:
                return
            if isinstance(message, bytes):
                self.burst_ended()  # what came before it was in order
                self.connection.close(CloseCode.UNSUPPORTED_DATA)
                return
            self.handle(message)
        self.burst_ended()

    def _depart(self) -> None:
        self.connection.advance(ConnectionState.TO_BE_DISCONNECTED)
        try:
            try:
                self.hub.depart(self)  # before others hear that this one has left a room
            finally:
                self.end()
        except Exception:
            log.exception("connection %d could not leave everything behind", self.connection.number)
        finally:
            self.identity.departed(self.person)
